"""Cell names, `lstm gru rnn rnn_relu dtriv exprnn`, `DYNAMICS[-RECURRENCE]` and `sr-coupled`, and what is behind each.

The names are written out here, so that the command line completes and checks them without importing torch; a test
holds them against `DYNAMICS` x `KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    pass


class Cell(NamedTuple):
    """A dynamics in front of a recurrence, by their names in `DYNAMICS` and `KINDS`."""

    dynamics: str
    recurrence: str


CELLS: dict[str, Cell] = {
    "lstm": Cell("identity", "lstm"),
    "gru": Cell("identity", "gru"),
    "rnn": Cell("identity", "rnn"),
    "rnn_relu": Cell("identity", "rnn_relu"),
    "dtriv": Cell("identity", "dtriv"),
    "exprnn": Cell("identity", "exprnn"),
    "momentum": Cell("momentum", "lstm"),
    "momentum-gru": Cell("momentum", "gru"),
    "momentum-rnn": Cell("momentum", "rnn"),
    "momentum-rnn_relu": Cell("momentum", "rnn_relu"),
    "momentum-dtriv": Cell("momentum", "dtriv"),
    "momentum-exprnn": Cell("momentum", "exprnn"),
    "nesterov": Cell("nesterov", "lstm"),
    "nesterov-gru": Cell("nesterov", "gru"),
    "nesterov-rnn": Cell("nesterov", "rnn"),
    "nesterov-rnn_relu": Cell("nesterov", "rnn_relu"),
    "nesterov-dtriv": Cell("nesterov", "dtriv"),
    "nesterov-exprnn": Cell("nesterov", "exprnn"),
    "sr": Cell("sr", "lstm"),
    "sr-gru": Cell("sr", "gru"),
    "sr-rnn": Cell("sr", "rnn"),
    "sr-rnn_relu": Cell("sr", "rnn_relu"),
    "sr-dtriv": Cell("sr", "dtriv"),
    "sr-exprnn": Cell("sr", "exprnn"),
    "rmsprop": Cell("rmsprop", "lstm"),
    "rmsprop-gru": Cell("rmsprop", "gru"),
    "rmsprop-rnn": Cell("rmsprop", "rnn"),
    "rmsprop-rnn_relu": Cell("rmsprop", "rnn_relu"),
    "rmsprop-dtriv": Cell("rmsprop", "dtriv"),
    "rmsprop-exprnn": Cell("rmsprop", "exprnn"),
    "adam": Cell("adam", "lstm"),
    "adam-gru": Cell("adam", "gru"),
    "adam-rnn": Cell("adam", "rnn"),
    "adam-rnn_relu": Cell("adam", "rnn_relu"),
    "adam-dtriv": Cell("adam", "dtriv"),
    "adam-exprnn": Cell("adam", "exprnn"),
    "sr-coupled": Cell("identity", "sr-coupled"),
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

# The dataclasses of dynamics.py and kinds.py check these; a test tries the edges of each against them.
RANGES: dict[str, str] = {
    "momentum": "[0, 1)",
    "beta2": "[0, 1)",
    "step_size": "> 0",
    "eps": ">= 0",
    "restart_every": "integer >= 1",
    "basis_every": "integer >= 1 or infty",
    "orthogonal_init": "cayley or henaff",
}
