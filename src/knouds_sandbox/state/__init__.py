"""What a sandbox keeps: accounts, workflows and runs, in one database."""
