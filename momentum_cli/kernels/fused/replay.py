"""Derivatives that the kernel lacks: running the loop over time again gives gradients that autograd can differentiate.

Axes: T time, B batch, H hidden, G gates * H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.protocol import Form, FormDynamics
from momentum_cli.kernels import reference
from momentum_cli.kernels.backend import Weights
from momentum_cli.kernels.driven import ADAM, LINEAR
from momentum_cli.recurrence import RECURRENCES


@dataclass(frozen=True)
class _Left(FormDynamics):
    """The part of a dynamics that is left to the kernel."""

    given: Form
    equation: ClassVar[str] = "see momentum_cli.kernels.driven"

    @property
    def form(self) -> Form:
        """See `FormDynamics.form`."""
        return self.given


def gradients_with_history(
    tensors: Sequence[Tensor | None],
    lengths: Tensor | None,
    kernel: str,
    dynamics: int,
    constants: Sequence[float],
    incoming: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of one layer in one direction, with a graph for further derivatives.

    Args:
        tensors: x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0 and m0, as given to the kernel.
        lengths: (B,), or None for T.
        kernel: Name of the recurrence in our kernels.
        dynamics: LINEAR, ADAM or RMSPROP of `momentum_cli.kernels.driven`.
        constants: Its momentum, step_size, beta2 and eps.
        incoming: Gradients of the output and of the last h, c, velocity and second moment, None for 0.

    Returns:
        One gradient for each of `tensors`, None where none is needed.
    """
    # Views, so that each gradient is that of its own tensor alone, even if one tensor was computed from another.
    own = [None if t is None else t.view_as(t) for t in tensors]
    x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0, m0 = own
    assert x is not None
    assert w_ih is not None
    assert w_hh is not None
    momentum, step_size, beta2, eps = constants
    form = Filter() if dynamics == LINEAR else Moments(momentum if dynamics == ADAM else None, step_size, beta2, eps)
    moments = [v0, m0] if dynamics == ADAM else [m0]
    before = None if dynamics == LINEAR or m0 is None else tuple(m for m in moments if m is not None)
    recurrence = next(known for known in RECURRENCES.values() if known.kernel == kernel)
    zeros = recurrence.init(x[0].to(w_hh.dtype), w_hh.shape[1])
    state = tuple(z if s is None else s for z, s in zip(zeros, (h0, c0), strict=False))
    weights = Weights(w_ih, w_hh, b_ih, b_hh)
    if x.shape[2] > w_ih.shape[1]:  # folded, see `momentum_cli.kernels.driven.Driven`
        weights = Weights(weights.extended(), w_hh, None, b_hh)
    output, last, drive = reference.run(recurrence, _Left(form), x.to(w_hh.dtype), weights, state, before, lengths)
    h_n, c_n = (*last, None)[:2]
    v_n, m_n = (None, None) if dynamics == LINEAR else drive if dynamics == ADAM else (None, drive[0])
    pairs = [(r, g) for r, g in zip((output, h_n, c_n, v_n, m_n), incoming, strict=True) if r is not None]
    known = [(r, g.to(r.dtype)) for r, g in pairs if g is not None and r.requires_grad]
    sources = [t for t in own if t is not None and t.requires_grad]
    results, gradients = zip(*known, strict=True) if known else ((), ())
    found = torch.autograd.grad(results, sources, gradients, create_graph=True, allow_unused=True) if known else []
    by_source = dict(zip(map(id, sources), found, strict=False))
    return tuple(None if t is None else by_source.get(id(t)) for t in own)
