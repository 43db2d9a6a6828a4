"""The loss over a large vocabulary: in chunks it is the one of torch, with its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from momentum_cli.data import NOT_SCORED
from momentum_cli.models import cross_entropy as module
from momentum_cli.models.cross_entropy import linear_cross_entropy

ROWS, WIDTH, TOKENS = 11, 3, 7


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows at a time: 4, 4 and 3."""
    monkeypatch.setattr(module, "AT_ONCE", ROWS * TOKENS - 1)
    monkeypatch.setattr(module, "_CHUNK", 4 * TOKENS + 3)


def problem(dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, WIDTH), (TOKENS, WIDTH), (TOKENS,))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    targets = torch.randint(TOKENS, (ROWS,), generator=generator)
    targets[[2, 9]] = NOT_SCORED
    return [tensor.requires_grad_() for tensor in tensors], targets


def torchs(tensors: list[Tensor], targets: Tensor, smoothing: float = 0.0) -> Tensor:
    return cross_entropy(linear(*tensors), targets, ignore_index=NOT_SCORED, reduction="sum", label_smoothing=smoothing)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_chunks_give_the_loss_and_the_gradients_of_torch(smoothing: float) -> None:
    tensors, targets = problem()
    loss, expected = linear_cross_entropy(*tensors, targets, smoothing), torchs(tensors, targets, smoothing)
    assert loss.grad_fn is not None
    assert loss.grad_fn.name() == "_ChunkedBackward"
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0.0)
    gradients = torch.autograd.grad(0.3 * loss, tensors)
    for own, other in zip(gradients, torch.autograd.grad(0.3 * expected, tensors), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-15)
    assert gradients[0][2].abs().sum() == 0


@pytest.mark.usefixtures("chunks")
def test_what_a_row_that_is_not_scored_holds_does_not_matter() -> None:
    tensors, targets = problem()
    with torch.no_grad():
        tensors[0][2] = math.inf
    loss = linear_cross_entropy(*tensors, targets)
    gradients = torch.autograd.grad(loss, tensors[1:])
    tensors, _ = problem()
    expected = torch.autograd.grad(torchs(tensors, targets), tensors[1:])
    torch.testing.assert_close(gradients[1], expected[1], rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("narrow", [False, True])
def test_under_autocast_it_is_as_exact_as_torch(narrow: bool) -> None:
    """`narrow`: the layers in front have returned bfloat16 already."""
    tensors, targets = problem(torch.float32)
    exact = torch.autograd.grad(torchs([tensor.double() for tensor in tensors], targets), tensors)
    errors = []
    for chunked in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = [tensors[0].bfloat16() if narrow else tensors[0], *tensors[1:]]
            loss = linear_cross_entropy(*hidden, targets) if chunked else torchs(hidden, targets)
        assert loss.dtype is torch.float32
        gradients = torch.autograd.grad(loss, tensors)
        errors.append([float((own - other).norm()) for own, other in zip(gradients, exact, strict=True)])
    assert all(own < 2 * other + 1e-6 for own, other in zip(*errors, strict=True))


@pytest.mark.usefixtures("chunks")
def test_second_derivatives_are_refused_and_without_gradients_nothing_is_kept() -> None:
    tensors, targets = problem()
    with pytest.raises(RuntimeError, match="is computed in chunks and has no second derivative"):
        torch.autograd.grad(linear_cross_entropy(*tensors, targets), tensors[:1], create_graph=True)
    with torch.no_grad():
        assert linear_cross_entropy(*tensors, targets).grad_fn is None


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_small_problems_are_torchs_own(smoothing: float) -> None:
    tensors, targets = problem()
    assert torch.equal(linear_cross_entropy(*tensors, targets, smoothing), torchs(tensors, targets, smoothing))
