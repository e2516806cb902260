"""Compares two runs, or several on each side: what changed, and how sure that is."""
