"""One layer with all its numbers, run on any backend with all gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.kernels.backend import Weights
from momentum_cli.recurrence import RECURRENCES


@dataclass
class Case:
    """Float64 numbers of one layer; ``run`` returns outputs, last states and gradients for one random cotangent."""

    recurrence: str
    dynamics: Dynamics
    shape: tuple[int, int, int, int]
    bias: bool = True
    started: bool = True
    ragged: bool = False
    scale: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        steps, batch, inputs, hidden = self.shape
        recurrence = RECURRENCES[self.recurrence]
        gates = recurrence.gates * hidden

        def draw(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64) * self.scale

        self.x = draw(steps, batch, inputs)
        biases = (draw(gates), draw(gates)) if self.bias else (None, None)
        self.weights = (draw(gates, inputs), draw(gates, hidden) / hidden**0.5, *biases)
        self.state = [draw(batch, hidden) * self.started for _ in recurrence.state_names]
        self.drive: list[Tensor] | None = None
        if self.started and isinstance(self.dynamics, Adam):
            self.drive = [draw(batch, gates), draw(batch, gates).square()]
        elif self.started and isinstance(self.dynamics, RMSProp):
            self.drive = [draw(batch, gates).square()]
        elif self.started and isinstance(self.dynamics, HeavyBall):
            self.drive = [draw(batch, inputs + self.bias)]
        self.lengths = torch.randint(1, steps + 1, (batch,), generator=generator) if self.ragged else None
        self.generator = generator.get_state()

    def run(
        self, backend: Any, dtype: torch.dtype, device: str = "cpu", input_dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        """Run in ``dtype``, the input in ``input_dtype`` if that is another."""

        def leaf(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(device, dtype).clone().requires_grad_()

        x, weights = leaf(self.x), [leaf(t) for t in self.weights]
        if input_dtype is not None:
            x = self.x.to(device, input_dtype).requires_grad_()
        state = [leaf(t) for t in self.state]
        drive = None if self.drive is None else tuple(leaf(t) for t in self.drive)
        recurrence = RECURRENCES[self.recurrence]
        output, last, moved = backend.run(
            recurrence, self.dynamics, x, Weights(*weights), tuple(state), drive, self.lengths
        )
        results = [output, *last, *(t for t in moved if t.is_floating_point())]
        generator = torch.Generator()
        generator.set_state(self.generator)

        def weighted(result: Tensor) -> Tensor:
            cotangent = torch.randn(result.shape, generator=generator, dtype=torch.float64)
            return (result.double() * cotangent.to(device)).sum()

        loss = sum(weighted(result) for result in results)
        leaves = [t for t in (x, *weights, *state, *(drive or ())) if t is not None]
        return [t.detach().double().cpu() for t in (*results, *torch.autograd.grad(loss, leaves))]


def error(expected: list[Tensor], got: list[Tensor]) -> float:
    """Largest error, each tensor relative to its own largest value."""
    assert [t.shape for t in expected] == [t.shape for t in got]
    return max(float((e - g).abs().max() / e.abs().max().clamp(min=1e-300)) for e, g in zip(expected, got, strict=True))
