"""What `momentumrnn eval` shows: the metrics, a table of classes, the speed, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli import terminal
from momentum_cli.ui.summary import metrics_text, short_path
from momentum_cli.ui.wording import printable, seconds_text, speed_text

COLUMNS = ("class", "support", "precision", "recall", "F1")


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Write the result of `momentum_cli.evaluate.evaluate` to stdout, for people."""
    terminal.print_facts(evaluation_facts(result))
    if result.get("classes"):
        terminal.print_table(COLUMNS, class_rows(result["classes"]))


def evaluation_facts(result: Mapping[str, Any]) -> dict[str, str]:
    """The figures of an evaluation, each with its unit, in reading order."""
    samples, seconds = result["samples"], seconds_text(result["seconds"])
    return {
        result["split"]: metrics_text(result["metrics"], "accuracy"),
        "speed": f"{speed_text(result['samples_per_second'])} ({samples:,} sequences in {seconds})",
        "model": printable(
            f"{result['cell']} on {result['task']}, step {result['step']:,}, {result['backend']} on {result['device']}"
        ),
        "checkpoint": printable(short_path(result["checkpoint"])),
    }


def class_rows(classes: list[dict[str, Any]]) -> list[list[str]]:
    """The table of classes, ratios in percent, with their unweighted mean as the last row; undefined ratios are `-`."""
    rows = [
        [
            printable(str(row["label"])),
            f"{row['support']:,}",
            *(_percent(row[key]) for key in ("precision", "recall", "f1")),
        ]
        for row in classes
    ]
    means = []
    for key in ("precision", "recall", "f1"):
        values = [row[key] for row in classes if row[key] is not None]
        means.append(_percent(sum(values) / len(values) if values else None))
    return [*rows, ["mean", f"{sum(row['support'] for row in classes):,}", *means]]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
