"""The checks whose ids begin with ``envelopes``: what a refusal looks like, and which cause gets which."""
