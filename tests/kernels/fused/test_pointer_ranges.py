"""The build with the address sanitizer ends a process that reads or writes past any tensor of a call.

This tests the other tests: what they do not touch in that build they do not touch at all. `tests/sanitize_kernels.sh`
runs it; elsewhere there is nothing that would notice.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    "libasan" not in os.environ.get("LD_PRELOAD", ""), reason="not run by tests/sanitize_kernels.sh"
)

# Shortens one tensor of one call, whose shapes the library is told as before.
PROGRAM = """
import sys
import torch
from momentum_cli import LSTM, Adam, HeavyBall
from momentum_cli.kernels.fused import ops

function, shortened, dynamics = sys.argv[1:]
original = ops._call

def call(name, plan, constants, shape, given, made):
    for tensors in (given, made):
        tensor = tensors.get(shortened)
        if name == function and tensor is not None:
            print("shortened", flush=True)
            tensors[shortened] = tensor.flatten()[: tensor.numel() // 2].clone()
    original(name, plan, constants, shape, given, made)

ops._call, ops._check = call, lambda *_: None
torch.manual_seed(0)
layer = LSTM(33, 37, dynamics={"adam": Adam, "momentum": HeavyBall}[dynamics]())
layer.backend = "fused"
x = torch.randn(9, 5, 33, requires_grad=True)
state = tuple(torch.rand(z.shape).requires_grad_() for z in layer.zero_tensors(5))
output, after = layer.run_padded(x, state, torch.tensor([9, 9, 4, 2, 1]))
(output.sum() + sum(t.sum() for t in torch.utils._pytree.tree_leaves(after))).backward()
print("finished")
"""
INPUTS = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")
RESULTS = ("out", "hn", "cn", "vn", "mn", "saved", "checkpoints")
GRADIENTS = ("d_out", "d_hn", "d_cn", "d_vn", "d_mn", *(f"d{name}" for name in INPUTS[:-1]))
# The backward pass has the states of moments from the checkpoints, and adds biases nowhere.
CALLS = [
    *(("mrnn_forward", name) for name in (*INPUTS, *RESULTS)),
    *(("mrnn_backward", name) for name in (*INPUTS[:3], "c0", "lengths", "out", "saved", "checkpoints")),
    *(("mrnn_backward", name) for name in GRADIENTS),
]
# The bias of a filter is a column of the weights, which both passes pack.
FOLDED = [("mrnn_forward", "b_ih"), *(("mrnn_backward", name) for name in ("b_ih", "dw_ih", "db_ih", "dx"))]


def run(function: str, name: str, dynamics: str = "adam") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, function, name, dynamics]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.parametrize("dynamics", ["adam", "momentum"])
def test_the_whole_call_is_clean(dynamics: str) -> None:
    done = run("mrnn_forward", "none", dynamics)
    assert (done.returncode, done.stdout) == (0, "finished\n"), done.stderr


@pytest.mark.parametrize(
    ("function", "name", "dynamics"),
    [*((*call, "adam") for call in CALLS), *((*call, "momentum") for call in FOLDED)],
    ids=lambda part: part,
)
def test_a_tensor_that_is_too_short_is_noticed(function: str, name: str, dynamics: str) -> None:
    done = run(function, name, dynamics)
    assert done.stdout == "shortened\n"
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
