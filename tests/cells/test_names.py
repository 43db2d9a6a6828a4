"""The names of cells: the product of two tables, known without importing torch."""

from __future__ import annotations

import subprocess
import sys

from momentum_cli.cells.catalogue import LAYERS, all_cells
from momentum_cli.cells.names import Cell, built_in_names, combine
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.recurrence import RECURRENCES


def test_cells_are_dynamics_times_layers() -> None:
    expected = set()
    for dynamics in DYNAMICS:
        for layer, entry in LAYERS.items():
            if entry.filtered:
                expected.add(layer if dynamics == "identity" else f"{dynamics}-{layer}".removesuffix("-lstm"))
            else:
                expected.add(layer)
    assert all_cells().keys() == expected
    assert len(expected) == 6 * 6 + 1
    assert {"lstm", "dtriv", "momentum", "momentum-gru", "adam-rnn_relu", "sr", "sr-coupled"} <= expected
    assert {entry.recurrence.name for entry in LAYERS.values() if entry.filtered} == RECURRENCES.keys()


def test_a_line_in_a_table_is_a_cell_for_each_line_of_the_other() -> None:
    cells = combine(["identity", "slow"], {"lstm": True, "mgu": True, "odd": False})
    assert list(cells) == ["lstm", "mgu", "slow", "slow-mgu", "odd"]
    assert cells["slow"] == Cell("slow", "lstm")
    assert cells["odd"] == Cell("identity", "odd")
    assert all(cell.name == name for name, cell in cells.items())


def test_the_names_in_the_source_are_those_of_the_tables() -> None:
    assert built_in_names() == list(all_cells())


def test_the_source_is_read_without_torch() -> None:
    code = (
        "import sys; from momentum_cli.cells.names import built_in_names\n"
        "assert 'momentum-gru' in built_in_names(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
