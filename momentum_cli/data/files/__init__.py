"""The user's own data: CSV, Parquet, JSON lines, NPZ and NPY arrays, folders of WAV or text files.

The way of a file: a reader yields `schema.Piece`s of sequences (`rows` from tables, `row_sequences`, `arrays` and
`folders` from the others),
`gathering` checks them and puts them together, `cache` decides whether in memory or on the disk, `splitting` and
`normalisation` follow, and `sequences.FileSplit` makes batches of it.
"""

from __future__ import annotations

from momentum_cli.data.files.task import METRICS, Files

__all__ = ["METRICS", "Files"]
