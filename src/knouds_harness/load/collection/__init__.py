"""Samples, seconds, and the figures of a run."""
