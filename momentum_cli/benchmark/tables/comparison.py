"""The tables of a benchmark as text: the same words on the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from momentum_cli.messages import counted, plural
from momentum_cli.metrics import METRICS
from momentum_cli.pages.table import Table
from momentum_cli.wording import (
    INFINITY,
    NOTHING,
    bytes_text,
    count_text,
    metric_text,
    seconds_text,
    target_text,
    time_text,
)


def comparison_table(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> Table:
    """Return the table of one comparison, one row per cell, and one of the best naive predictor on the test set.

    Args:
        comparison: one of ``comparisons`` of bench.json.
        summary: bench.json.
    """
    metric, target = comparison["metric"], comparison["target"]
    best = f"best {metric}" + (" (test)" if comparison["split"] == "test" else "")
    columns = ["cell"]
    if target is not None:
        columns += ["hits", *timed(summary, "train s"), "steps", "samples"]
        columns.append(f"speed-up ({_clock(summary['scored'])})")
    columns += [best] + ([f"test {metric}"] if comparison["split"] != "test" else [])
    columns += [*timed(summary, "ms/step"), "parameters", "memory"]
    rows = []
    for cell in comparison["cells"]:
        row = [cell["label"]]
        if target is not None:
            row += [f"{cell['hits']} of {cell['runs']}", *timed(summary, range_text(cell["train_seconds"], time_text))]
            row += [range_text(cell["steps"], count_text), range_text(cell["samples"], count_text)]
            row.append(speed_up_text(cell, baseline_of(comparison, summary)))
        row.append(mean_text(metric, cell["best"]))
        if comparison["split"] != "test":
            row.append(mean_text(metric, cell["test"]))
        row += [*timed(summary, _or_nothing(cell["ms_per_step"], "{:.3g}")), _or_nothing(cell["parameters"], "{:,}")]
        row.append(NOTHING if cell["memory_bytes"] is None else bytes_text(cell["memory_bytes"]))
        rows.append(row)
    # Comparisons of earlier versions have no naive predictors.
    for naive in comparison.get("naive", [])[:1]:
        value = naive["metrics"].get(metric)
        where = best if comparison["split"] == "test" else f"test {metric}"
        text = NOTHING if value is None else mean_text(metric, {"mean": value, "sd": None})
        rows.append([f"naive: {naive['name']}", *(text if name == where else NOTHING for name in columns[1:])])
    return Table(comparison_title(comparison), columns, rows)


def timed(summary: Mapping[str, Any], *texts: str) -> list[str]:
    """Return the texts of columns of seconds; none for runs on several machines, whose seconds are not comparable."""
    return [] if summary.get("earlier_machines") else list(texts)


def baseline_of(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Return the label of the row that speed-ups are relative to."""
    return str(comparison.get("baseline", summary["baseline"]))


def aggregate_table(summary: Mapping[str, Any]) -> Table | None:
    """Return the table over all recipes, or None when there is none."""
    aggregate = summary["aggregate"]
    if aggregate is None:
        return None
    scored = any(cell["score"] is not None for cell in aggregate["cells"])
    columns = ["cell", "hits", "geometric mean speed-up"] + (["profile score"] if scored else [])
    columns += [f"{name}: times the best" for name in aggregate["recipes"]]
    rows = []
    for cell in aggregate["cells"]:
        row = [cell["label"], f"{cell['hits']} of {cell['runs']}", times_text(cell["geometric_mean"])]
        row += [f"{cell['score']:.3f}"] if scored else []
        rows.append(row + [INFINITY if math.isinf(value) else f"{value:.2f}" for value in cell["ratios"]])
    return Table(f"all {len(aggregate['recipes'])} recipes", columns, rows)


def tuning_table(summary: Mapping[str, Any]) -> Table | None:
    """Return the table with the cost and the results of tuning, or None without tuning."""
    tuning = summary.get("tuning")
    if not tuning:
        return None
    columns = ["cell", "recipe", "trials", "reached", "train s", "steps", "chosen"]
    rows = [
        [
            *(row["label"], row["comparison"], str(row["trials"]), str(row["reached"])),
            *(time_text(row["train_seconds"]), count_text(row["steps"])),
            ", ".join(f"{key}={value:.3g}" for key, value in row["chosen"].items()),
        ]
        for row in tuning["cells"]
    ]
    return Table("tuning, whose cost is not in the times below", columns, rows)


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """Return the remarks that a reader of the tables needs, the most important first."""
    lines = []
    count = len(summary["seeds"])
    if summary["anecdotal"]:
        lines.append(f"anecdotal: {counted(count, 'seed')} cannot tell a difference from chance; use 3 or more")
    if earlier := summary.get("earlier_machines"):
        lines.append(
            f"the runs were made on {len(earlier) + 1} machines, whose seconds cannot be compared: the clock is steps"
        )
    if summary.get("jobs", 1) > 1:
        lines.append(
            f"{summary['jobs']} processes at a time slowed each other down: steps are the scored clock; seconds and "
            "ms/step mean little"
        )
    for comparison in summary["comparisons"]:
        if comparison["split"] == "test":
            lines.append(f"{comparison['name']}: selected on test (the recipe has no validation set)")
        if comparison["target"] is None:
            lines.append(f"{comparison['name']}: no target, every run used its budget up")
        for cell in comparison["cells"]:
            for reason, seeds in _reasons(cell["misses"]).items():
                who = f"{plural('seed', len(seeds))} {', '.join(map(str, seeds))}"
                lines.append(f"{comparison['name']} {cell['label']}, {who}: {reason}")
    led = [c["target"]["baseline"] for c in summary["comparisons"] if (c["target"] or {}).get("baseline")]
    if led and not summary["full"]:
        names = ", ".join(dict.fromkeys(led))
        lines.append(
            f"{names} was trained to the end of its budget before the others, not in turns with them, so a machine "
            "that got slower in between distorts seconds, but not steps (--full trains all in turns)"
        )
    if not summary["full"] and any(comparison["target"] for comparison in summary["comparisons"]):
        lines.append("runs stopped at the target, so the best metric is that at the target (--full trains further)")
    return lines


