"""A complete reference server of the Knouds REST API, written apart from the document that tests it."""
