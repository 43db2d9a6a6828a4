"""A cell is found by every way to write its name, and an unknown name by the nearest one."""

from __future__ import annotations

import pytest

from momentum_cli.cells.catalogue import all_cells
from momentum_cli.cells.find import canonical_name, parse_cell
from momentum_cli.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("lstm", ("identity", "lstm")),
        ("adam-gru", ("adam", "gru")),
        ("sr", ("sr", "lstm")),
        ("sr-lstm", ("sr", "lstm")),
        ("sr-coupled", ("identity", "sr-coupled")),
    ],
)
def test_parse_cell(name: str, cell: tuple[str, str]) -> None:
    assert parse_cell(name) == cell


def test_every_cell_has_one_canonical_name() -> None:
    assert [canonical_name(name) for name in all_cells()] == list(all_cells())
    assert canonical_name("momentum-lstm") == "momentum"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("momentun", "'momentum'"), ("ADAM", "'adam'"), ("adam_gru", "'adam-gru'"), ("lstm-lstm", ""), ("identity", "")],
)
def test_unknown_cells_are_suggested(name: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown cell '{name}'.*{hint}") as caught:
        canonical_name(name)
    # Three dozen names at the end of a message are not read.
    assert f"momentumrnn cells list shows all {len(all_cells())}" in str(caught.value)
    assert len(str(caught.value)) < 160
