"""Any call of any layer on any backend is what the reference loop in float64 computes, or is refused alike by all.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from layer_inputs import DYNAMIC, flat, random
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, OrthogonalRNN
from momentum_cli.kernels import BACKENDS
from momentum_cli.kernels.fused import library
from momentum_cli.layers.recurrent import RecurrentLayer

# The same examples in every run; the slow form looks at others each time.
FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=2000, derandomize=False, print_blob=True)

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
SERVED = ("auto", "native", "fused")
# Relative to the largest value of each tensor; bfloat16 has 8 bits.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.1}
SLACK = 30.0  # times the error of the reference loop in the same dtype: Adam divides by roots that may be tiny
LAYOUTS = ("contiguous", "batch first", "strided", "expanded", "negated", "offset")


@dataclass
class Call:
    kind: str
    dynamics: str
    sizes: tuple[int, int, int, int]
    layers: int
    bidirectional: bool
    dtype: torch.dtype
    layout: str
    started: bool
    lengths: list[int] | None
    seed: int

    def layer(self, dtype: torch.dtype, backend: str) -> RecurrentLayer:
        torch.manual_seed(self.seed)
        options: dict[str, Any] = {"num_layers": self.layers, "bidirectional": self.bidirectional}
        layer: RecurrentLayer = LAYERS[self.kind](
            *self.sizes[2:],
            dynamics=DYNAMIC[self.dynamics],
            batch_first=self.layout == "batch first" and self.lengths is None,
            **options,
        )
        layer.backend = backend
        return layer.to(self.dtype).to(dtype)  # the same rounded parameters for all

    def values(self, *shape: int, seed: int) -> Tensor:
        return random(*shape, seed=self.seed + seed).to(self.dtype)

    def input(self, dtype: torch.dtype) -> Tensor:
        """Return one input in the layout, the same numbers in every dtype."""
        steps, batch, size, _ = self.sizes
        x = self.values(steps, batch, size, seed=1).to(dtype)
        if self.layout == "batch first" and self.lengths is None:
            return x.transpose(0, 1)
        if self.layout == "strided":
            return torch.stack([x, x + 1], -1)[..., 0]
        if self.layout == "expanded":
            return x[:, :, :1].expand(steps, batch, size)
        if self.layout == "negated":
            negated: Tensor = torch._neg_view(-x)
            return negated
        return torch.cat([x.new_zeros(3), x.flatten()])[3:].view(x.shape) if self.layout == "offset" else x

    def run(self, dtype: torch.dtype, backend: str, *, gradients: bool = True) -> list[Tensor] | str:
        """Return outputs, states and, if asked for, all gradients; or the refusal."""
        with torch.set_grad_enabled(gradients):
            return self._run(self.layer(dtype, backend), self.input(dtype).requires_grad_(gradients))

    def _run(self, layer: RecurrentLayer, x: Tensor) -> list[Tensor] | str:
        dtype = x.dtype
        zeros = layer.zero_tensors(self.sizes[1])
        state = None
        if self.started:
            drawn = (self.values(*z.shape, seed=2 + i).abs().to(dtype) for i, z in enumerate(zeros))
            state = tuple(
                d.requires_grad_(x.requires_grad) if z.is_floating_point() else z + 3
                for z, d in zip(zeros, drawn, strict=True)
            )
        try:
            if self.lengths is None:
                output, after = layer(x, state)
            else:
                output, after = layer.run_padded(x, state, torch.tensor(self.lengths, dtype=torch.int64))
        except ValueError as error:
            return str(error)
        results = [t for t in (output, *flat(after)) if t.is_floating_point()]
        if not x.requires_grad:
            return [t.double() for t in results]
        upstream = [self.values(*t.shape, seed=20 + i).to(t.dtype) for i, t in enumerate(results)]
        leaves = [x, *layer.parameters(), *(s for s in state or () if s.is_floating_point())]
        gradients = torch.autograd.grad(results, leaves, upstream, allow_unused=True)
        found = [
            *(t.detach() for t in results),
            *(t.new_zeros(()) if g is None else g for t, g in zip(leaves, gradients, strict=True)),
        ]
        return [t.double() for t in found]


@st.composite
def calls(draw: Any) -> Call:
    small = st.one_of(st.integers(1, 9), st.integers(0, 70))
    steps = draw(small)
    batch = draw(small if steps <= 9 else st.integers(0, 9))
    sizes = steps, batch, draw(small.map(lambda n: max(n, 1))), draw(small.map(lambda n: max(n, 1)))
    each_length = st.lists(st.integers(0, steps), min_size=batch, max_size=batch)
    return Call(
        kind=draw(st.sampled_from(list(LAYERS))),
        dynamics=draw(st.sampled_from(list(DYNAMIC))),
        sizes=sizes,
        layers=draw(st.sampled_from([1, 1, 2])),
        bidirectional=draw(st.booleans()),
        dtype=draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16])),
        layout=draw(st.sampled_from(LAYOUTS)),
        started=draw(st.booleans()),
        lengths=draw(st.none() | each_length),
        seed=draw(st.integers(0, 999)),
    )


def errors(got: list[Tensor], expected: list[Tensor]) -> list[float]:
    assert [t.shape for t in got] == [t.shape for t in expected]
    pairs = ((g, e) for g, e in zip(got, expected, strict=True) if e.numel())
    return [float((g - e).abs().max() / e.abs().max().clamp(min=1e-3)) for g, e in pairs]


class _Kept(torch.autograd.Function):
    """An activation that is exact forwards and whose derivative is computed from a value kept in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(_in_bfloat16(value))
        ctx.slope = slope
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        return _in_bfloat16(grads[0] * ctx.slope(value)), None, None


