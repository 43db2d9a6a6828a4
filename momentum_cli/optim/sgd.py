"""torch's SGD, with a momentum that may follow the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from momentum_cli.messages import refuse
from momentum_cli.optim.optimizer import Params, require


class SGD(torch.optim.SGD):
    """`torch.optim.SGD`, with ``momentum="scaled"`` for 1 - β = C lr^(2/3).

    The momentum follows the learning rate of the step, so a schedule of the rate is also one of the momentum: as the
        rate falls
    to 0, β rises to 1. β is kept between 0 and 1 - 1e-6.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate, >= 0; a number when the momentum is scaled.
        momentum: β >= 0, or "scaled".
        dampening: As in torch.
        weight_decay: λ >= 0, coupled.
        nesterov: As in torch.
        momentum_scale: C > 0 of the scaled momentum; by default 0.464, which gives β = 0.9 at lr = 0.1.
        maximize: Ascend.
        foreach: As in torch.
        differentiable: As in torch.
        fused: As in torch.

    Raises:
        ValueError: An option is outside its range.

    Reference: Cowsik, Can, Glorioso, "Flatter, faster: scaling momentum for optimal speedup of SGD", arXiv 2210.16400.
    C depends on the problem; the paper fits it by a search at one rate.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float | Literal["scaled"] = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        momentum_scale: float = 0.464,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(momentum, str):
            require("momentum", momentum, momentum == "scaled", "a number >= 0 or 'scaled'")
            require("lr", lr, not isinstance(lr, Tensor), "a number where the momentum is scaled")
        require("momentum_scale", momentum_scale, momentum_scale > 0, "> 0")
        # torch gets a number; another option marks the groups whose momentum is scaled.
        first = scaled_momentum(float(lr), momentum_scale) if isinstance(momentum, str) else momentum
        super().__init__(
            params,
            lr,
            first,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        for group in (*self.param_groups, self.defaults):
            group.setdefault("momentum_scale", momentum_scale if momentum == "scaled" else None)
            group.setdefault("last_momentum", first)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make one step, see `torch.optim.SGD.step`; scaled momenta follow the rates of their groups first.

        Raises:
            ValueError: Something else has set a scaled momentum.
        """
        for group in self.param_groups:
            if group["momentum_scale"] is not None:
                # A checkpoint of an earlier version has no last momentum.
                if group["momentum"] != group.get("last_momentum", group["momentum"]):
                    must = "be left alone, because momentum='scaled' takes it from the learning rate"
                    remedy = "give the schedule cycle_momentum=False, or the optimizer a number as momentum"
                    raise ValueError(refuse("momentum", group["momentum"], must, remedy))
                group["momentum"] = scaled_momentum(float(group["lr"]), group["momentum_scale"])
                group["last_momentum"] = group["momentum"]
        return super().step(closure)


def scaled_momentum(lr: float, scale: float) -> float:
    """Return β = 1 - C lr^(2/3), between 0 and 1 - 1e-6.

    Args:
        lr: Learning rate, >= 0.
        scale: C, > 0.
    """
    return min(max(1 - float(scale * lr ** (2 / 3)), 0.0), 1 - 1e-6)
