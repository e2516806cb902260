"""Generated input: strategies, unusual values, and random sequences of requests."""
