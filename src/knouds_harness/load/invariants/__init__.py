"""The contract under load: observations of each process, added up and judged."""
