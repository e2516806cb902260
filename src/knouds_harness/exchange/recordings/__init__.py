"""Recordings: redacted exchanges as files, which are replaced only if their substance changes."""
