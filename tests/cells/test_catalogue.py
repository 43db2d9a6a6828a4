"""The description of a cell agrees with its classes: equations, options, ranges."""

from __future__ import annotations

from typing import Any

import pytest

from momentum_cli.cells.catalogue import LAYERS, all_cells, cell_objects, cell_options
from momentum_cli.cells.find import parse_cell
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.inspection.cells import describe_cells

# Values of each range that is shown: allowed ones, and ones on the other side of its edge.
EDGES: dict[str, tuple[list[Any], list[Any]]] = {
    "[0, 1)": ([0, 0.5, 0.999], [-1e-9, 1.0]),
    "> 0": ([1e-9, 5.0], [0.0, -1.0]),
    ">= 0": ([0.0, 1.0], [-1e-30]),
    "integer >= 1": ([1, 7], [0, 1.5]),
    "integer >= 1 or infty": ([1, 7, "infty"], [0, 1.5, "never"]),
}


@pytest.mark.parametrize("name", all_cells())
def test_a_range_that_is_shown_is_the_one_that_is_checked(name: str) -> None:
    cell = parse_cell(name)
    for option in cell_options(cell):
        if option.name == "orthogonal_init":  # a word, checked by its type and by the layer
            assert option.range == "cayley or henaff"
            continue
        allowed, refused = EDGES[option.range]
        for value in allowed:
            cell_objects(cell, {option.name: value})
        for value in refused:
            with pytest.raises(ValueError, match=option.name):
                cell_objects(cell, {option.name: value})


def test_options_are_those_of_the_dynamics_and_of_the_layer() -> None:
    cell = parse_cell("momentum-dtriv")
    assert [option.name for option in cell_options(cell)] == ["momentum", "step_size", "basis_every", "orthogonal_init"]
    dynamics, own = cell_objects(cell, {"basis_every": 3, "momentum": 0.1})
    assert dynamics == DYNAMICS["momentum"](momentum=0.1, step_size=1.0)  # type: ignore[call-arg]
    assert (own.basis_every, own.orthogonal_init) == (3, "cayley")


def test_every_cell_is_described_by_its_classes() -> None:
    described = describe_cells()
    assert [entry["name"] for entry in described] == list(all_cells())
    for entry in described:
        cell = parse_cell(entry["name"])
        first, second = DYNAMICS[cell.dynamics].equation, LAYERS[cell.layer].recurrence.equation
        assert entry["equation"] == f"{first}; {second}"
        assert (entry["dynamics"], entry["layer"]) == cell
    assert len({cls.equation for cls in DYNAMICS.values()}) == len(DYNAMICS)