def comparison_title(comparison: Mapping[str, Any]) -> str:
    """`digits: validation accuracy >= 95.00 %`."""
    target = comparison["target"]
    what = comparison["metric"] if target is None else goal_text(target)
    return f"{comparison['name']}: {comparison['split']} {what}"


def goal_text(target: Mapping[str, Any]) -> str:
    """`accuracy >= 95.00 %`, or `accuracy >= lstm's best of the same seed (86.67 % to 88.89 %)`.

    Args:
        target: that of a comparison in bench.json.
    """
    metric = target["metric"]
    if "baseline" not in target:
        return target_text(metric, target["value"])
    low, high = (metric_text(metric, end(target["values"])) for end in (min, max))
    which = "median best over seeds" if target["pooled"] else "best of the same seed"
    sign = ">=" if METRICS[metric].higher_is_better else "<="
    return f"{metric} {sign} {target['baseline']}'s {which} ({low if low == high else f'{low} to {high}'})"


def range_text(clock: Mapping[str, float], text: Any) -> str:
    """`3.1 (2.8-∞)`: median and range."""
    low, high = clock["min"], clock["max"]
    return f"{text(clock['median'])}" if low == high else f"{text(clock['median'])} ({text(low)}–{text(high)})"


def times_text(ratio: float) -> str:
    """`1.31x`; a dash if both sides miss."""
    return NOTHING if math.isnan(ratio) else f"{INFINITY}×" if math.isinf(ratio) else f"{ratio:.2f}×"


def speed_up_text(cell: Mapping[str, Any], baseline: str) -> str:
    """`1.31x [0.98, 1.77]`."""
    if cell["label"] == baseline:
        return "baseline"
    text = times_text(cell["speed_up"])
    interval = None if math.isnan(cell["speed_up"]) else cell["speed_up_interval"]
    return text if interval is None else f"{text} [{', '.join(bound_text(value) for value in interval)}]"


def mean_text(metric: str, value: Mapping[str, Any]) -> str:
    """`95.37 ± 0.42 %`, accuracies in percent."""
    mean, deviation = value["mean"], value["sd"]
    if mean is None or math.isnan(mean):
        return NOTHING
    percent = METRICS[metric].fraction
    shape = "{:.2f}" if percent else "{:.3g}"
    factor = 100 if percent else 1
    text = shape.format(factor * mean)
    text += "" if deviation is None or math.isnan(deviation) else f" ± {shape.format(factor * deviation)}"
    return text + (" %" if percent else "")


def total_text(summary: Mapping[str, Any]) -> str:
    """`27 runs, 81.3 s of training`."""
    runs = [run for comparison in summary["comparisons"] for run in comparison["runs"]]
    return f"{counted(len(runs), 'run')}, {seconds_text(math.fsum(run['train_seconds'] for run in runs))} of training"


def split_columns(table: Table, width: int) -> list[Table]:
    """Return the table in parts that fit into `width` characters, the first column repeated in each."""
    gap = 2
    widths = [max(len(text) for text in column) for column in zip(table.columns, *table.rows, strict=True)]
    parts: list[list[int]] = [[]]
    for index in range(1, len(widths)):
        used = widths[0] + sum(gap + widths[i] for i in parts[-1])
        if parts[-1] and used + gap + widths[index] > width:
            parts.append([])
        parts[-1].append(index)
    return [
        Table(
            table.title if number == 0 else "",
            [table.columns[0], *(table.columns[i] for i in part)],
            [[row[0], *(row[i] for i in part)] for row in table.rows],
        )
        for number, part in enumerate(parts)
    ]


def _reasons(misses: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    reasons: dict[str, list[int]] = {}
    for miss in misses:
        reasons.setdefault(miss["reason"], []).append(miss["seed"])
    return reasons


def _clock(scored: str) -> str:
    return "seconds" if scored == "train_seconds" else scored


def bound_text(value: float) -> str:
    """`1.31`, a bound of an interval."""
    return INFINITY if math.isinf(value) else f"{value:.2f}"


def _or_nothing(value: Any, shape: str) -> str:
    return NOTHING if value is None else shape.format(value)
