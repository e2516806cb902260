"""Whether a request is let in: its host, its key, what the key may do, and how often."""
