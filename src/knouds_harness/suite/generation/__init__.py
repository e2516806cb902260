"""Generated input: strategies, unusual values, and random sequences with their model."""
