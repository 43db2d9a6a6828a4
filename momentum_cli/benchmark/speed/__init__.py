"""Step times of layers, as ratios to torch's."""
