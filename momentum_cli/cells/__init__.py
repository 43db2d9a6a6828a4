"""Cells: a dynamics in front of a layer, by their names."""
