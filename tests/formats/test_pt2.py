"""torch.export programs: sizes stay free, states are named, AOTInductor packages run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.formats import vetting
from momentum_cli.formats.export import export, open_program


@pytest.mark.parametrize(
    ("options", "stateful"),
    [
        (["model.cell=momentum"], False),
        (["model.cell=sr-gru", "model.num_layers=2"], True),
        pytest.param(["model.cell=adam", "model.num_layers=2"], True, marks=pytest.mark.slow),
        pytest.param(["model.cell=momentum", "model.bidirectional=true"], False, marks=pytest.mark.slow),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_program_is_free_in_batch_and_time(options: list[str], stateful: bool, tmp_path: Path) -> None:
    run = write_checkpoint(tmp_path / "run.safetensors", "model.hidden_size=5", *options)
    out = tmp_path / "model.pt2"
    export(run, format="pt2", stateful=stateful, out=out, check_accuracy=False)
    program: Any = open_program(out)
    for batch, steps in ((1, 1), (6, 1), (1, 64), (7, 100)):
        outputs, state = program.run(torch.rand(batch, steps, 8))
        assert outputs.shape == (batch, 10)
        assert set(state) == set(program.bundle.state_names)
    if stateful:
        result = program.call(
            torch.rand(2, 3, 8), **{f"state_in_{n}": s for n, s in program.bundle.zero_state(2).items()}
        )
        names = {
            "sr-gru": ("h", "velocity_l0", "velocity_l1", "k"),  # a linear dynamics filters the input of each layer
            "adam": ("h", "c", "velocity", "second_moment"),  # the others have moments in gate space
        }[options[0].removeprefix("model.cell=")]
        assert set(result) == {"outputs", *(f"state_out_{name}" for name in names)}


@pytest.mark.slow
def test_compiled_package_passes_the_same_parity(tmp_path: Path) -> None:
    run = write_checkpoint(tmp_path / "run.safetensors", "model.hidden_size=5")
    out = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = export(run, format="pt2", aoti=True, stateful=True, out=out, check_accuracy=False)
        assert result["aoti"]
        program = open_program(out, trust_native_code=True)
    assert program.run(torch.rand(4, 9, 8))[0].shape == (4, 10)


def test_expressions_of_sizes_are_known() -> None:
    allowed = ("Symbol('s85', positive=True, integer=True)", "Mul(Integer(3), Symbol('s1', integer=True))", "s7 + 4*s2")
    refused = ("__import__('os')", "Symbol('x')", "Symbol('s1').subs", "exec(1)", "s1.x", "lambda: 0", "Mul('a')")
    assert all(vetting._EXPRESSION.fullmatch(text) for text in allowed)
    assert not any(vetting._EXPRESSION.fullmatch(text) for text in refused)
