"""Admit or refuse requests: hosts, keys, capabilities and rate limits."""
