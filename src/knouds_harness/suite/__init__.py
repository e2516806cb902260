"""The pytest plugin, the tester that a test sends with, and one run from its start to its end."""
