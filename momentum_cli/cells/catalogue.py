"""The layers of cells, the cells they form with the dynamics, and building the layer of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from momentum_cli.cells.names import Cell, combine
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.ranges import check_ranges
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
    """A layer without options of its own."""


@dataclass(frozen=True)
class DynamicOptions:
    """Options of `OrthogonalRNN` with a dynamic trivialization."""

    basis_every: int | Literal["infty"] = field(default=1, metadata={"range": "integer >= 1 or infty"})
    orthogonal_init: OrthogonalInit = field(default="cayley", metadata={"range": "cayley or henaff"})

    def __post_init__(self) -> None:
        check_basis_every(self.basis_every)


@dataclass(frozen=True)
class StaticOptions:
    """Options of `OrthogonalRNN` with a static trivialization."""

    orthogonal_init: OrthogonalInit = field(default="cayley", metadata={"range": "cayley or henaff"})


@dataclass(frozen=True)
class CoupledOptions:
    """Options of `CoupledLSTM`."""

    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    restart_every: int = field(default=40, metadata={"range": "integer >= 1"})

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class LayerEntry:
    """One layer of recipes.

    Args:
        build: Its class, or a function with the same arguments.
        recurrence: Its recurrence, for tables.
        options: Dataclass of its own options; the fields are arguments of `build`.
        fixed: More arguments, which are not options.
        bias: True if it takes ``bias``.
        filtered: True if it takes ``dynamics``; otherwise the dynamics is `Identity`.
    """

    build: Callable[..., RecurrentLayer]
    recurrence: Recurrence
    options: type = NoOptions
    fixed: tuple[tuple[str, Any], ...] = ()
    bias: bool = True
    filtered: bool = True


LAYERS: dict[str, LayerEntry] = {
    "lstm": LayerEntry(LSTM, RECURRENCES["lstm"]),
    "gru": LayerEntry(GRU, RECURRENCES["gru"]),
    "rnn": LayerEntry(RNN, RECURRENCES["rnn"]),
    "rnn_relu": LayerEntry(RNN, RECURRENCES["rnn_relu"], fixed=(("nonlinearity", "relu"),)),
    "dtriv": LayerEntry(OrthogonalRNN, RECURRENCES["modrelu"], DynamicOptions, bias=False),
    "exprnn": LayerEntry(
        OrthogonalRNN, RECURRENCES["modrelu"], StaticOptions, fixed=(("trivialization", "static"),), bias=False
    ),
    "sr-coupled": LayerEntry(CoupledLSTM, coupled_recurrence(1.0, 40), CoupledOptions, filtered=False),
}


def all_cells() -> dict[str, Cell]:
    """Return every cell by its name, including those of loaded plugins."""
    return combine(DYNAMICS, {name: entry.filtered for name, entry in LAYERS.items()})


def cell_options(cell: Cell) -> tuple[Option, ...]:
    """Return the options of a cell: those of its dynamics, then those of its layer."""
    return dataclass_options(DYNAMICS[cell.dynamics]) + dataclass_options(LAYERS[cell.layer].options)


def cell_objects(cell: Cell, options: Mapping[str, Any]) -> tuple[Dynamics, Any]:
    """Build the dynamics of a cell and the options of its layer.

    Args:
        cell: The cell.
        options: By name; others keep their defaults.

    Raises:
        ValueError: A value is outside its range.
        TypeError: An option is unknown.
    """
    of_layer = LAYERS[cell.layer].options
    own = {entry.name for entry in fields(of_layer)}
    driven = {name: value for name, value in options.items() if name not in own}
    return DYNAMICS[cell.dynamics](**driven), of_layer(**{k: v for k, v in options.items() if k in own})


def build_cell_layer(
    cell: Cell, options: tuple[Dynamics, Any], *sizes: int, bias: bool = True, **shared: Any
) -> RecurrentLayer:
    """Build the layer of a cell.

    Args:
        cell: The cell.
        options: The result of `cell_objects`.
        sizes: ``input_size, hidden_size`` and, unless it is 1, ``num_layers``.
        bias: Passed to layers that take it; the only bias of an orthogonal RNN is modReLU's.
        shared: Arguments that every layer takes: ``dropout``, ``bidirectional``, ``backend``, ….
    """
    entry = LAYERS[cell.layer]
    arguments = {**shared, **dict(entry.fixed), **asdict(options[1])}
    if entry.bias:
        arguments["bias"] = bias
    if entry.filtered:
        arguments["dynamics"] = options[0]
    return entry.build(*sizes, **arguments)
