"""Predictions for new inputs."""
