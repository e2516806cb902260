"""The way of a request to its handler: paths, operations, preferences."""
