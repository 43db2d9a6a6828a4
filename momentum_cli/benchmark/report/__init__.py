"""The report of a benchmark, one HTML file."""
