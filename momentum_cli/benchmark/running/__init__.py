"""Training the runs of a benchmark."""
