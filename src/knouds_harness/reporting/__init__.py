"""Reports: everything that is made from run records, and from nothing else."""
