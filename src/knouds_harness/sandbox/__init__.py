"""A complete reference server of the Knouds REST API, written by hand and apart from the document that tests it."""
