"""The kernel's memory: reused when free, never while it is still read."""

from __future__ import annotations

import gc

import pytest
import torch

from momentum_cli import LSTM
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.fused.workspace import Workspace

LARGE = 1 << 19  # float32: 2 MiB, above the size that is worth keeping


def test_memory_is_handed_out_again_once_nothing_refers_to_it() -> None:
    workspace = Workspace()
    first = workspace.empty(LARGE, torch.float32)
    address = first.data_ptr()
    assert workspace.held_bytes() == 0
    del first
    gc.collect()
    assert workspace.held_bytes() == LARGE * 4
    assert workspace.empty(LARGE, torch.float32).data_ptr() == address


def test_a_view_keeps_the_memory() -> None:
    workspace = Workspace()
    first = workspace.empty(LARGE, torch.float32)
    view = first.view(2, -1)[1].zero_()
    del first
    gc.collect()
    other = workspace.empty(LARGE, torch.float32).fill_(1.0)
    assert workspace.held_bytes() == 0
    assert float(view.abs().max()) == 0.0
    assert float(other.min()) == 1.0


def test_another_size_or_type_lets_the_free_blocks_go() -> None:
    workspace = Workspace()
    for size, dtype in ((LARGE, torch.float32), (2 * LARGE, torch.float32), (2 * LARGE, torch.float64)):
        block = workspace.empty(size, dtype)
        assert (block.numel(), block.dtype) == (size, dtype)
        assert workspace.held_bytes() == 0
        del block
        gc.collect()
        assert workspace.held_bytes() == size * dtype.itemsize


def test_two_blocks_in_use_at_once_are_two() -> None:
    workspace = Workspace()
    blocks = [workspace.empty(LARGE, torch.float32) for _ in range(2)]
    assert blocks[0].data_ptr() != blocks[1].data_ptr()
    del blocks
    gc.collect()
    assert workspace.held_bytes() == 2 * LARGE * 4


def test_small_requests_are_not_kept() -> None:
    workspace = Workspace()
    block = workspace.empty(10, torch.float32)
    del block
    gc.collect()
    assert workspace.held_bytes() == 0


@pytest.mark.skipif(fused.status()["library"] is None, reason="the kernel library was not built")
def test_two_graphs_alive_at_once_do_not_share_their_activations() -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 32, backend="fused")
    inputs = [torch.randn(128, 16, 3) for _ in range(2)]

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(layer(x)[0].square().sum(), layer.weight_hh_l0)[0]

    alone = [gradient(x) for x in inputs]
    graphs = [layer(x)[0].square().sum() for x in inputs]  # the second one must not write over the first
    together = [torch.autograd.grad(graph, layer.weight_hh_l0)[0] for graph in graphs]
    for expected, got in zip(alone, together, strict=True):
        assert torch.equal(expected, got)
