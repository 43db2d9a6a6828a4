"""The tables of an inspection: a few of the steps in the JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.messages import counted
from momentum_cli.ui import results, terminal

_MOST_ROWS = 7
_NAMES = {
    "h": "|dL/dh_t|, state",
    "c": "|dL/dc_t|, cell of the LSTM",
    "d": "|dL/dd_t|, driven input",
    "u": "|dL/du_t|, projected input",
    "x": "|dL/dx_t|, input",
}


def shown_steps(length: int) -> list[int]:
    """Return the steps that a table shows: the first, the last, and a few evenly spaced between them."""
    count = min(_MOST_ROWS, length)
    if count == 1:
        return [1]
    return [1 + round(number * (length - 1) / (count - 1)) for number in range(count)]


def print_inspection(result: Mapping[str, Any]) -> None:
    """Write the tables of an inspection to stdout.

    Args:
        result: The result of `momentum_cli.inspection.gradients.inspect.inspect`.
    """
    entries = result["subjects"]
    stages = {entry["stage"] for entry in entries}
    heads = [entry["label"] + (f" {entry['stage']}" if len(stages) > 1 else "") for entry in entries]
    names = dict.fromkeys(name for entry in entries for name in entry["gradients"])
    for name in sorted(names, key=lambda name: [*_NAMES].index(name) if name in _NAMES else 1):
        curves = [entry["gradients"].get(name, {}).get("median") for entry in entries]
        rows: list[list[Any]] = [
            [t, *(None if curve is None else f"{curve[t - 1]:.2e}" for curve in curves)]
            for t in shown_steps(result["length"])
        ]
        rows.append(["first / last", *(None if curve is None else _ratio(curve) for curve in curves)])
        terminal.print_table(["t", *heads], rows, f"{_NAMES.get(name, f'|dL/d{name}_t|')}: median over the batch")
        _gap()
    columns = ["t", "number", *heads]
    rows = []
    for index, at in enumerate(entries[0]["jacobian"]):
        found = [entry["jacobian"][index] for entry in entries]
        rows.append([at["t"], "largest modulus", *(f"{each['moduli'][0]:.3f}" for each in found)])
        rows.append(["", "median modulus", *(f"{_middle(each['moduli']):.3f}" for each in found)])
        rows.append(["", "largest singular", *(f"{each['singular_values'][0]:.3g}" for each in found)])
    terminal.print_table(columns, rows, "recurrent Jacobian, d state_t / d state_{t-1}")
    _gap()
    rows = [
        [
            entry["label"],
            f"{entry['memory']:.3f}",
            "-" if entry["memory_closed_form"] is None else f"{entry['memory_closed_form']:.3f}",
            "not within T" if entry["forgotten_after"] is None else entry["forgotten_after"],
            entry["dynamics"],
        ]
        for entry in result["impulses"]
    ]
    columns = ["cell", "memory", "by formula", "steps to 5 %", "dynamics"]
    arrival = result["impulses"][0]["arrival"]
    terminal.print_table(columns, rows, f"impulse at t = {arrival} of {result['length']}")
    _gap()
    results.print_facts({f"loss {head}": entry["loss"] for head, entry in zip(heads, entries, strict=True)})
    batch = counted(result["batch"], "training sequence")
    terminal.print_lines(f"{batch} of {result['task']}, float64; {result['folder']}")


def _ratio(curve: list[float]) -> str:
    return f"{curve[0] / curve[-1]:.2e}" if curve[-1] else "-"


def _middle(values: list[float]) -> float:
    return values[len(values) // 2]


def _gap() -> None:
    # A table on a terminal already ends with an empty line.
    import sys

    if not sys.stdout.isatty():
        terminal.print_lines("")
