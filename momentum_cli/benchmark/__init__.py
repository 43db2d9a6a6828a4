"""Comparisons of cells and optimizers by time to target."""
