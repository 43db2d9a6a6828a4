"""Words for numbers, times and user text, the same in every display."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Mapping, Sequence

from momentum_cli.metrics import METRICS


def target_text(metric: str, value: float) -> str:
    """`accuracy >= 95.00 %`."""
    return f"{metric} {'>=' if METRICS[metric].higher_is_better else '<='} {metric_text(metric, value)}"


def short_path(path: str | os.PathLike[str]) -> str:
    """The path relative to the current folder if it is inside it, else the whole path."""
    text = os.fspath(path)
    try:
        relative = os.path.relpath(text)
    except (ValueError, OSError):
        return text
    return text if relative.startswith(os.pardir) or len(relative) >= len(text) else relative


def metric_text(name: str, value: float | None) -> str:
    """A metric with its unit: fractions are in percent."""
    if value is None:
        return "-"
    if METRICS[name].fraction and math.isfinite(value):
        return f"{100 * value:.2f} %"
    return number_text(value)


def interval_text(name: str, ends: Sequence[float | None]) -> str:
    """The error bar of a metric: `95 %: 96.10 % to 98.60 %`."""
    low, high = (metric_text(name, end) for end in ends)
    return f"95 %: {low} to {high}"


def batch_text(size: int, unit: str) -> str:
    """The size of a batch: `128` sequences, and the unit of others: `2,048 tokens`."""
    return str(size) if unit == "sequences" else f"{size:,} {unit}"


def coverage_text(interval: Mapping[str, float]) -> str:
    """A predicted interval on a split: `covers 78.90 %, mean width 12.30`."""
    return f"covers {100 * interval['coverage']:.2f} %, mean width {number_text(interval['width'])}"


def number_text(value: float | None) -> str:
    """At least four significant digits; large and small magnitudes in scientific notation."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3e}"
    digits = 4 - math.floor(math.log10(abs(value)) + 1) if 0 < abs(value) < 0.1 else 4 if abs(value) < 10 else 2
    return f"{value:.{digits}f}"


def clock_text(seconds: float | None) -> str:
    """A duration as on a clock: 0:07, 12:34, 1:02:03, 2 d 03:04:05."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--"
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}:{left:02d}"
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def seconds_text(seconds: float | None) -> str:
    """A measured time: seconds with a decimal below ten minutes, then the clock and the whole seconds."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    return f"{seconds:.1f} s" if seconds < 600 else f"{clock_text(seconds)} ({seconds:,.0f} s)"


def bytes_text(count: float | None) -> str:
    """A size in binary units: 512 B, 9.5 MiB, 1.2 GiB."""
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def speed_text(samples_per_second: float | None) -> str:
    """Throughput in sequences: whole numbers from 100 on."""
    if samples_per_second is None or not math.isfinite(samples_per_second):
        return "- samples/s"
    return f"{samples_per_second:,.{0 if samples_per_second >= 100 else 1}f} samples/s"


def step_time_text(ms_per_step: float | None) -> str:
    """Milliseconds per step, seconds when they are large."""
    if ms_per_step is None or not math.isfinite(ms_per_step):
        return "- ms/step"
    return f"{ms_per_step:.1f} ms/step" if ms_per_step < 10_000 else f"{ms_per_step / 1000:.1f} s/step"


def printable(text: str) -> str:
    """User text without anything that could drive a terminal: control characters are spelled out."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        else " "
        if character == "\t"
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


INFINITY, NOTHING = "∞", "–"


def time_text(seconds: float) -> str:
    """Seconds with three significant digits; whole seconds from a hundred on."""
    if math.isinf(seconds):
        return INFINITY
    return f"{seconds:.{2 if seconds < 10 else 1 if seconds < 100 else 0}f}" if seconds < 1000 else f"{seconds:,.0f}"


def count_text(count: float) -> str:
    """A number of steps or samples; a median of an even number of runs may end in a half."""
    if math.isinf(count):
        return INFINITY
    return f"{count:,.0f}" if float(count).is_integer() else f"{count:,.1f}"
