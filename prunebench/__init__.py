"""A benchmark and regression suite for neural-network pruning, driven by pytest."""
