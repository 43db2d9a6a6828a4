"""Models: recurrent layers with what reads their input and output."""
