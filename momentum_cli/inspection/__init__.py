"""Inspection without changes: cells, data, models, gradients, the installation."""
