"""Cell names, `lstm gru rnn rnn_relu` and `DYNAMICS[-RECURRENCE]`, and what stands behind each.

The names are written out here, so that the command line completes and checks them without importing torch; a test
holds them against `DYNAMICS` x `RECURRENCES`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from momentum_cli import terminal
from momentum_cli.errors import RecipeError
from momentum_cli.lookup import unknown


class Cell(NamedTuple):
    """A dynamics in front of a recurrence, by their names in `DYNAMICS` and `RECURRENCES`."""

    dynamics: str
    recurrence: str


CELLS: dict[str, Cell] = {
    "lstm": Cell("identity", "lstm"),
    "gru": Cell("identity", "gru"),
    "rnn": Cell("identity", "rnn"),
    "rnn_relu": Cell("identity", "rnn_relu"),
    "momentum": Cell("momentum", "lstm"),
    "momentum-gru": Cell("momentum", "gru"),
    "momentum-rnn": Cell("momentum", "rnn"),
    "momentum-rnn_relu": Cell("momentum", "rnn_relu"),
    "nesterov": Cell("nesterov", "lstm"),
    "nesterov-gru": Cell("nesterov", "gru"),
    "nesterov-rnn": Cell("nesterov", "rnn"),
    "nesterov-rnn_relu": Cell("nesterov", "rnn_relu"),
    "sr": Cell("sr", "lstm"),
    "sr-gru": Cell("sr", "gru"),
    "sr-rnn": Cell("sr", "rnn"),
    "sr-rnn_relu": Cell("sr", "rnn_relu"),
    "rmsprop": Cell("rmsprop", "lstm"),
    "rmsprop-gru": Cell("rmsprop", "gru"),
    "rmsprop-rnn": Cell("rmsprop", "rnn"),
    "rmsprop-rnn_relu": Cell("rmsprop", "rnn_relu"),
    "adam": Cell("adam", "lstm"),
    "adam-gru": Cell("adam", "gru"),
    "adam-rnn": Cell("adam", "rnn"),
    "adam-rnn_relu": Cell("adam", "rnn_relu"),
}

# u is the projected input W_ih x_t + b_ih, d what the recurrence receives in its place.
EQUATIONS: dict[str, str] = {
    "identity": "d = u",
    "momentum": "v' = momentum v + step_size u; d = v'",
    "nesterov": "v' = (k-1)/(k+2) v + step_size u, k = 1, 2, …; d = v'",
    "sr": "v' = (k-1)/(k+2) v + step_size u, k = 1, …, restart_every, 1, …; d = v'",
    "rmsprop": "m' = beta2 m + (1 - beta2) u²; d = step_size u / sqrt(m' + eps)",
    "adam": "v' = momentum v + step_size u; m' = beta2 m + (1 - beta2) u²; d = v' / sqrt(m' + eps)",
}

# The dataclasses of dynamics.py check these; a test tries the edges of each against them.
RANGES: dict[str, str] = {
    "momentum": "[0, 1)",
    "beta2": "[0, 1)",
    "step_size": "> 0",
    "eps": ">= 0",
    "restart_every": "integer >= 1",
}


def canonical_name(name: str) -> str:
    """Return the name under which a cell is kept: `momentum-lstm` is `momentum`.

    Raises:
        RecipeError: There is no such cell; the message lists the names and the nearest one.
    """
    # Only a dynamics may leave "-lstm" out; "lstm-lstm" is not a name.
    short = name.removesuffix("-lstm")
    if short != name and short in CELLS and CELLS[short] == Cell(short, "lstm"):
        return short
    if name in CELLS:
        return name
    raise RecipeError(unknown("cell", name, CELLS))


def parse_cell(name: str) -> Cell:
    """Return the names of the dynamics and of the recurrence behind a cell name, e.g. `adam-gru` -> (adam, gru).

    Raises:
        RecipeError: There is no such cell; the message lists the names and the nearest one.
    """
    return CELLS[canonical_name(name)]


def describe_cells() -> list[dict[str, Any]]:
    """Return one JSON-able entry a cell: name, dynamics, recurrence, equation, and options with default and range.

    Imports torch, because defaults are read from the dataclasses of `DYNAMICS`.
    """
    from momentum_cli.recurrence import RECURRENCES

    return [
        {
            "name": name,
            "dynamics": cell.dynamics,
            "recurrence": cell.recurrence,
            "equation": f"{EQUATIONS[cell.dynamics]}; {RECURRENCES[cell.recurrence].equation}",
            "options": dynamics_options(cell.dynamics),
        }
        for name, cell in CELLS.items()
    ]


def dynamics_options(name: str) -> dict[str, dict[str, Any]]:
    """Return the options of a dynamics, each with its default and its range."""
    from momentum_cli.dynamics import DYNAMICS

    fields = dataclasses.fields(DYNAMICS[name])  # type: ignore[arg-type]
    return {field.name: {"default": field.default, "range": RANGES[field.name]} for field in fields}


def print_cells() -> None:
    """Show the cells to people: the dynamics with their cells and options, then the recurrences behind them."""
    from momentum_cli.recurrence import RECURRENCES

    rows = []
    for dynamics, equation in EQUATIONS.items():
        names = [name for name, cell in CELLS.items() if cell.dynamics == dynamics]
        options = dynamics_options(dynamics).items()
        texts = [f"{option}: {entry['default']:g}, {entry['range']}" for option, entry in options]
        rows.append(["\n".join(names), equation.replace("; ", "\n"), "\n".join(texts)])
    terminal.print_table(["cell", "equation (u: projected input)", "options: default, range"], rows)
    recurrences = [[name, recurrence.equation.replace("; ", "\n")] for name, recurrence in RECURRENCES.items()]
    terminal.print_table(["recurrence", "equation (d: driven input)"], recurrences, "A name without one has lstm.")
