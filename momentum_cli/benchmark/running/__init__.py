"""How the runs of a benchmark are made."""
