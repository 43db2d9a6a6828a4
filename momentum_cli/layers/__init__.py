"""Layers: project the input, filter it by a dynamics, run a recurrence on it."""
