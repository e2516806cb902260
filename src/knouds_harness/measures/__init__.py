"""Figures: histograms and their logs, percentiles, objectives. What load counts in and reports read."""
