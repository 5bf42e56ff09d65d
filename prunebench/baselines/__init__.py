"""Baselines: records that a person approved, and comparison with them."""