def _in_bfloat16(x: Tensor) -> Tensor:
    """Return x (…) with a relative error as of a rounding to 8 bits, another one in every call."""
    return x * (1 + 2**-8 * (2 * torch.rand_like(x) - 1))


def conditioning(call: Call) -> list[float]:
    """Return the largest change of each result of the loop in float64 when it is given numbers of 8 bits: inputs,
    parameters and states, and what the kernel keeps in bfloat16, activations and the gradients of gates."""
    sigmoid, tanh, values, layer = torch.sigmoid, torch.tanh, Call.values, Call.layer
    rounded = {
        "sigmoid": lambda x: _Kept.apply(x, sigmoid(x.detach()), lambda y: y * (1 - y)),
        "tanh": lambda x: _Kept.apply(x, tanh(x.detach()), lambda y: 1 - y * y),
    }

    def with_errors(self: Call, dtype: torch.dtype, backend: str) -> RecurrentLayer:
        made = layer(self, dtype, backend)
        torch.manual_seed(draw)  # `layer` has set the same seed for all
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.copy_(_in_bfloat16(parameter))
        return made

    exact = call.run(torch.float64, "reference")
    worst = [0.0] * len(exact)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Call, "layer", with_errors)
        patch.setattr(Call, "values", lambda self, *shape, seed: _in_bfloat16(values(self, *shape, seed=seed).double()))
        for name, function in rounded.items():
            patch.setattr(torch, name, function)
        for draw in range(6):  # noqa: B007 - read by `with_errors`
            found = call.run(torch.float64, "reference")
            assert not isinstance(found, str)
            assert not isinstance(exact, str)
            worst = [max(pair) for pair in zip(worst, errors(found, exact), strict=True)]
    return worst


def assert_backends_agree(call: Call) -> None:
    exact = call.run(torch.float64, "reference")
    own = call.run(call.dtype, "reference")
    for backend in SERVED:
        layer = call.layer(call.dtype, backend)
        work = layer.work(torch.device("cpu"), torch.float32 if call.dtype == torch.bfloat16 else call.dtype)
        if backend != "auto" and BACKENDS[backend].supports(work) is not None:
            continue
        # Without gradients a short call goes another way.
        for got in (call.run(call.dtype, backend), call.run(call.dtype, backend, gradients=False)):
            if isinstance(exact, str) or isinstance(own, str) or isinstance(got, str):
                assert got == exact
                continue
            count = len(got)
            found, by_loop = errors(got, exact[:count]), errors(own[:count], exact[:count])
            most = [max(TOLERANCES[call.dtype], SLACK * error) for error in by_loop]
            if call.dtype == torch.bfloat16 and any(map(operator.gt, found, most)):
                most = list(map(max, most, conditioning(call)))
            for number, (error, bound) in enumerate(zip(found, most, strict=False)):
                assert error <= bound, (backend, number, error, bound)


NO_SEQUENCE = Call("lstm", "identity", (10, 0, 1, 1), 1, False, torch.float32, "contiguous", False, [], 0)  # found


@FEW
@example(NO_SEQUENCE)
@given(calls())
def test_every_backend_computes_what_the_reference_does(call: Call) -> None:
    assert_backends_agree(call)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@MANY
@given(calls())
def test_every_backend_computes_what_the_reference_does_on_many(call: Call) -> None:
    assert_backends_agree(call)


# Found by the many: gradients that are ill-conditioned where numbers have 8 bits. The slope of u / sqrt(m) where u is
# small, a gate that is nearly 1, and a bias whose gradient is a small sum of large terms.
STEEP = Call("lstm", "rmsprop", (10, 1, 20, 2), 2, True, torch.bfloat16, "contiguous", False, None, 4)
SATURATED = Call("lstm", "adam", (1, 7, 44, 19), 1, True, torch.bfloat16, "contiguous", True, [0, 0, 0, 0, 1, 0, 0], 0)
CANCELLED = Call("gru", "nesterov", (34, 5, 1, 1), 1, True, torch.bfloat16, "contiguous", True, None, 132)


@pytest.mark.skipif(library.why_no_bfloat16() is not None, reason="no products in bfloat16 on this processor")
@pytest.mark.parametrize("call", [STEEP, SATURATED, CANCELLED], ids=["steep", "saturated", "cancelled"])
def test_gradients_in_bfloat16_are_as_exact_as_their_conditioning_lets_them_be(call: Call) -> None:
    exact, got = call.run(torch.float64, "reference"), call.run(call.dtype, "fused")
    assert not isinstance(exact, str)
    assert not isinstance(got, str)
    assert max(errors(got, exact)) > TOLERANCES[torch.bfloat16]
    assert_backends_agree(call)
