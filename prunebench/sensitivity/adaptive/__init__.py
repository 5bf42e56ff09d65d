"""Scans that ask only as many images as it takes: until an interval is narrow, or until a question is decided."""
