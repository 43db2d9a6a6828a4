"""The numbers of a benchmark as text."""
