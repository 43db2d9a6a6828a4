"""The user's own data: CSV, Parquet, JSON lines, NPZ and NPY arrays, folders of WAV or text files.

A reader yields `schema.Piece`s of sequences (`rows` from tables, `row_sequences`, `arrays` and `folders` from the
others), `gathering` checks and assembles them, `cache` decides between memory and disk, `splitting` and `normalisation`
follow, and `sequences.FileSplit` makes batches.
"""

from __future__ import annotations

from momentum_cli.data.files.options import METRICS
from momentum_cli.data.files.task import Files

__all__ = ["METRICS", "Files"]
