"""Making the runs of a benchmark."""
