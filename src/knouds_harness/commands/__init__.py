"""The command line: one module for each command, with its arguments, messages and exit codes."""
