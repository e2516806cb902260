"""Reports of load runs, made from ``load.json`` and ``run.json`` alone."""
