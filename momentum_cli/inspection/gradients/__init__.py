"""What momentum does to gradients."""
