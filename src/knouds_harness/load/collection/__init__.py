"""What is counted: seconds, samples, and the metrics of a run."""
