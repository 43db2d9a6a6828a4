"""The numbers of a benchmark as pictures."""
