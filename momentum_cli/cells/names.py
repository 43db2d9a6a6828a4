"""Cell names: `LAYER` or `DYNAMICS[-LAYER]`, where the layer `lstm` is omitted, and layers that take no dynamics."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from momentum_cli.tables import table_entries, table_names


class Cell(NamedTuple):
    """A dynamics in front of a layer, by their names in `DYNAMICS` and `LAYERS`."""

    dynamics: str
    layer: str

    @property
    def name(self) -> str:
        """Its name in recipes and on the command line, such as `adam-gru`."""
        if self.dynamics == "identity":
            return self.layer
        return f"{self.dynamics}-{self.layer}".removesuffix("-lstm")


def combine(dynamics: Iterable[str], layers: Mapping[str, bool]) -> dict[str, Cell]:
    """Return every cell by its name: each dynamics in front of each layer, then the layers that take none.

    Args:
        dynamics: Names of dynamics.
        layers: Name of each layer, and True if it takes a dynamics.
    """
    cells = [Cell(name, layer) for name in dynamics for layer, filtered in layers.items() if filtered]
    cells += [Cell("identity", layer) for layer, filtered in layers.items() if not filtered]
    return {cell.name: cell for cell in cells}


def built_in_names() -> list[str]:
    """Return the names of the built-in cells from the source of the two tables.

    Importing the tables imports torch, which takes seconds: too long for completion in a shell.
    """
    dynamics = table_names("dynamics/__init__.py", "DYNAMICS")
    layers = table_entries("cells/catalogue.py", "LAYERS")
    return list(combine(dynamics, {name: _takes_dynamics(entry) for name, entry in layers.items()}))


def _takes_dynamics(entry: ast.expr) -> bool:
    keywords = entry.keywords if isinstance(entry, ast.Call) else []
    return not any(keyword.arg == "filtered" for keyword in keywords)
