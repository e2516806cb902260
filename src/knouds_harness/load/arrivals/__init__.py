"""The open model: when requests are due, and who sends them."""
