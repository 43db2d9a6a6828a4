"""The layers behind the second part of a cell's name, and their options beside those of the dynamics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from momentum_cli.cells.find import parse_cell
from momentum_cli.cells.names import Cell
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.nesterov import ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.layers.coupled import CoupledLSTM
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM, RNN
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.layers.orthogonal_matrix import check_basis_every
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.options import Option, dataclass_options
from momentum_cli.recurrence import RECURRENCES
from momentum_cli.recurrence.coupled import coupled_recurrence
from momentum_cli.recurrence.protocol import Recurrence

OrthogonalInit = Literal["cayley", "henaff"]


@dataclass(frozen=True)
class NoOptions:
    """A recurrence without options."""


@dataclass(frozen=True)
class DynamicOptions:
    """Options of `OrthogonalRNN` with a dynamic trivialization."""

    basis_every: int | Literal["infty"] = 1
    orthogonal_init: OrthogonalInit = "cayley"

    def __post_init__(self) -> None:
        check_basis_every(self.basis_every)


@dataclass(frozen=True)
class StaticOptions:
    """Options of `OrthogonalRNN` with a static trivialization."""

    orthogonal_init: OrthogonalInit = "cayley"


@dataclass(frozen=True)
class CoupledOptions:
    """Options of `CoupledLSTM`."""

    step_size: float = 1.0
    restart_every: int = 40

    def __post_init__(self) -> None:
        ScheduledRestart(self.step_size, self.restart_every)


@dataclass(frozen=True)
class Kind:
    """One layer of recipes.

    Args:
        layer: Its class.
        recurrence: What it runs, for people and for tables.
        options: Dataclass of the options of the recurrence; its fields are arguments of the layer.
        fixed: More arguments, which are not options.
        bias: Whether the layer takes ``bias``.
        filtered: Whether the layer takes ``dynamics``; otherwise the only one is `Identity`.
    """

    layer: Callable[..., RecurrentLayer]
    recurrence: Recurrence
    options: type = NoOptions
    fixed: tuple[tuple[str, Any], ...] = ()
    bias: bool = True
    filtered: bool = True


KINDS: dict[str, Kind] = {
    "lstm": Kind(LSTM, RECURRENCES["lstm"]),
    "gru": Kind(GRU, RECURRENCES["gru"]),
    "rnn": Kind(RNN, RECURRENCES["rnn"]),
    "rnn_relu": Kind(RNN, RECURRENCES["rnn_relu"], fixed=(("nonlinearity", "relu"),)),
    "dtriv": Kind(OrthogonalRNN, RECURRENCES["modrelu"], DynamicOptions, bias=False),
    "exprnn": Kind(
        OrthogonalRNN, RECURRENCES["modrelu"], StaticOptions, fixed=(("trivialization", "static"),), bias=False
    ),
    "sr-coupled": Kind(CoupledLSTM, coupled_recurrence(1.0, 40), CoupledOptions, filtered=False),
}


def cell_options(cell: str) -> tuple[Option, ...]:
    """Return the options of a cell: those of its dynamics, then those of its recurrence."""
    dynamics, kind = parse_cell(cell)
    return dataclass_options(DYNAMICS[dynamics]) + dataclass_options(KINDS[kind].options)


def cell_objects(cell: str, options: Mapping[str, Any]) -> tuple[Dynamics, Any]:
    """Build the dynamics and the options of the recurrence of a cell.

    Args:
        cell: Its name.
        options: By name; those left out take their defaults.

    Raises:
        ValueError: A value is outside its range.
        TypeError: There is no such option.
    """
    dynamics, kind = parse_cell(cell)
    own = {field.name for field in fields(KINDS[kind].options)}
    driven = {name: value for name, value in options.items() if name not in own}
    return DYNAMICS[dynamics](**driven), KINDS[kind].options(**{k: v for k, v in options.items() if k in own})


def build_cell_layer(
    cell: Cell, options: tuple[Dynamics, Any], *sizes: int, bias: bool = True, **shared: Any
) -> RecurrentLayer:
    """Build the layer of a cell.

    Args:
        cell: What `parse_cell` returned.
        options: What `cell_objects` returned.
        sizes: ``input_size, hidden_size`` and, unless it is 1, ``num_layers``.
        bias: Given to layers that take it; an orthogonal RNN has no bias but modReLU's.
        shared: Arguments that every layer takes: ``dropout``, ``bidirectional``, ``backend``, ….
    """
    kind = KINDS[cell.recurrence]
    arguments = {**shared, **dict(kind.fixed), **asdict(options[1])}
    if kind.bias:
        arguments["bias"] = bias
    if kind.filtered:
        arguments["dynamics"] = options[0]
    return kind.layer(*sizes, **arguments)
