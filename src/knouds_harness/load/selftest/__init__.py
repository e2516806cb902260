"""The generator held against a server that knows the truth."""
