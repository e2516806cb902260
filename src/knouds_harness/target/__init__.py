"""Targets: where to test, with which keys and resources, within which limits, and the guards that keep them."""
