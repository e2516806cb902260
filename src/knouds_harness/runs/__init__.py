"""The run record: what a run was, what it found, and the folder that keeps both."""
