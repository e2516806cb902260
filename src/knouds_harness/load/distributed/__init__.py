"""Master and workers: shares, credits and messages."""
