"""Reproduce an exchange: a ``curl`` line for one request, a script for several."""
