"""Properties of every cell, including a plugin's: chunks equal the whole, limits, resuming equals not stopping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_inputs import flat
from lightning_fabric import Fabric
from plugin_state import unregistered
from torch import Tensor

from momentum_cli.cells.catalogue import LAYERS, all_cells, build_cell_layer, cell_objects
from momentum_cli.cells.find import parse_cell
from momentum_cli.cells.names import Cell
from momentum_cli.cells.plugins import load_plugin
from momentum_cli.data import Dataset
from momentum_cli.data.dataset import Split
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import ScheduledRestart
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.runs.checkpoint import Checkpoint
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal_gated_unit.py"
LAZY = Path(__file__).parents[1] / "lazy_average.py"
FILTERED = [*(name for name, entry in LAYERS.items() if entry.filtered), "mgu"]
PLUGIN = ["mgu", *(f"{name}-mgu" for name in DYNAMICS if name != "identity")]
PLUGIN += [f"lazy-{name}".removesuffix("-lstm") for name in FILTERED]
NAMES = [*all_cells(), *PLUGIN]


@pytest.fixture(autouse=True, scope="module")
def plugins() -> Iterator[None]:
    with unregistered():
        load_plugin(EXAMPLE)
        load_plugin(LAZY)
        yield


def layer(cell: str, options: dict[str, Any] | None = None, **shared: Any) -> RecurrentLayer:
    torch.manual_seed(0)
    shared = {"dtype": torch.float64, **shared}
    wanted = parse_cell(cell)
    return build_cell_layer(wanted, cell_objects(wanted, options or {}), 3, 5, **shared)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_cell_is_here() -> None:
    assert set(NAMES) == set(all_cells())
    assert len(NAMES) == len(all_cells())


@pytest.mark.parametrize("cell", NAMES)
@pytest.mark.parametrize("layers", [1, 2])
def test_chunks_are_the_whole(cell: str, layers: int) -> None:
    module = layer(cell, num_layers=layers)
    x = random(19, 2, 3)
    whole, end = module(x)
    state, pieces = None, []
    for chunk in x.split([1, 1, 6, 11]):
        piece, state = module(chunk, state)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-9, atol=1e-10)
    assert state is not None
    for actual, expected in zip(flat(state), flat(end), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("cell", NAMES)
def test_padding_and_lengths_are_the_sequences_one_by_one(cell: str) -> None:
    module = layer(cell)
    x, lengths = random(9, 3, 3), torch.tensor([4, 9, 1])
    padded, end = module.run_padded(x, None, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, last = module(x[:length, row : row + 1])
        torch.testing.assert_close(padded[:length, row : row + 1], alone, rtol=1e-9, atol=1e-10)
        assert not padded[length:, row].any()
        for actual, expected in zip(flat(end), flat(last), strict=True):
            torch.testing.assert_close(actual[:, row : row + 1], expected, rtol=1e-9, atol=1e-10)


# The limit of a cell without momentum: dynamics with options -> the dynamics and the options of the same cell.
LIMITS = {
    "momentum": ({"momentum": 0.0, "step_size": 1.0}, "identity", {}),
    "sr": ({"step_size": 1.0, "restart_every": 1}, "identity", {}),
    "adam": ({"momentum": 0.0, "beta2": 0.3, "step_size": 0.7}, "rmsprop", {"beta2": 0.3, "step_size": 0.7}),
    "lazy": ({"pace": 1.0}, "identity", {}),
    # no restart within the sequence
    "nesterov": ({"step_size": 0.7}, "sr", {"step_size": 0.7, "restart_every": 100}),
}


@pytest.mark.parametrize("layer_name", FILTERED)
@pytest.mark.parametrize("dynamics", LIMITS)
def test_limits(dynamics: str, layer_name: str) -> None:
    options, other, other_options = LIMITS[dynamics]
    one, limit = layer(Cell(dynamics, layer_name).name, options), layer(Cell(other, layer_name).name, other_options)
    limit.load_state_dict(one.state_dict())
    x = random(13, 2, 3)
    torch.testing.assert_close(one(x)[0], limit(x)[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layer_name", FILTERED)
def test_momentum_is_no_identity(layer_name: str) -> None:
    """The limits say something: with momentum the outputs differ."""
    one, plain = layer(Cell("momentum", layer_name).name, {"momentum": 0.5}), layer(layer_name)
    plain.load_state_dict(one.state_dict())
    x = random(13, 2, 3)
    assert (one(x)[0] - plain(x)[0]).abs().max() > 1e-3
    assert isinstance(one.dynamics, HeavyBall)
    assert isinstance(plain.dynamics, Identity)


def test_restarts_beyond_the_first_count_from_it() -> None:
    """After F steps a restarted cell forgets its coefficient, not its velocity."""
    dynamics = ScheduledRestart(1.0, 3)
    u = random(7, 1, 1)
    d, _ = dynamics.scan(u)
    torch.testing.assert_close(d[3], u[3])  # k = 1 again: coefficient 0
    torch.testing.assert_close(d[4], u[4] + d[3] / 4)


def trainer(cell: str) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(10, 5, 2, generator=generator), torch.arange(10) % 3)
    data = Dataset("toy", split, split, split, 2, 3, "last", "cross_entropy", ("accuracy",), None)
    recipe = {
        "task": {"name": "digits"},
        "model": {"cell": cell, "hidden_size": 4},
        "optimizer": {"name": "rmsprop", "lr": 0.01},
        "train": {"epochs": 5, "batch_size": 4},
    }
    return Trainer(parse_recipe(recipe), data, Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize("cell", NAMES)
def test_a_resumed_training_is_the_uninterrupted_one(cell: str) -> None:
    whole, first, second = (trainer(cell) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(2):
        first.step()
    saved = snapshot(first)
    restore(second, Checkpoint(saved.tensors, json.loads(json.dumps(saved.data))))
    for _ in range(3):
        second.step()
    one, other = whole.module.state_dict(), second.module.state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
