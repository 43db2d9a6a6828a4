"""The state of a run in progress: smoothed loss, speed, time left, best value. Every display reads it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from momentum_cli.machine import resident_bytes
from momentum_cli.progress import Evaluation, RunStart, StepInfo

# An average over about the last ten losses read: steady to the eye, but a divergence still shows.
SMOOTHING = 0.9
SPEED_WINDOW_SECONDS = 10.0


class Progress:
    """The state behind a display of one run; `now` is always the display's own monotonic clock in seconds."""

    def __init__(self, run: RunStart | None = None, now: float = 0.0) -> None:
        self.run = run
        self.last: StepInfo | None = None
        self.last_loss: float | None = None
        self.grad_norm: float | None = None
        self.latest: Evaluation | None = None
        self.best: tuple[float, int] | None = None  # value of the headline metric, epoch
        self.reached: Mapping[str, Any] | None = None  # as `target` in result.json
        if run is not None and run.best is not None:
            self.best = (run.best["value"], run.best["epoch"])
        if run is not None and run.reached is not None:
            self.reached = run.reached
        self.started_at = now
        self._first: tuple[float, int] | None = None
        self._last_at = 0.0
        self._loss_sum = 0.0
        self._loss_weight = 0.0
        self._window: deque[tuple[float, int, int]] = deque()  # (train_seconds, samples, step) at each `measure`

    def step(self, info: StepInfo, now: float) -> None:
        """Add a step; called after every optimizer step, so it computes nothing that a display may not need."""
        self.last = info
        self._last_at = now
        if self._first is None:
            self._first = (now, info.step)
            self._window.append((info.train_seconds, info.samples, info.step))
        loss = info.loss
        if loss is not None:
            self.last_loss = loss
            self.grad_norm = info.grad_norm
            if math.isfinite(loss):  # one skipped step must not make the average NaN forever
                self._loss_sum = SMOOTHING * self._loss_sum + (1 - SMOOTHING) * loss
                self._loss_weight = SMOOTHING * self._loss_weight + (1 - SMOOTHING)

    def evaluated(self, evaluation: Evaluation) -> bool:
        """Add an evaluation; True if it is the one that reaches the target."""
        self.latest = evaluation
        run = self.run
        if run is None:
            return False
        if evaluation.best and run.metric in evaluation.metrics:
            self.best = (evaluation.metrics[run.metric], evaluation.epoch)
        if not evaluation.target_reached or self.reached is not None or run.target is None:
            return False
        self.reached = {
            "metric": run.target[0],
            "value": run.target[1],
            "reached": True,
            "steps": evaluation.step,
            "samples": evaluation.samples,
            "train_seconds": evaluation.train_seconds,
            "wall_seconds": evaluation.wall_seconds,
        }
        return True

    @property
    def loss(self) -> float | None:
        """Exponentially smoothed training loss, without a bias towards 0 at the start."""
        return self._loss_sum / self._loss_weight if self._loss_weight else None

    def measure(self) -> tuple[float | None, float | None]:
        """(samples/s, ms/step) of training over about the last ten training seconds."""
        last = self.last
        if last is None:
            return None, None
        window = self._window
        if window[-1][2] != last.step:
            window.append((last.train_seconds, last.samples, last.step))
        while len(window) > 2 and window[1][0] <= last.train_seconds - SPEED_WINDOW_SECONDS:
            window.popleft()
        seconds, samples, step = window[0]
        elapsed = last.train_seconds - seconds
        if elapsed <= 0 or last.step == step:
            return None, None
        return (last.samples - samples) / elapsed, 1000 * elapsed / (last.step - step)

    def seconds_left(self) -> float | None:
        """Wall seconds until the budget in steps or in training seconds is used up, whichever comes first.

        From the average over the whole run, so that it includes evaluations and checkpoints and does not jump.
        """
        run, last, first = self.run, self.last, self._first
        if run is None or last is None or first is None or last.step <= first[1]:
            return None
        wall = self._last_at - first[0]
        left = []
        if run.total_steps is not None:
            left.append(wall / (last.step - first[1]) * max(0, run.total_steps - last.step))
        if run.max_seconds is not None and last.train_seconds > 0:
            left.append(max(0.0, run.max_seconds - last.train_seconds))
        return min(left) if left else None

    def fraction(self) -> float | None:
        """Used part of the budget, 0 to 1; None if the run has no limit in steps or seconds."""
        run, last = self.run, self.last
        if run is None or (run.total_steps is None and run.max_seconds is None):
            return None
        step, seconds = (last.step, last.train_seconds) if last is not None else (run.start_step, 0.0)
        used = [value / budget for value, budget in ((step, run.total_steps), (seconds, run.max_seconds)) if budget]
        return min(1.0, max(used, default=1.0))

    def memory(self) -> int | None:
        """Device memory in bytes as reported by the engine, or the resident memory of this process."""
        if self.last is not None and self.last.memory_bytes is not None:
            return self.last.memory_bytes
        return resident_bytes()
