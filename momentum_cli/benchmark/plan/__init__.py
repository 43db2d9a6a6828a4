"""What a benchmark compares."""
