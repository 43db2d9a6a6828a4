"""The effect of momentum on gradients."""
