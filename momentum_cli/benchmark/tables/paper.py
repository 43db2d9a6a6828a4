"""Our results next to published ones, in the same words on the terminal and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from momentum_cli.benchmark.tables.comparison import mean_text
from momentum_cli.messages import plural
from momentum_cli.pages.table import Table
from momentum_cli.wording import NOTHING


def paper_table(comparison: Mapping[str, Any]) -> Table | None:
    """Return the table of our results and the published ones, one row per cell; None without published ones.

    An unpublished number is a dash; values after fewer epochs and deviations are not invented.

    Args:
        comparison: one of ``comparisons`` of bench.json.
    """
    published = comparison.get("published")
    if published is None:
        return None
    rows = []
    for cell in comparison["cells"]:
        runs = [run for run in comparison["runs"] if run["label"] == cell["label"]]
        theirs = published.get(cell["label"])
        metric = comparison["metric"] if theirs is None else theirs["metric"]
        ours = cell["best" if theirs is not None and theirs["split"] == comparison["split"] else "test"]
        known = metric == comparison["metric"]
        rows.append(
            [
                *(cell["label"], mean_text(metric, ours) if known else NOTHING, _length(runs), str(len(runs))),
                *([NOTHING] * 4 if theirs is None else _published(theirs)),
            ]
        )
    splits = {entry["split"] for entry in published.values()}
    metrics = {entry["metric"] for entry in published.values()}
    what = f"{' or '.join(sorted(splits))} {' or '.join(sorted(metrics))}"
    columns = ["cell", "ours", "after", "seeds", "published", "after ", "seeds ", "source"]
    return Table(f"{comparison['name']}: {what}, ours and published", columns, rows)


def paper_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Return the remarks that a reader of `paper_table` needs."""
    lines = []
    for comparison in summary["comparisons"]:
        published = comparison.get("published")
        if not published:
            continue
        theirs = sorted({entry["epochs"] for entry in published.values() if entry["epochs"] is not None})
        ours = sorted({run["epochs"] for run in comparison["runs"]})
        if theirs and ours != theirs:
            lines.append(
                f"{comparison['name']}: published after {_epochs(theirs)}, ours after {_epochs(ours)}; "
                "their results after fewer epochs are not published"
            )
        if any(entry["split"] != comparison["split"] for entry in published.values()):
            lines.append(
                f"{comparison['name']}: published is the best test accuracy of all epochs, ours that of the best "
                "validation epoch, with the validation images held out of training"
            )
        if any(entry["std"] is None for entry in published.values()):
            lines.append(f"{comparison['name']}: where a published number has no ±, the recipe has no source for it")
    return lines


def _published(entry: Mapping[str, Any]) -> list[str]:
    value = mean_text(entry["metric"], {"mean": entry["value"], "sd": entry["std"]})
    after = NOTHING if entry["epochs"] is None else _epochs([entry["epochs"]])
    return [value, after, NOTHING if entry["seeds"] is None else str(entry["seeds"]), entry["source"]]


def _length(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the length of our training, in steps if less than an epoch."""
    epochs = sorted({run["epochs"] for run in runs})
    if epochs and epochs[0] > 0:
        return _epochs(epochs)
    steps = sorted({run["steps"] for run in runs})
    return NOTHING if not steps else f"{_range(steps)} {plural('step', steps[-1])}"


def _epochs(numbers: Sequence[int]) -> str:
    return f"{_range(numbers)} {plural('epoch', numbers[-1])}"


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if numbers[0] == numbers[-1] else f"{numbers[0]}–{numbers[-1]}"
