"""Looking at things without changing any: cells, data, models, gradients, the installation."""
