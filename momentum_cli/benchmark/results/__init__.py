"""The numbers of a benchmark, from the evaluations of its runs."""
