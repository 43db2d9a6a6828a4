"""Plans: the runs that a benchmark compares."""
