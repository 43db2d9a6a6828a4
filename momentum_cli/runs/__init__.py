"""The run folder: its name, its files, and writing them so that a run killed at any moment leaves none of them torn.

A file under its final name is always complete. `metrics.jsonl` and `metrics.csv` grow line by line; a kill may cut off
their last line, which is repaired when they are opened again.
"""

from momentum_cli.machine import environment
from momentum_cli.runs.files import json_text, replacing, write_json, write_text
from momentum_cli.runs.folder import RUN_DIRECTORIES, RUN_FILES, is_run_folder, new_run_folder
from momentum_cli.runs.lock import locked
from momentum_cli.runs.metrics_log import MetricsLog, diagnostic_names, read_metrics

__all__ = [
    "RUN_DIRECTORIES",
    "RUN_FILES",
    "MetricsLog",
    "diagnostic_names",
    "environment",
    "is_run_folder",
    "json_text",
    "locked",
    "new_run_folder",
    "read_metrics",
    "replacing",
    "write_json",
    "write_text",
]
