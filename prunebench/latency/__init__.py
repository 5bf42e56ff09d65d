"""Latency: how long models take to answer, side by side, and how sure that is."""
