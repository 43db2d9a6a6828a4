"""Recipes: what decides a run, read, checked, shipped, begun from files, and built."""
