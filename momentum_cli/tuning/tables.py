"""The result of a search as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from momentum_cli.messages import counted
from momentum_cli.tuning.results import values_text
from momentum_cli.wording import NOTHING, clock_text, metric_text, number_text, seconds_text, short_path

_MOST_ROWS = 5


def summary_lines(content: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the result of a search for a width in characters: the trials, the best of them, the files."""
    counts = content["counts"]
    total = sum(counts.values())
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    hosts = hosts_of(content)
    cost = f"on {len(hosts)} machines" if len(hosts) > 1 else f"{seconds_text(content['wall_seconds'])} of runs"
    yield f"{counted(total, 'trial')}: {', '.join(parts)}; {cost}"
    best, own = content["best"], content["own"]
    if best is None:
        yield "no trial ended with a number"
    else:
        rows = content["ranking"][:_MOST_ROWS]
        texts = [
            [f"{number}", f"trial {row['trial']}", row["words"], _extra(content, row)]
            for number, row in enumerate(rows, 1)
        ]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for cells, row in zip(texts, rows, strict=True):
            head = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()
            values = values_text(row["values"], content["keys"])
            line = f"{head}  {values}"
            yield line if len(line) <= width else f"{line[: max(1, width - 1)]}…"
        if own is not None and own["trial"] != best["trial"]:
            yield f"the recipe as it is: {own['words']}{', ' + _extra(content, own) if _extra(content, own) else ''}"
        if content["importance"]:
            yield "importance: " + ", ".join(
                f"{name} {100 * part:.0f} %" for name, part in content["importance"].items()
            )
        yield f"train the best: momentumrnn train {short_path(content['folder'])}/best.yaml"
    # A full disk may have prevented one.
    files = [name for name in ("trials.csv", "tune.json", "report.html") if (Path(content["folder"]) / name).is_file()]
    yield f"files: {', '.join(files)} in {short_path(content['folder'])}"


def _extra(content: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return the best value of the compared metric, shown next to a time to the target."""
    if content["settings"]["objective"] == "metric":
        return ""
    return metric_text(content["metric"], row["value"])


def hosts_of(content: Mapping[str, Any]) -> list[str]:
    """Return the names of the machines of a cluster that made the trials; none for those of the command's machine."""
    return sorted({row["host"] for row in content["trials"] if row.get("host") is not None})


def trial_rows(content: Mapping[str, Any]) -> tuple[list[str], Sequence[Sequence[str]]]:
    """Return headings and rows of a table of all trials: their times, or if machines differ the names of these."""
    keys = content["keys"]
    timed = content["settings"]["objective"] != "metric"
    several = len(hosts_of(content)) > 1
    cost = "machine" if several else "time"
    columns = ["trial", "status", "score", *([content["metric"]] if timed else []), *keys, "steps", cost, "test"]
    rows = []
    for row in content["trials"]:
        values = [_value(row["values"].get(key)) for key in keys]
        metric = [metric_text(content["metric"], row["value"])] if timed else []
        headline = NOTHING if row["test"] is None else number_text(row["test"])
        status = row["status"] if row["error"] is None else row["error"]
        words = row["words"] or NOTHING
        rows.append(
            [
                str(row["trial"]),
                status,
                words,
                *metric,
                *values,
                f"{row['steps']:,}",
                row.get("host") or NOTHING if several else clock_text(row["wall_seconds"]),
                headline,
            ]
        )
    return columns, rows


def _value(value: Any) -> str:
    if value is None:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
