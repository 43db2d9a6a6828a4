"""Parts and costs of a model before training."""
