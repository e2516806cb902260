"""How answers become claims, and claims become findings: what all checks share."""
