"""What tests act on: resources, executions, deliveries, usage pages and rate-limit windows."""
