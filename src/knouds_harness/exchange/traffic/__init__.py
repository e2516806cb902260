"""HAR files: a run's evidence, and traffic that a browser or a proxy captured."""
