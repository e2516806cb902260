"""Recorded answers as files: redacted, and replaced where their substance changed."""
