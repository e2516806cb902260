"""The contract under load: what was observed, put together, and judged."""
