"""Handlers: what each operation does, once a request has been let in."""
