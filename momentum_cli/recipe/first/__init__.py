"""A first recipe for the user's data."""
