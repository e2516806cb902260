"""What reports of a check show: facts, findings, the matrix, and what was sent when."""
