"""A first recipe for data of one's own."""
