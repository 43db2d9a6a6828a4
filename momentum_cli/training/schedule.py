"""Learning-rate schedules as functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math
from collections.abc import Callable

from momentum_cli.messages import refuse
from momentum_cli.recipe.sections import ScheduleOptions

Shape = Callable[[float, float, int, float], float]


def learning_rate_factor(
    name: str,
    step: int,
    *,
    warmup_steps: int,
    total_steps: int | None,
    every_n_steps: int | None,
    gamma: float,
    minimum: float,
) -> float:
    """Return the factor of the base learning rate at an optimizer step.

    Args:
        name: ``constant``; ``cosine`` and ``linear`` fall to ``minimum`` at ``total_steps``; ``step`` multiplies by
            ``gamma`` every ``every_n_steps``; ``exponential`` does so continuously.
        step: Optimizer steps done before this one, from 0.
        warmup_steps: Steps over which the rate rises linearly from 1 / warmup_steps to 1; 0 for none.
        total_steps: Planned steps; needed by ``cosine`` and ``linear``.
        every_n_steps: Needed by ``step`` and ``exponential``.
        gamma: Factor of ``step`` and ``exponential``.
        minimum: Smallest factor, as a fraction of the base rate.

    Returns:
        A factor, 1 at the end of the warm-up.

    Raises:
        ValueError: The name is unknown, or a value that the schedule needs is missing.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = step - warmup_steps
    if name == "constant":
        return 1.0
    if name in ("cosine", "linear"):
        if total_steps is None:
            raise ValueError(f"schedule {name!r} needs a planned number of steps: set train.epochs or train.max_steps")
        share = min(1.0, done / max(1, total_steps - warmup_steps))
        falling = 0.5 * (1.0 + math.cos(math.pi * share)) if name == "cosine" else 1.0 - share
        return minimum + (1.0 - minimum) * falling
    if name in ("step", "exponential"):
        if every_n_steps is None:
            raise ValueError(f"schedule {name!r} needs every_n_steps")
        times = done // every_n_steps if name == "step" else done / every_n_steps
        return max(minimum, float(gamma**times))
    raise ValueError(refuse("schedule", name, "be constant, cosine, linear, step or exponential"))


def scheduled(options: ScheduleOptions, step: int, total_steps: int | None, lr: float) -> float:
    """Return `learning_rate_factor` of a recipe's section.

    Args:
        options: The section.
        step: Steps made, >= 0.
        total_steps: Planned steps, None without a plan.
        lr: The base rate, which the smallest rate is relative to, > 0.
    """
    return learning_rate_factor(
        options.name,
        step,
        warmup_steps=options.warmup_steps,
        total_steps=total_steps,
        every_n_steps=options.every_n_steps,
        gamma=options.gamma,
        minimum=options.min_lr / lr,
    )
