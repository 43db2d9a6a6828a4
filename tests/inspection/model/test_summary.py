"""A recipe's summary against the model itself, torch's own counter of operations, and the memory of a real process."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner, Result

from momentum_cli import cli
from momentum_cli.data import Sizes
from momentum_cli.inspection.model.memory import estimate
from momentum_cli.inspection.model.operations import training_operations
from momentum_cli.inspection.model.peak import measured_peak
from momentum_cli.inspection.model.summary import summary
from momentum_cli.inspection.model.tables import print_summary
from momentum_cli.recipe.building import build_model, build_task
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.training.objective import Objective

DATA = os.environ.get("MOMENTUMRNN_DATA")
TOLERANCE = 0.15
"""Of the estimated memory: what buffers of single operations, packed weights and the allocator add."""


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.app, list(args))


def recipe_of(*overrides: str) -> Recipe:
    return load_recipe("digits", ["model.hidden_size=6", "train.batch_size=4", *overrides])


# Parameters, state, sizes.


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.cell=adam-gru"],
        ["model.cell=lstm", "model.num_layers=2", "model.bidirectional=true"],
        ["model.cell=momentum-rnn", "model.bias=false"],
    ],
)
def test_parameters_and_state_are_those_of_the_model(overrides: list[str]) -> None:
    recipe = recipe_of(*overrides)
    result = summary(recipe)
    model = build_model(recipe, 8, 10, "last")
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert {layer["name"]: layer["shape"] for layer in result["layers"]} == {
        name: list(p.shape) for name, p in model.named_parameters()
    }
    _, state = model(torch.zeros(1, 3, 8))
    assert result["state_bytes"] == sum(s.numel() * s.element_size() for s in state)
    assert [entry["shape"] for entry in result["state"]] == [list(s.shape) for s in state]


def test_backend_is_the_one_that_training_takes() -> None:
    for asked in ("auto", "reference"):
        recipe = recipe_of(f"model.backend={asked}")
        model = build_model(recipe, 8, 10, "last")
        model(torch.zeros(4, 8, 8))
        assert summary(recipe)["backend"] == model.layer.chosen_backend


# Operations.


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.cell=lstm"],
        ["model.cell=adam"],
        ["model.cell=gru", "model.num_layers=2"],
        ["model.cell=rnn", "model.num_layers=2", "model.bidirectional=true"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("output", ["last", "every"])
def test_operations_are_those_that_torch_counts(overrides: list[str], output: Any) -> None:
    """torch counts the matrix products of the plain loop. It saves one product a layer and direction: at the first
    step the state is not computed and needs no gradient."""
    recipe = recipe_of(*overrides, "model.backend=reference")
    model = build_model(recipe, 8, 10, output)
    inputs = torch.zeros(4, 5, 8)
    targets = torch.zeros((4, 5) if output == "every" else 4, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        outputs, _ = model(inputs)
        Objective("cross_entropy", output).loss_sum(outputs, targets).backward()
    layer = model.layer
    gates = layer.recurrence.gates * 6
    first = 2 * 4 * gates * 6 * layer.num_layers * layer.num_directions
    # The top layer's reverse direction ends at t = 1, and "last" reads it there like any other.
    assert counter.get_total_flops() == training_operations(model, 5, 4) - first


def test_operations_by_hand() -> None:
    """LSTM, D 8, H 6: 2 * 24 * (8 + 6) a step forward; backward twice that without the gradient of x."""
    result = summary(recipe_of("model.cell=momentum"))
    assert result["flops"]["time_step"] == 2 * 24 * 14
    assert result["flops"]["head"] == 2 * 6 * 10
    per_step = 3 * 2 * 24 * 14 - 2 * 24 * 8
    assert result["flops"]["training_step"] == 4 * (8 * per_step + 3 * 2 * 6 * 10)


# Memory.


def test_parts_of_the_estimate() -> None:
    recipe = recipe_of("model.cell=lstm", "model.backend=reference", "optimizer.name=adam")
    memory = estimate(recipe, Sizes(20, 8, 8, 10, "last", "cross_entropy"), 4)
    model = build_model(recipe, 8, 10, "last")
    parameters = 4 * sum(p.numel() for p in model.parameters())
    assert (memory.parameters, memory.gradients, memory.batch) == (parameters, parameters, 4 * 4 * 8 * 8)
    # Two moments of each parameter and a step number of each tensor.
    assert memory.optimizer == 2 * parameters + 4 * len(list(model.parameters()))
    parts = (memory.parameters, memory.gradients, memory.optimizer, memory.batch, memory.activations)
    assert memory.peak == sum(parts)


def test_activations_of_the_loop_by_hand() -> None:
    """A step of the loop keeps, in units of B H: sigmoid and tanh of four gates, tanh(c), c, h; and x by time."""
    recipe = recipe_of("model.cell=lstm", "model.backend=reference")
    unit, step_of_x = 4 * 4 * 6, 4 * 4 * 8
    short, long = (
        estimate(recipe, Sizes(20, length, 8, 10, "last", "cross_entropy"), 4).activations for length in (20, 30)
    )
    assert long - short == pytest.approx(10 * (7 * unit + step_of_x), rel=0.001)


@pytest.mark.parametrize("cell", ["momentum", "gru", "nesterov-rnn"])
def test_extrapolation_is_the_full_length(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(f"model.cell={cell}", "model.backend=reference")
    shape = Sizes(20, 256, 8, 10, "last", "cross_entropy")
    extrapolated = estimate(recipe, shape, 2)
    monkeypatch.setattr("momentum_cli.inspection.model.memory._LOOP", (96, 256))
    whole = estimate(recipe, shape, 2)
    assert (extrapolated.activations_from, whole.activations_from) == ("extrapolation", "allocation")
    assert extrapolated.activations == pytest.approx(whole.activations, rel=0.01)


@pytest.mark.parametrize("cell", ["momentum", "adam-gru"])
def test_a_long_sequence_is_extrapolated_with_the_kernel_too(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A billion steps would take hours to allocate; the line through two lengths is what 25,000 steps keep."""
    recipe = recipe_of(f"model.cell={cell}", "model.backend=fused")
    extrapolated = estimate(recipe, Sizes(20, 25_000, 8, 10, "last", "cross_entropy"), 2)
    assert estimate(recipe, Sizes(20, 10**9, 8, 10, "last", "cross_entropy"), 2).activations > 10**10
    monkeypatch.setattr("momentum_cli.inspection.model.memory._FUSED", (0, 25_000))
    whole = estimate(recipe, Sizes(20, 25_000, 8, 10, "last", "cross_entropy"), 2)
    assert (extrapolated.activations_from, whole.activations_from) == ("extrapolation", "allocation")
    assert extrapolated.activations == pytest.approx(whole.activations, rel=1e-3)


