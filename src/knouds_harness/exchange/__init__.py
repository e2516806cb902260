"""Exchanges: the one guarded HTTP client, and what it keeps as evidence."""
