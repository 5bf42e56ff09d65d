"""Pruning runs as documents describe them: the five documented runs, tables in TOML, and checks of their claims."""
