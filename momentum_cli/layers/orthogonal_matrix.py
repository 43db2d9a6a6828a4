"""Orthogonal matrices as ``B = base expm(A)`` with A skew-symmetric: static and dynamic trivialization.

`torch.nn.utils.parametrizations.orthogonal` has the same map, but not the method: under ``no_grad`` it computes the
exponential at every access, it neither counts optimizer steps nor projects, and changing its basis goes through
``right_inverse``, which tests and re-factorises the matrix. It also changes the class of the layer, which can then
neither be pickled nor compiled by TorchScript. The part needed is short, and is here.

Reference: Lezcano-Casado, "Trivializations for Gradient-Based Optimization on Manifolds", NeurIPS 2019, arXiv
1909.09501; Lezcano-Casado and Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", ICML 2019, arXiv
1901.08428 (expRNN); their code, github.com/Lezcano/expRNN.

Axes: N rows and columns, P = N (N - 1) / 2 entries above the diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from momentum_cli.layers.exponential import masked_exponential
from momentum_cli.messages import refuse

# Changes of the basis between two projections; the authors' value, which by their account does not affect training.
PROJECT_EVERY = 100


class Orthogonal(nn.Module):
    """An orthogonal matrix ``B = base expm(A)`` whose parameter is the part of A above the diagonal.

    Static (``basis_every=None``, expRNN): ``base = I`` throughout, and A starts at the initial skew-symmetric matrix S.
    Dynamic: ``base = expm(S)`` and A = 0 at the start; every ``basis_every`` optimizer steps ``base <- B, A <- 0``, so
    that A stays where the exponential is nearly linear and the gradient is the Riemannian one. ``"infty"`` never
    changes the basis; it differs from static only in the point where the tangent space is taken: the initial matrix,
    not the identity. B is the same at the start in all three.

    The optimizer's state for A is kept when the basis changes, as in the authors' code: tangent vectors at base and at
    B are both given by skew-symmetric matrices, and left translation carries one to the other. Where we differ from
    that code: it changes the basis between the forward and the backward pass, so that the derivative is taken at the
    old A and applied at the new one; here the basis changes after the optimizer step, and every gradient is that of the
    loss at the current parameters.

    Args:
        size: N, >= 1.
        basis_every: Optimizer steps between changes of the basis, an integer >= 1; ``"infty"`` for no change, None for
            a static trivialization.
        init: Key of `INITS`.
        project_every: Changes of the basis between two projections of the base to the nearest orthogonal matrix; not
            used on a card, see `OnCard`.
        device: Device of the parameter and the buffers.
        dtype: Dtype of the parameter and the base.

    Attributes:
        skew: (P,) parameter, the entries above the diagonal of A, row by row.
        base: (N, N) buffer.
        counters: (2,) int64 buffer: optimizer steps since the last change of the basis, and changes of the basis.

    Raises:
        ValueError: An option is outside its range.

    Reference: arXiv 1909.09501, section 5; with None arXiv 1901.08428.
    """

    base: Tensor
    counters: Tensor

    def __init__(
        self,
        size: int,
        basis_every: int | str | None = 1,
        init: str = "cayley",
        *,
        project_every: int = PROJECT_EVERY,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if basis_every is not None:
            check_basis_every(basis_every)
        if init not in INITS:
            raise ValueError(refuse("orthogonal_init", init, f"be one of {', '.join(INITS)}"))
        self.size = size
        self.basis_every = basis_every
        self.init = init
        self.project_every = project_every
        self.skew = nn.Parameter(torch.zeros(size * (size - 1) // 2, device=device, dtype=dtype))
        self.register_buffer("base", torch.eye(size, device=device, dtype=dtype))
        self.register_buffer("counters", torch.zeros(2, dtype=torch.int64, device=device))
        self._known: tuple[Tensor, Tensor, Tensor] | None = None  # copies of skew and base, and their matrix
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial matrix and set the counters to 0."""
        with torch.no_grad():
            diagonal = INITS[self.init](self.size // 2)
            start = torch.zeros(self.size, self.size)
            rows = torch.arange(0, 2 * len(diagonal), 2)
            start[rows, rows + 1] = diagonal
            above = torch.triu_indices(self.size, self.size, 1)
            self.skew.copy_(start[above[0], above[1]])
            self.base.copy_(torch.eye(self.size))
            if self.basis_every is not None:
                self.base.copy_(self.matrix())
                self.skew.zero_()
            self.counters.zero_()

    def matrix(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return B (N, N), computed in float32 or better.

        With gradients each call computes the exponential again, because one backward pass frees its graph. Without, it
        is computed once and kept until the parameters or the base change, in whatever way.

        Args:
            dtype: Dtype of the result; None for that of the parameters.
        """
        dtype = dtype or self.skew.dtype
        # Without values to compare, every call computes the exponential.
        if not self.has_values() or (torch.is_grad_enabled() and self.skew.requires_grad):
            return self._compute().to(dtype)
        # Compared by value: a version number would miss writes through `.data`.
        known = self._known
        if known is None or not (_same(known[0], self.skew) and _same(known[1], self.base)):
            # Autograd could not use a tensor made in inference mode.
            with torch.inference_mode(False), torch.no_grad():
                known = (self.skew.detach().clone(), self.base.clone(), self._compute())
            self._known = known
        return known[2].to(dtype)

    def forward(self) -> Tensor:
        """Return B (N, N), see `matrix`."""
        return self.matrix()

    def after_step(self) -> None:
        """Count an optimizer step, and change the basis when it is due. The same in every process."""
        if self.basis_every is not None and not self.skew.is_meta:
            self._arithmetic.count_step(self)

    @torch.no_grad()
    def change_basis(self) -> None:
        """Set ``base <- B, A <- 0``, which leaves B unchanged up to rounding; project the base when due."""
        # The errors of a hundred products in float32 add up to 1e-5.
        base = polish(self.matrix())
        self.counters[0] = 0
        self.counters[1] += 1
        if int(self.counters[1]) % self.project_every == 0:
            base = nearest_orthogonal(base)
        self.base.copy_(base)
        self.skew.zero_()

    def has_values(self) -> bool:
        """Return False while a graph is traced and on the device ``meta``."""
        return not torch.compiler.is_compiling() and not self.skew.is_meta

    @property
    def waits(self) -> bool:
        """True if the host reads numbers of the matrix in every step; on a card it would have to wait for them."""
        return self._arithmetic.reads

    @property
    def _arithmetic(self) -> Arithmetic:
        return ARITHMETIC.get(self.skew.device.type, ON_HOST)

    def _compute(self) -> Tensor:
        return self._arithmetic.matrix(self)

    def extra_repr(self) -> str:
        """Show size and method."""
        return f"{self.size}, basis_every={self.basis_every!r}, init={self.init!r}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the matrix, which can be computed again."""
        return self.__dict__ | {"_known": None}

    def __prepare_scriptable__(self) -> nn.Module:
        """Give `torch.jit.script` the same matrix without its cache."""
        return PlainOrthogonal(self)


class Arithmetic(Protocol):
    """The computations of an `Orthogonal` in a step.

    Attributes:
        reads: True if the host reads numbers of tensors.
    """

    reads: bool

    def matrix(self, module: Orthogonal) -> Tensor:
        """Return B (N, N), at least in float32."""

    def count_step(self, module: Orthogonal) -> None:
        """Count an optimizer step, and change the basis when it is due; not for a static trivialization."""


class OnHost:
    """Reads numbers first, and computes only what they make necessary."""

    reads = True

    def matrix(self, module: Orthogonal) -> Tensor:
        """See `Arithmetic.matrix`."""
        # A = 0 after every change of the basis. There the exponential and its derivatives are known: the second-order
        # term affects only the second derivative. torch's derivative of the exponential is an exponential of a matrix
        # of twice the size.
        if module.has_values() and not module.skew.any():
            base, skew = _at_least_float32(module.base), _at_least_float32(module.skew)
            if not (torch.is_grad_enabled() and module.skew.requires_grad):
                return base.clone()
            a = skew_symmetric(skew, module.size)
            return base + base @ (a + 0.5 * a @ a)
        return trivialize(module.skew, module.base)

    def count_step(self, module: Orthogonal) -> None:
        """See `Arithmetic.count_step`."""
        module.counters[0] += 1
        if module.basis_every != "infty" and int(module.counters[0]) >= int(module.basis_every):  # type: ignore[arg-type]
            module.change_basis()


class OnCard:
    """Computes everything, and a mask chooses what counts, so that the host need not wait.

    Each change of the basis ends with a step to the nearest orthogonal matrix in float64, which leaves nothing for a
    projection to do. A matrix that is not finite does not become the basis: A stays, and with it the next loss is not
    finite.
    """

    reads = False

    def matrix(self, module: Orthogonal) -> Tensor:
        """See `Arithmetic.matrix`."""
        a = skew_symmetric(_at_least_float32(module.skew), module.size)
        return _at_least_float32(module.base) @ polish(masked_exponential(a))

    @torch.no_grad()
    def count_step(self, module: Orthogonal) -> None:
        """See `Arithmetic.count_step`."""
        module.counters[0] += 1
        if module.basis_every == "infty":
            return
        # Also between two changes: a step that was not finite did not count, so the host cannot know which one it is.
        base = polish(self.matrix(module).double()).to(module.base.dtype)
        changes = (module.counters[0] >= int(module.basis_every)) & base.isfinite().all()  # type: ignore[arg-type]
        module.base.copy_(torch.where(changes, base, module.base))
        module.skew.masked_fill_(changes, 0.0)
        module.counters[0].masked_fill_(changes, 0)
        module.counters[1] += changes


ON_HOST = OnHost()
ARITHMETIC: dict[str, Arithmetic] = {"cuda": OnCard()}
"""The arithmetic of each type of device; `ON_HOST` elsewhere."""


class PlainOrthogonal(nn.Module):
    """`Orthogonal` for TorchScript: the same parameter and buffers, and the exponential at every call.

    Args:
        original: The module it replaces.
    """

    def __init__(self, original: Orthogonal) -> None:
        super().__init__()
        self.skew = original.skew
        self.register_buffer("base", original.base)
        self.register_buffer("counters", original.counters)

    def forward(self) -> Tensor:
        """Return B (N, N) in the dtype of the parameters, computed in float32 or better."""
        return trivialize(self.skew, self.base).to(self.skew.dtype)  # type: ignore[arg-type]


def trivialize(skew: Tensor, base: Tensor) -> Tensor:
    """Return ``base expm(A)`` (N, N), at least in float32, for the part of A above the diagonal, (P,)."""
    # expm(A) is computed by squaring expm(A / 2^k), which multiplies the error by the norm of A; and without changes of
    # the basis A grows.
    rotation = polish(torch.matrix_exp(skew_symmetric(_at_least_float32(skew), base.size(0))))
    return _at_least_float32(base) @ rotation


def polish(matrix: Tensor) -> Tensor:
    """Bring a nearly orthogonal matrix (N, N) closer to orthogonality: a Newton-Schulz step squares its error."""
    return torch.addmm(matrix, matrix, matrix.t() @ matrix, beta=1.5, alpha=-0.5)


def skew_symmetric(above: Tensor, size: int) -> Tensor:
    """Return the skew-symmetric matrix (N, N) with these entries (P,) above its diagonal, row by row."""
    index = torch.triu_indices(size, size, 1, device=above.device)
    upper = torch.zeros([size, size], dtype=above.dtype, device=above.device).index_put([index[0], index[1]], above)
    matrix: Tensor = upper - upper.t()
    return matrix


def nearest_orthogonal(matrix: Tensor) -> Tensor:
    """Return the orthogonal matrix (N, N) that is nearest in the Frobenius norm: U Vᵀ of the singular value
    decomposition, the factor of the polar decomposition."""
    u, _, vh = torch.linalg.svd(matrix.double())
    nearest: Tensor = (u @ vh).to(matrix.dtype)
    return nearest


def cayley(count: int) -> Tensor:
    """Draw the entries of A for rotations ``-sqrt((1 - cos θ) / (1 + cos θ)) = -tan(θ / 2)``, θ ~ U(0, π/2); (count,).

    Reference: Helfrich, Willmott, Ye, arXiv 1707.09520; ``cayley_init_`` of the code of expRNN.
    """
    return -torch.tan(torch.empty(count).uniform_(0.0, math.pi / 2.0) / 2.0)


def henaff(count: int) -> Tensor:
    """Draw the entries of A for rotations by angles ~ U(-π, π); (count,).

    Reference: Henaff, Szlam, LeCun, arXiv 1602.06662; ``henaff_init_`` of the code of expRNN.
    """
    return torch.empty(count).uniform_(-math.pi, math.pi)


# Blocks [[0, a], [-a, 0]] along the diagonal of A, so that expm(A) rotates N / 2 planes by the angles a.
INITS: dict[str, Callable[[int], Tensor]] = {"cayley": cayley, "henaff": henaff}


def check_basis_every(value: object) -> None:
    """Check the number of optimizer steps between changes of the basis.

    Raises:
        ValueError: It is neither an integer >= 1 nor "infty".
    """
    if value != "infty" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(refuse("basis_every", value, "be an integer >= 1 or 'infty'"))


def orthogonal_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the skew-symmetric parameters of every `Orthogonal` in a model."""
    return [module.skew for module in model.modules() if isinstance(module, Orthogonal)]


def fold(model: nn.Module) -> None:
    """Write every B of a model into its base and set A to 0, for inference without an exponential."""
    for module in model.modules():
        if isinstance(module, Orthogonal):
            module.change_basis()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in [torch.bfloat16, torch.float16] else x


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
