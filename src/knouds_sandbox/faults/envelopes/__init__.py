"""Faults: the form of all responses, and which refusal a request gets."""
