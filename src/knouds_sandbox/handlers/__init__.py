"""Handlers: what each operation does with an admitted request."""
