"""The time of a layer's step, as a ratio to torch's."""
