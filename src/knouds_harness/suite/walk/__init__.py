"""Requests drawn from named dimensions: each value alone, and each pair of values that shows something."""
