"""Parts and costs of a model, before it is trained."""
