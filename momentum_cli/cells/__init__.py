"""Cells by name: a dynamics in front of a layer."""
