"""Route a request to its handler: paths, operations, preferences."""
