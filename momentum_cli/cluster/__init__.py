"""Runs on the workers of a Dask cluster: recipe and fingerprint of the data go out, the run folder comes back."""
