"""Usage: lists all API runs of the account, no others, and of those the ones asked for."""
