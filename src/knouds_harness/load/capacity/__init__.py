"""The search for the highest rate that a target carries."""
