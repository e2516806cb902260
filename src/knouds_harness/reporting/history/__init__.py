"""Runs over time: an index of their records, its measures, and where those changed."""
