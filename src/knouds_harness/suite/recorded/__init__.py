"""Recorded responses: made, imported from traffic, and judged."""
