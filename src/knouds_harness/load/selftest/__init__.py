"""Compares what the generator measures with a server that knows the true times."""
