"""The documented flow from a dense model to a record, and searches that run it many times."""
