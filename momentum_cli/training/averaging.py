"""Averages of parameters over the last part of a training, started when the validation metric stops improving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from momentum_cli.metrics import better


class ParameterAverage:
    """The mean of a model's parameters over all steps since its start: ``mean += (parameter - mean) / n``.

    Args:
        model: The model with the parameters.
        count: n, the number of steps so far.
        mean: The mean so far by name, if `count` is above 0.

    Attributes:
        count: n, 0-d float64 on the device of the parameters, where a step that does not count is undone.
        mean: By name.

    Reference: Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992. `torch.optim.ASGD` with ``lambd=0`` steps like
    plain SGD and has this mean, except that it omits the first step.
    """

    def __init__(self, model: nn.Module, count: int = 0, mean: Mapping[str, Tensor] | None = None) -> None:
        self._parameters = dict(model.named_parameters())
        self.mean = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.count = torch.tensor(float(count), dtype=torch.float64, device=next(iter(self.mean.values())).device)
        for name, value in (mean or {}).items():
            if name in self.mean:
                self.mean[name].copy_(value)

    def update(self) -> None:
        """Add the current parameters to the mean."""
        self.count += 1
        weight = 1.0 / self.count
        for mean, parameter in zip(self.mean.values(), self._parameters.values(), strict=True):
            mean.lerp_(parameter.detach(), weight.to(mean.dtype))

    @property
    def tensors(self) -> list[Tensor]:
        """Return all tensors that `update` changes."""
        return [self.count, *self.mean.values()]


def stopped_improving(metric: str, values: Sequence[float], patience: int) -> bool:
    """Return True if the newest value is worse than the best of those more than ``patience`` evaluations ago.

    Args:
        metric: Name of the metric.
        values: Its values, oldest first.
        patience: n, >= 1.

    Reference: the non-monotonic criterion of NT-ASGD, arXiv 1708.02182, algorithm 1.
    """
    return any(better(metric, value, values[-1]) for value in values[: -patience - 1])


@contextmanager
def swapped(model: nn.Module, parameters: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Run the block with other parameters (and buffers) in a model, by name; None: with its own."""
    if parameters is None:
        yield
        return
    own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(dict(parameters), strict=False)
    try:
        yield
    finally:
        model.load_state_dict(own)
