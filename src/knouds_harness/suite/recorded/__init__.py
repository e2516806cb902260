"""Recorded answers: taken, imported, compared and judged."""
