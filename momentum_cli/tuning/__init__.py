"""Searching for better values of a recipe's keys: a search space, trials that are ordinary runs, and their results."""
