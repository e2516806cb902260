"""Two runs, or several of each, held against each other: what changed, and how sure that is."""
