"""Reports of a check: facts, findings, the matrix, and what was sent when."""
