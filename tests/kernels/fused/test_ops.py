"""The boundary of the C++ library: every tensor is checked by name before its pointer is passed on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_inputs import random
from torch import Tensor

from momentum_cli.kernels.fused import library, ops

pytestmark = pytest.mark.skipif(library.load()[0] is None, reason=library.load()[2] or "built")

STEPS, BATCH, SIZE, HIDDEN, GATES = 9, 6, 5, 7, 28
CONSTANTS, PLAN = [0.6, 0.9, 0.3, 1e-3], [0, 1, 0, 1, 4]  # an LSTM with Adam's moments, portable, one part
INPUTS = {
    "x": (STEPS, BATCH, SIZE),
    "w_ih": (GATES, SIZE),
    "w_hh": (GATES, HIDDEN),
    "b_ih": (GATES,),
    "b_hh": (GATES,),
    "h0": (BATCH, HIDDEN),
    "c0": (BATCH, HIDDEN),
    "v0": (BATCH, GATES),
    "m0": (BATCH, GATES),
}
KEPT = ("out", "saved", "checkpoints")
INCOMING = ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")


def forward_arguments(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    arguments = {name: random(*shape, seed=i).abs().to(dtype) for i, (name, shape) in enumerate(INPUTS.items())}
    return arguments | {"lengths": torch.tensor([9, 9, 6, 4, 2, 1])}


def forward(arguments: dict[str, Tensor]) -> tuple[Tensor, ...]:
    results: tuple[Tensor, ...] = ops.fused_forward(*arguments.values(), CONSTANTS, PLAN, True)
    return results


def backward_arguments() -> dict[str, Tensor]:
    arguments = forward_arguments()
    out, hn, cn, vn, mn, saved, checkpoints = forward(arguments)
    arguments |= dict(zip(KEPT, (out, saved, checkpoints), strict=True))
    return arguments | {name: torch.ones_like(t) for name, t in zip(INCOMING, (out, hn, cn, vn, mn), strict=True)}


def backward(arguments: dict[str, Tensor]) -> tuple[Tensor, ...]:
    results: tuple[Tensor, ...] = ops.fused_backward(*arguments.values(), CONSTANTS, PLAN, True)
    return results


CALLS: list[tuple[Any, Any, str]] = [(forward_arguments, forward, name) for name in (*INPUTS, "lengths")]
CALLS += [(backward_arguments, backward, name) for name in (*INPUTS, "lengths", *KEPT, *INCOMING)]


@pytest.mark.parametrize(("make", "call", "name"), CALLS)
def test_each_tensor_is_checked_by_name(make: Any, call: Any, name: str) -> None:
    arguments = make()
    call(arguments)
    tensor = arguments[name]
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int32):
        if name == "x" and dtype == torch.bfloat16 and call is forward:
            continue  # the one dtype in which x may differ from the others
        # Another dtype of x makes that of all others wrong.
        expected = "must be" if name == "x" else f"{name}.* must be torch"
        with pytest.raises(ValueError, match=expected):
            call({**arguments, name: tensor.to(dtype)})
    if name == "x":  # it gives the sizes: all others disagree
        with pytest.raises(ValueError, match="must have the shape"):
            call({**arguments, name: tensor[:, 1:]})
        return
    wrong = [torch.cat([tensor, tensor[:1]]), tensor.unsqueeze(0)]
    if name != "w_hh":  # too short a w_hh is another number of gates, which the others then contradict
        wrong.append(tensor[:-1])
    for other in wrong:
        with pytest.raises((ValueError, IndexError), match=r"must have the shape|Dimension|dimension"):
            call({**arguments, name: other})


@pytest.mark.parametrize("lengths", [[10, 9, 6, 4, 2, 1], [9, 9, 6, 4, 2, 0], [9, 9, 6, 4, 2, -1], [2**40] * 6])
def test_lengths_beyond_the_steps_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"`lengths` must be in \[1, 9\]"):
        forward(forward_arguments() | {"lengths": torch.tensor(lengths)})


@pytest.mark.parametrize("name", INPUTS)
def test_any_layout_of_memory_gives_the_same(name: str) -> None:
    arguments = forward_arguments()
    expected = forward(arguments)[:5]
    tensor = arguments[name]
    strided = torch.stack([tensor, tensor + 1], -1)[..., 0]
    negated: Tensor = torch._neg_view(-tensor)
    assert negated.is_neg()
    for same in (strided, negated):
        for actual, wanted in zip(forward({**arguments, name: same})[:5], expected, strict=True):
            assert torch.equal(actual, wanted)


def test_numbers_that_the_library_refuses_are_an_error() -> None:
    arguments = forward_arguments()
    for plan in ([0, 1, 0, 0, 4], [0, 1, 0, 1, 0], [9, 1, 0, 1, 4], [0, 3, 0, 1, 4], [0, 1, 9, 1, 4], [0, 1, 0, 7, 4]):
        with pytest.raises(RuntimeError, match="bad argument"):
            ops.fused_forward(*arguments.values(), CONSTANTS, plan, False)
