"""Decides whether a request is let in: its host, its key, the key's capabilities, and the rate limits."""
