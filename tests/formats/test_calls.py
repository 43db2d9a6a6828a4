"""Programs called with other states, shapes and tokens than theirs: the same refusal in every format, never a guess.

The files themselves, without this package, refuse what torch's kernels would crash on or take for something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from untrained import write_checkpoint

from momentum_cli.formats.export import FORMATS, export, open_program
from momentum_cli.formats.program import Program

State = dict[str, Tensor]
FAST = ("torchscript", "onnx", "safetensors")


def programs(folder: Path, formats: list[str], *overrides: str, recipe: str = "digits") -> dict[str, Program]:
    source = write_checkpoint(folder / "checkpoint.safetensors", *overrides, recipe=recipe)
    for name in formats:
        export(source, format=name, stateful=True, out=folder / name, check_accuracy=False)
    return {name: open_program(folder / name) for name in formats}


@pytest.fixture(scope="module")
def momentum(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    return programs(tmp_path_factory.mktemp("momentum"), list(FAST), "model.hidden_size=4")


@pytest.fixture(scope="module")
def adam(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    folder = tmp_path_factory.mktemp("adam")
    return programs(folder, ["torchscript", "onnx"], "model.cell=adam", "model.hidden_size=4")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    folder = tmp_path_factory.mktemp("language")
    (folder / "text.txt").write_text("a line of words\n" * 40)
    options = ("model.hidden_size=4", "model.num_layers=1", f"task.path={folder / 'text.txt'}")
    return programs(folder, list(FAST), *options, recipe="shakespeare")


def wrong_calls(program: Program) -> Iterator[tuple[str, Tensor, State | None]]:
    """Yield what a message must name, inputs and a state of a model of 8 channels."""
    zeros, x = program.bundle.zero_state, torch.rand(2, 3, 8)
    right = zeros(2)
    for name, tensor in right.items():
        for batch in (1, 3):
            yield name, x, {**right, name: zeros(batch)[name]}
        yield name, x, {**right, name: tensor[..., :1]}
        yield name, x, {**right, name: torch.cat([tensor, tensor])}
        yield name, x, {**right, name: tensor.double()}
        yield name, x, {**right, name: torch.full_like(tensor, torch.nan)}
        yield name, x, {other: value for other, value in right.items() if other != name}
    yield "h", x, zeros(1)
    yield "h", x[:1], zeros(2)
    yield "h", torch.rand(5, 3, 8), zeros(1)
    yield "more", x, {**right, "more": torch.zeros(1)}
    for shape in ((2, 3, 7), (2, 3, 9), (2, 0, 8), (0, 3, 8), (2, 8), (2, 3, 8, 1)):
        yield "inputs", torch.rand(shape), None
    for other in (x.double(), x.long(), x.half()):
        yield "inputs", other, None
    for value in (torch.nan, torch.inf, -torch.inf):
        yield "inputs", x.index_fill(2, torch.tensor([3]), value), None


def check_wrong_calls(program: Program) -> None:
    outputs, after = program.run(torch.rand(2, 3, 8).requires_grad_(), program.bundle.zero_state(2))
    assert outputs.shape == (2, 10)
    assert set(after) == {"h", "c", "velocity_l0"}
    for what, x, state in wrong_calls(program):
        with pytest.raises(ValueError, match=rf"\b{what}\b"):
            program.run(x, state)


@pytest.mark.parametrize("name", FAST)
def test_a_wrong_call_is_refused_by_name(momentum: dict[str, Program], name: str) -> None:
    check_wrong_calls(momentum[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FORMATS) - set(FAST)))
def test_a_wrong_call_is_refused_by_name_in_slow_formats(tmp_path: Path, name: str) -> None:
    check_wrong_calls(programs(tmp_path, [name], "model.hidden_size=4")[name])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("token", [-1, -7, 10_000])
def test_a_token_that_does_not_exist_is_refused(language: dict[str, Program], name: str, token: int) -> None:
    program = language[name]
    tokens = torch.tensor([[1, 2, token]])
    with pytest.raises(ValueError, match=rf"tokens` must be from 0 to \d+, got {token}"):
        program.run(tokens)


def bare(program: Any) -> Any:
    """Return a program of TorchScript or ONNX as one without this package calls it."""
    if hasattr(program, "module"):
        return program.module
    inputs = [entry.name for entry in program.session.get_inputs()]
    return lambda x, state: program.session.run(
        None, {name: value.numpy() for name, value in zip(inputs, (x, *state.values()), strict=True)}
    )


@pytest.mark.parametrize("cell", ["adam", "momentum"])
def test_the_files_themselves_refuse_another_batch(request: pytest.FixtureRequest, cell: str) -> None:
    """Batch 1 is broadcast, or read past its end: the process crashed."""
    for name in ("torchscript", "onnx"):
        program = request.getfixturevalue(cell)[name]
        call, zeros = bare(program), program.bundle.zero_state
        assert call(torch.rand(2, 3, 8), zeros(2))[0].shape == (2, 10)
        for batch, other in ((1, 2), (2, 1), (5, 1)):
            with pytest.raises(Exception, match=r"(?i)shape|dimension|initial") as caught:
                call(torch.rand(batch, 3, 8), zeros(other))
            if name == "torchscript":
                assert f"state 'h' must have the shape [1, {batch}, 4], got [1, {other}, 4]" in str(caught.value)


def test_a_torchscript_file_refuses_other_tensors(adam: dict[str, Program]) -> None:
    program: Any = adam["torchscript"]
    right, x = program.bundle.zero_state(2), torch.rand(2, 3, 8)
    for name, tensor in right.items():
        for wrong in (tensor[..., :1], torch.cat([tensor, tensor]), tensor.long()):
            with pytest.raises(torch.jit.Error, match=f"state '{name}' must have"):
                program.module(x, {**right, name: wrong})
    with pytest.raises(torch.jit.Error, match="state 'more' is unknown"):
        program.module(x, {**right, "more": x})
    with pytest.raises(torch.jit.Error, match="8 channels"):
        program.module(x.unsqueeze(3), right)


def test_an_onnx_file_refuses_tokens_below_zero(language: dict[str, Program]) -> None:
    """ONNX counts a negative index from the end."""
    program: Any = language["onnx"]
    call, state = bare(program), program.bundle.zero_state(1)
    assert call(torch.tensor([[1, 2]]), state)[0].shape[:2] == (1, 2)
    for token in (-1, -2, 10_000):
        with pytest.raises(Exception, match="out of data bounds"):
            call(torch.tensor([[1, token]]), state)
