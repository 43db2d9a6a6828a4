"""Functions of tensors written as ONNX nodes and run by ONNX Runtime, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
import torch
from onnx import helper
from torch import Tensor

from momentum_cli.errors import RecipeError
from momentum_cli.formats.onnx.function import TYPES, write_function
from momentum_cli.formats.onnx.graph import OPSET
from momentum_cli.formats.onnx.writer import Writer


def run(function: Callable[..., list[Tensor]], examples: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Write a function with some examples and run it on other inputs."""
    w = Writer()
    names = [f"x{i}" for i in range(len(examples))]
    written = write_function(w, "the function", function, names, examples)
    results = [w.op("Identity", [name]) for name in written]
    given = [helper.make_tensor_value_info(n, TYPES[e.dtype], None) for n, e in zip(names, examples, strict=True)]
    kinds = [TYPES[result.dtype] for result in function(*examples)]
    taken = [helper.make_tensor_value_info(n, kind, None) for n, kind in zip(results, kinds, strict=True)]
    graph = helper.make_graph(w.nodes, "function", given, taken, w.initializers)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return [torch.from_numpy(array) for array in session.run(None, feed)]


DECAYS: list[Callable[[Tensor], Tensor]] = [
    lambda k: (k - 1) / (k + 2),
    lambda k: (k - 1) % 7 / (k % 7 + 3),
    lambda k: (3 - k) % -5 / 6 + (k - 20) % 7.5 / 8,  # the sign of a remainder is that of the divisor
    lambda k: torch.exp(-k / 30.0) * torch.cos(0.1 * k) ** 2,
    lambda k: 1 - 1 / (1 + k).sqrt(),
    lambda k: torch.where((k > 5) & (k != 9), 0.5, 1 / (1 + k)),
    lambda k: torch.clamp(0.02 * k, 0.1, 0.7).minimum(torch.tensor(0.5, dtype=torch.float64)),
    lambda k: k // 4 % 2 * 0.25 + torch.sigmoid(k - 12) / 2,
    lambda k: torch.full_like(k, 0.3) + torch.log1p(k) / 100 + torch.tanh(k).pow(3) / 4,
    lambda k: 0.9**k + torch.relu(k - 10).sign() / 20,
]


@pytest.mark.parametrize("decay", DECAYS)
def test_decays_in_float64_at_any_size(decay: Callable[[Tensor], Tensor]) -> None:
    k = torch.arange(1.0, 97.0, dtype=torch.float64).view(4, 3, 8)
    (found,) = run(lambda k: [decay(k)], [torch.ones(2, 3, dtype=torch.float64)], [k])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, decay(k), rtol=1e-14, atol=1e-15)


WEIGHT = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def parts(x: Tensor, h: Tensor) -> list[Tensor]:
    a, b = (x + torch.nn.functional.linear(h, WEIGHT)).chunk(2, 1)
    gate = torch.nn.functional.silu(a) * torch.nn.functional.hardtanh(b) - torch.nn.functional.softplus(a)
    return [torch.lerp(h, torch.cat((gate[:, 1:], gate[:, :1]), 1), b.sigmoid()), x.abs().neg()]


def test_steps_at_any_batch_size() -> None:
    x, h = torch.randn(5, 6), torch.randn(5, 3)
    found = run(parts, [torch.zeros(3, 6), torch.zeros(3, 3)], [x, h])
    for one, expected in zip(found, parts(x, h), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-6)


def test_step_numbers_stay_whole() -> None:
    def count(k: Tensor) -> list[Tensor]:
        return [k + 1, (k.double() / 2).float(), (k - 3) % 5]

    found = run(count, [torch.zeros(3, dtype=torch.int64)], [torch.tensor([1, 2**40])])
    assert found[0].tolist() == [2, 2**40 + 1]
    assert found[2].tolist() == [3, (2**40 - 3) % 5]
    assert found[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: [x.cumsum(0)],
            r"the function uses aten.cumsum.default, which has no ONNX form here; export it as pt2",
        ),
        (lambda x: [x.view(len(x) * 2)], "the function uses aten.view.default"),  # right at one batch size only
        (lambda x: [x if x.sum() > 0 else -x], "the function cannot be traced"),
    ],
)
def test_what_cannot_be_written_is_named(function: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run(function, [torch.ones(3, 2)], [torch.ones(5, 2)])
