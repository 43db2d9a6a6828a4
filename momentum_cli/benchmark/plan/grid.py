"""A grid over the options of cells, as on the command line: ``momentum=0,0.3,0.6; step_size=0.1,0.3``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from momentum_cli.benchmark.plan.optimizers import rate_text
from momentum_cli.benchmark.plan.variants import OWN_SECTIONS, Variant
from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse, unknown

GRID_FLAG = "--grid"
# A heat map has two axes.
_MOST_AXES = 2


@dataclass(frozen=True)
class Axis:
    """One option and its values.

    Args:
        name: an option of the cell, or a dotted key such as ``model.hidden_size``.
        values: from the smallest to the largest.
    """

    name: str
    values: tuple[float, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as written in labels and tables."""
        return tuple(rate_text(value) for value in self.values)


def parse_grid(text: str) -> tuple[Axis, ...]:
    """Read ``--grid``: one or two ``NAME=number,number,…``, separated by a semicolon.

    Raises:
        RecipeError: It is malformed, repeats a name or value, or varies a key shared by everything compared.
    """
    axes: list[Axis] = []
    for piece in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, numbers = (part.strip() for part in piece.partition("="))
        if not equals or not name:
            must = "be NAME=number,number,…, several separated by ;"
            raise RecipeError(f"{GRID_FLAG} {text}: {refuse('an option', piece, must)}")
        if "." in name and name.split(".")[0] not in OWN_SECTIONS:
            raise RecipeError(
                f"{GRID_FLAG} {text}: {name} is shared by everything compared; vary options of the cell or keys of "
                f"{', '.join(OWN_SECTIONS)}"
            )
        if any(name == axis.name for axis in axes):
            raise RecipeError(f"{GRID_FLAG} {text}: {name} is given twice")
        axes.append(Axis(name, _values(text, name, numbers)))
    if not 1 <= len(axes) <= _MOST_AXES:
        raise RecipeError(f"{GRID_FLAG} {text}: must have one or two options, got {len(axes)}; for example {_EXAMPLE}")
    return tuple(axes)


def grid_points(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """Return every combination as texts ``name=value``; the last axis changes fastest."""
    return list(itertools.product(*([f"{axis.name}={value}" for value in axis.texts] for axis in axes)))


def check_axes(axes: Sequence[Axis], variants: Sequence[Variant]) -> None:
    """Raise RecipeError if a cell lacks the option or sets it itself."""
    from momentum_cli.cells.catalogue import cell_options
    from momentum_cli.cells.find import parse_cell

    for axis in axes:
        for variant in variants:
            allowed = [option.name for option in cell_options(parse_cell(variant.cell))]
            if "." not in axis.name and axis.name not in allowed:
                message = unknown("option", axis.name, allowed, f"the cell {variant.cell}")
                raise RecipeError(f"{GRID_FLAG} {axis.name}: {message}; every cell of a grid needs it")
            if any(option.partition("=")[0] == axis.name for option in variant.options):
                raise RecipeError(
                    f"--cells {variant.label}: {axis.name} is given by {GRID_FLAG}; leave one of them out"
                )


_EXAMPLE = "'momentum=0,0.3,0.6,0.9; step_size=0.1,0.3,0.6,1.0'"


def _values(text: str, name: str, numbers: str) -> tuple[float, ...]:
    values: list[float] = []
    for piece in numbers.split(","):
        try:
            value = float(piece)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RecipeError(f"{GRID_FLAG} {text}: {refuse(name, piece.strip(), 'be numbers')}")
        if value in values:
            raise RecipeError(f"{GRID_FLAG} {text}: {name}={value:g} is given twice, which would count one run as two")
        values.append(value)
    return tuple(sorted(values))
