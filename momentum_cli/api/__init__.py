"""The commands as functions: the same names and options, results as typed objects, and nothing shown unless asked."""
