"""Faults: reading and writing workflows."""
