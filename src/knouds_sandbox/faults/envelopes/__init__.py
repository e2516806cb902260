"""Faults: what every answer looks like, and which refusal a request gets."""
