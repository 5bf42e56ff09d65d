"""What documents say of pruning runs: the five documented runs, tables in TOML, and checks of their claims."""
