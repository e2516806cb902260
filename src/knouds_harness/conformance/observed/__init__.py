"""What the answers of a run show together: drift, executions that never end, what led to an answer."""
