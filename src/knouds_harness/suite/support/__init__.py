"""What tests act on: resources, executions, usage pages and rate-limit windows."""
