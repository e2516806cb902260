"""Faults: the shape of answers."""
