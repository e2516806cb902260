"""Targets: where to test, with which keys and resources; and the guards that enforce the limits."""
