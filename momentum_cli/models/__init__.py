"""Models: recurrent layers between an input and an output module."""
