"""What a model is and costs, before it is trained."""
