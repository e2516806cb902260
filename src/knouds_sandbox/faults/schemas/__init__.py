"""Faults: the shape of responses."""
