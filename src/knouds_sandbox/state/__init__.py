"""The state of a sandbox: accounts, workflows and runs in one database."""
