"""Any call of any layer on any backend is what the reference loop in float64 computes, or is refused alike by all.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

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
from momentum_cli.layers.recurrent import RecurrentLayer

# The same examples in every run; the slow form looks at others each time.
FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=2000, derandomize=False, print_blob=True)

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
SERVED = ("auto", "native", "fused")
# Relative to the largest value of each tensor; bfloat16 has 8 bits.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.2}
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

    def run(
        self, dtype: torch.dtype, backend: str, *, gradients: bool = True, shaken: float = 0.0
    ) -> list[Tensor] | str:
        """Return outputs, states and, if asked for, all gradients; or the refusal.

        `shaken` is the largest relative change, drawn at random, of the input and of each parameter.
        """
        layer, x = self.layer(dtype, backend), self.input(dtype)
        if shaken:
            for number, parameter in enumerate(layer.parameters()):
                change = random(*parameter.shape, seed=self.seed + 40 + number).clamp(-1, 1).to(dtype)
                parameter.data *= 1 + shaken * change
            x = x * (1 + shaken * random(*x.shape, seed=self.seed + 39).clamp(-1, 1).to(dtype))
        with torch.set_grad_enabled(gradients):
            return self._run(layer, x.requires_grad_(gradients), gradients)

    def _run(self, layer: RecurrentLayer, x: Tensor, gradients: bool) -> list[Tensor] | str:
        dtype = x.dtype
        zeros = layer.zero_tensors(self.sizes[1])
        state = None
        if self.started:
            drawn = (self.values(*z.shape, seed=2 + i).abs().to(dtype) for i, z in enumerate(zeros))
            state = tuple(
                d.requires_grad_(gradients) if z.is_floating_point() else z + 3
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
        if not gradients:
            return [t.double() for t in results]
        upstream = [self.values(*t.shape, seed=20 + i).to(t.dtype) for i, t in enumerate(results)]
        leaves = [x, *layer.parameters(), *(s for s in state or () if s.is_floating_point())]
        of_leaves = torch.autograd.grad(results, leaves, upstream, allow_unused=True)
        found = [
            *(t.detach() for t in results),
            *(t.new_zeros(()) if g is None else g for t, g in zip(leaves, of_leaves, strict=True)),
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


def check(call: Call) -> None:
    exact = call.run(torch.float64, "reference")
    own = call.run(call.dtype, "reference")
    # How much a rounding of h, or of the output of a layer below, may change: only bfloat16 rounds them.
    near = call.run(torch.float64, "reference", shaken=2.0**-8) if call.dtype == torch.bfloat16 else exact
    for backend in SERVED:
        layer = call.layer(call.dtype, backend)
        work = layer.work(torch.device("cpu"), torch.float32 if call.dtype == torch.bfloat16 else call.dtype)
        if backend != "auto" and BACKENDS[backend].supports(work) is not None:
            continue
        got = call.run(call.dtype, backend)
        inferred = call.run(call.dtype, backend, gradients=False)
        if isinstance(exact, str) or isinstance(own, str) or isinstance(near, str):
            assert got == inferred == exact
            continue
        assert not isinstance(got, str), got
        assert not isinstance(inferred, str), inferred
        allowed = [
            max(TOLERANCES[call.dtype], SLACK * by_loop, 10 * by_rounding)
            for by_loop, by_rounding in zip(errors(own, exact), errors(near, exact), strict=True)
        ]
        for found in (got, inferred):
            of_found = errors(found, exact[: len(found)])
            for number, (error, most) in enumerate(zip(of_found, allowed, strict=False)):
                assert error <= most, (backend, number, error, most)


NO_SEQUENCE = Call("lstm", "identity", (10, 0, 1, 1), 1, False, torch.float32, "contiguous", False, [], 0)  # found


# The gradient through u / sqrt(m) is steep where u is small, and bfloat16 rounds what the second layer reads.
STEEP = Call("lstm", "rmsprop", (10, 1, 20, 2), 2, True, torch.bfloat16, "contiguous", False, None, 4)  # found


@FEW
@example(NO_SEQUENCE)
@example(STEEP)
@given(calls())
def test_every_backend_computes_what_the_reference_does(call: Call) -> None:
    check(call)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@MANY
@given(calls())
def test_every_backend_computes_what_the_reference_does_on_many(call: Call) -> None:
    check(call)
