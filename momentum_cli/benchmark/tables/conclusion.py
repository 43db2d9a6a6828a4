"""Conclusions of a comparison, and their limits, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from momentum_cli.benchmark.tables.comparison import baseline_of, bound_text, goal_text, times_text
from momentum_cli.messages import counted

_CLOCKS = {"train_seconds": "training seconds", "steps": "optimizer steps"}
# What the interval of a cell shows, in the order of the sentence.
_FASTER, _SLOWER, _OPEN, _ONLY, _MISSED, _NEITHER = range(6)


def conclusion(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str | None:
    """Return one sentence on what the comparison shows and for what it holds; None without a target or a second cell.

    A cell is called faster or slower only where the whole interval of its speed-up is above or below 1, and with too
    few seeds none is.

    Args:
        comparison: one of ``comparisons`` of bench.json.
        summary: bench.json.
    """
    base = _baseline(comparison, summary)
    if base is None:
        return None
    groups = _groups(comparison, base, few=summary["anecdotal"])
    if not groups:
        return None
    found = "; ".join(_said(kind, groups[kind], base) for kind in sorted(groups))
    count = len(summary["seeds"])
    seeds = counted(count, "seed")
    doubt = f"; {seeds} cannot tell a difference from chance" if summary["anecdotal"] else ""
    goal = f"{comparison['split']} {goal_text(comparison['target'])}"
    clock, held = _CLOCKS[summary["scored"]], _held(comparison)
    return f"In {clock} to {goal}, median of {seeds}: {found}{doubt}; this holds for {held}, and not beyond."


def verdicts(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """Return one sentence per cell that compares it with the baseline, with its uncertainty."""
    base = _baseline(comparison, summary)
    if base is None:
        return []
    return [
        f"{cell['label']}: {_verdict(cell, base, few=summary['anecdotal'])}"
        for cell in comparison["cells"]
        if cell["label"] != base["label"]
    ]


def _baseline(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the row that speed-ups are relative to, or the first row if it is missing; None without a target."""
    if comparison["target"] is None:
        return None
    rows: Sequence[Mapping[str, Any]] = comparison["cells"]
    return next((cell for cell in rows if cell["label"] == baseline_of(comparison, summary)), rows[0])


def _groups(comparison: Mapping[str, Any], base: Mapping[str, Any], *, few: bool) -> dict[int, list[Mapping[str, Any]]]:
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for cell in comparison["cells"]:
        if cell["label"] != base["label"]:
            groups.setdefault(_finding(cell, few=few), []).append(cell)
    return groups


def _finding(cell: Mapping[str, Any], *, few: bool) -> int:
    value, interval = cell["speed_up"], cell["speed_up_interval"]
    if math.isnan(value):
        return _NEITHER
    if value == 0 or math.isinf(value):
        return _MISSED if value == 0 else _ONLY
    if interval is None or few or interval[0] <= 1 <= interval[1]:
        return _OPEN
    return _FASTER if interval[0] > 1 else _SLOWER


def _said(finding: int, cells: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> str:
    """Return the words for all cells with the same finding."""
    be, name = "is" if len(cells) == 1 else "are", base["label"]
    numbers = [f"{cell['label']} ({_times(cell)})" for cell in cells]
    missed, runs = _with_hits(base), [_with_hits(cell) for cell in cells]
    return {
        _FASTER: f"{_joined(numbers)} {be} faster than {name}",
        _SLOWER: f"{_joined(numbers)} {be} slower than {name}",
        _OPEN: f"no clear difference between {name} and {_joined(numbers)}",
        _ONLY: f"{_joined(runs)} reached the target and {missed} did not",
        _MISSED: f"{_joined(runs)} did not reach the target and {missed} did",
        _NEITHER: f"neither {' nor '.join([missed, *runs])} reached the target",
    }[finding]


def _with_hits(cell: Mapping[str, Any]) -> str:
    """`adam (in 1 of 3 runs)`: the median run speaks for a cell, so the others are counted where they differ."""
    hits, runs = cell["hits"], cell["runs"]
    return f"{cell['label']} (in {hits} of {runs} runs)" if 0 < hits < runs else str(cell["label"])


def _times(cell: Mapping[str, Any]) -> str:
    interval = cell["speed_up_interval"]
    bounds = "" if interval is None else f" [{', '.join(bound_text(value) for value in interval)}]"
    return times_text(cell["speed_up"]) + bounds


def _joined(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _held(comparison: Mapping[str, Any]) -> str:
    """`sequences of 64 steps, 64 hidden units and this target`."""
    length, recipe = comparison.get("length"), comparison["recipe"]
    other = " (momentumrnn bench digits: the same images in 8)" if recipe["task"]["name"] == "digits" else ""
    if length is None:
        steps = comparison["name"]
    else:
        steps = f"sequences of {counted(length, 'step')}{other if length > 8 else ''}"
    return f"{steps}, {recipe['model']['hidden_size']} hidden units and this target"


def _verdict(cell: Mapping[str, Any], baseline: Mapping[str, Any], *, few: bool) -> str:
    name, value = baseline["label"], cell["speed_up"]
    if math.isnan(value):
        return f"cannot be compared with {name}: the median run of neither reached the target"
    if value == 0:
        return f"missed the target in the median run, which {name} reached"
    if math.isinf(value):
        return f"reached the target, which {name} missed in the median run"
    times = f"{value:.2f} times as fast as {name} to the target"
    interval = cell["speed_up_interval"]
    if interval is None or few:
        return f"{times}; too few seeds to tell that from chance"
    low, high = interval
    bounds = f"95 % interval {bound_text(low)} to {bound_text(high)}"
    if low > 1:
        return f"faster, {times} ({bounds})"
    if high < 1:
        return f"slower, {times} ({bounds})"
    return f"no clear difference, {times} ({bounds})"
