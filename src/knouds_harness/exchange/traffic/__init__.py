"""HAR files: the evidence of a run, and traffic captured by a browser or proxy."""
