"""A complete reference server of the Knouds REST API, written independently of the document that tests it."""
