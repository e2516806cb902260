"""Counting: seconds, samples of errors, and the metrics of a run."""
