"""The exponential for a card: exact as torch's over all norms, with its gradient, and without a read."""

from __future__ import annotations

import pytest
import torch
from host_reads import reads
from skew_matrices import exponential
from torch import Tensor

from momentum_cli.layers.exponential import LARGEST_NORM, RADIUS, masked_exponential

NORMS = [0.0, 1e-6, 1e-3, 0.99 * RADIUS, 1.01 * RADIUS, 5.0, 17.0, 100.0, 1000.0, 0.999 * LARGEST_NORM]


def skew_of(norm: float, size: int = 12) -> Tensor:
    """Draw a skew-symmetric matrix with this largest column sum."""
    a = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    a = a - a.T
    return a * (norm / float(a.abs().sum(0).amax()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_value_and_orthogonality(norm: float, dtype: torch.dtype) -> None:
    """Each squaring doubles the relative error, so the bound grows with the norm."""
    a = skew_of(norm).to(dtype)
    found = masked_exponential(a)
    bound = 20 * torch.finfo(dtype).eps * (1 + norm)
    assert found.dtype == dtype
    assert float((found.double() - exponential(a)).abs().max()) < bound
    assert float((found.mT.double() @ found.double() - torch.eye(len(a))).abs().max()) < bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_is_the_adjoint_of_the_derivative(norm: float, dtype: torch.dtype) -> None:
    """Against the exponential of [[A, E], [0, A]], whose upper right block is the derivative at A along E."""
    a = skew_of(norm).to(dtype).requires_grad_()
    cotangent = torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad((masked_exponential(a) * cotangent.to(dtype)).sum(), a)
    exact = a.detach().double()
    zero = torch.zeros_like(exact)
    double = torch.cat((torch.cat((exact.T, cotangent), 1), torch.cat((zero, exact.T), 1)))
    expected = torch.matrix_exp(double)[:12, 12:]
    assert float((found.double() - expected).norm() / expected.norm()) < 20 * torch.finfo(dtype).eps * (1 + norm)


def test_derivatives_by_finite_differences() -> None:
    for norm in (0.0, 0.5, 3.0):
        a = skew_of(norm, 3).requires_grad_()
        assert torch.autograd.gradcheck(masked_exponential, (a,))
        assert torch.autograd.gradgradcheck(masked_exponential, (a,))


@pytest.mark.parametrize("norm", [1.001 * LARGEST_NORM, 1e30, float("inf"), float("nan")])
def test_beyond_its_range_nothing_is_a_number(norm: float) -> None:
    a = torch.tensor([[0.0, norm], [-norm, 0.0]])
    assert masked_exponential(a).isnan().all()


def test_no_number_is_read_forward_or_backward() -> None:
    a = skew_of(5.0).requires_grad_()
    assert reads(lambda: masked_exponential(a).sum().backward()) == []
    assert reads(lambda: torch.matrix_exp(a).sum().backward()) != []
