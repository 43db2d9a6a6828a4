"""Learning-rate schedules as functions of the step and, for one of them, of the number of plateaus of the loss."""

from __future__ import annotations

import math

from momentum_cli.recipe.sections import ScheduleOptions

# One cycle begins at this fraction of the rate and reaches it after this share of the steps, as in fastai and torch.
_CYCLE_START, _CYCLE_RISE = 1 / 25, 0.3


def learning_rate_factor(
    options: ScheduleOptions, step: int, total_steps: int | None, minimum: float, reductions: int = 0
) -> float:
    """Return the factor of the base learning rate at an optimizer step.

    Args:
        options: ``constant``; ``cosine`` and ``linear`` fall to ``minimum`` at ``total_steps``; ``onecycle`` rises by a
            cosine from 1/25 to 1 over the warm-up, by default 30 % of the steps, and falls to ``minimum`` by another;
            ``step`` multiplies by ``gamma`` every ``every_n_steps``, ``exponential`` does so continuously; ``plateau``
            multiplies by ``gamma`` at every reduction. In all but ``onecycle`` the rate rises linearly from
            1 / warmup_steps to 1 over the warm-up.
        step: Optimizer steps done before this one, from 0.
        total_steps: Planned steps; needed by ``cosine``, ``linear`` and ``onecycle``.
        minimum: Smallest factor, as a fraction of the base rate.
        reductions: Number of times that the loss has stopped falling, for ``plateau``.

    Returns:
        A factor, 1 at the end of the warm-up.

    Raises:
        ValueError: A value that the schedule needs is missing.

    Reference for ``onecycle``: Smith and Topin, arXiv 1708.07120, with the cosines of
    `torch.optim.lr_scheduler.OneCycleLR`; for ``plateau``: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    name, warmup = options.name, options.warmup_steps
    if name in ("cosine", "linear", "onecycle") and total_steps is None:
        raise ValueError(f"schedule {name!r} needs a planned number of steps: set train.epochs or train.max_steps")
    total = total_steps or 0
    if name == "onecycle":
        peak = (warmup or _CYCLE_RISE * total) - 1
        if step < peak:
            return _CYCLE_START + (1.0 - _CYCLE_START) * (1.0 - _half_cosine(step / peak))
        return minimum + (1.0 - minimum) * _half_cosine(min(1.0, (step - peak) / max(1, total - 1 - peak)))
    if step < warmup:
        return (step + 1) / warmup
    done = step - warmup
    share = min(1.0, done / max(1, total - warmup))
    if name == "cosine":
        return minimum + (1.0 - minimum) * _half_cosine(share)
    if name == "linear":
        return minimum + (1.0 - minimum) * (1.0 - share)
    if name == "plateau":
        return max(minimum, float(options.gamma**reductions))
    if name in ("step", "exponential"):
        if options.every_n_steps is None:
            raise ValueError(f"schedule {name!r} needs every_n_steps")
        times = done // options.every_n_steps if name == "step" else done / options.every_n_steps
        return max(minimum, float(options.gamma**times))
    return 1.0


def _half_cosine(share: float) -> float:
    """Return 1 at 0 and 0 at 1, along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def scheduled(options: ScheduleOptions, step: int, total_steps: int | None, lr: float, reductions: int = 0) -> float:
    """Return `learning_rate_factor` of a recipe's section.

    Args:
        options: The section.
        step: Steps made, >= 0.
        total_steps: Planned steps, None without a plan.
        lr: The base rate, > 0; the smallest rate is relative to it.
        reductions: Number of times that the loss has stopped falling.
    """
    return learning_rate_factor(options, step, total_steps, options.min_lr / lr, reductions)
