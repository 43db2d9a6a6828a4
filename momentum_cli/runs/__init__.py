"""The run folder: its name, its files, and writing them so that a run killed at any moment leaves none of them torn.

Under a final name there is either the whole file or no file. `metrics.jsonl` and `metrics.csv` grow line by line; their
last line may be torn by a kill and is repaired when they are opened again.
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