@pytest.mark.parametrize("length", [150, 450])
def test_estimate_is_what_a_process_grows_by(length: int) -> None:
    """Two shapes, the second three times the first; within `TOLERANCE` and the few MiB that a first step costs."""
    recipe = load_recipe("adding", [f"task.length={length}", "model.hidden_size=96", "train.batch_size=128"])
    shape = build_task(recipe).sizes()
    assert shape is not None
    expected = estimate(recipe, shape, 128).peak
    measured = measured_peak(recipe, shape, 128)
    if measured is None:
        pytest.skip("this system does not tell the peak since a moment")
    assert expected > 20 * 2**20
    assert measured == pytest.approx(expected, rel=TOLERANCE, abs=0)


# The command.


def test_json_is_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("summary", "pmnist", "model.hidden_size=4", "train.batch_size=2", "--data-dir", "none", "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    content = json.loads(result.stdout)
    assert (content["length"], content["input_size"], content["output_size"], content["batch_size"]) == (784, 1, 10, 2)
    assert content["memory"]["peak"] > content["memory"]["activations"] > 0
    assert "measured" not in content["memory"]
    # MNIST is neither looked for nor downloaded.
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("columns", [80, 140])
def test_tables_fit_the_terminal(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    result = summary(recipe_of("model.cell=adam", "model.num_layers=2"))
    result["memory"]["measured"] = None
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_summary(result)
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= columns
    for wanted in ("layer.weight_ih_l1", "24x6", "second_moment", "matrix products", "not on this system"):
        assert wanted in text


def test_mistakes_in_the_recipe() -> None:
    result = run("summary", "digits", "model.hiden_size=3", "--json")
    assert result.exit_code == 2
    assert "hidden_size" in json.loads(result.stdout)["error"]["message"]
    assert run("summary", "digist", "--json").exit_code == 2
