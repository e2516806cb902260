"""The HTTP client for Locust users. It imports nothing else of this package."""
