"""The displays of a benchmark without a terminal: warnings only, or plain lines."""

from __future__ import annotations

from collections.abc import Sequence

from momentum_cli.messages import counted
from momentum_cli.progress import OVER, NullBenchUi, RunState
from momentum_cli.ui.several import PlainLines, Quiet
from momentum_cli.wording import clock_text, metric_text, seconds_text, target_text


class QuietBenchUi(Quiet, NullBenchUi):
    """Shows warnings and errors only."""


class PlainBenchUi(PlainLines, NullBenchUi):
    """Plain lines: one per finished run, and one per interval for the runs in between; arguments as `PlainLines`."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        self._states = {run.id: run for run in runs}
        self._begin()
        wanted = [f"{name}: {target_text(*target)}" for name, target in targets.items() if target is not None]
        done = sum(run.status in OVER for run in runs)
        kept = f", {done} of them kept from before" if done else ""
        goal = f"; target {', '.join(wanted)}" if wanted else ""
        self._stream.line(f"{title}: {counted(len(runs), 'run')}{kept}{goal}")

    def update(self, state: RunState) -> None:
        was = self._states.get(state.id)
        self._states[state.id] = state
        if state.status in OVER:
            if was is None or was.status not in OVER:
                done = sum(run.status in OVER for run in self._states.values())
                self._stream.line(f"[{done}/{len(self._states)}] {outcome_text(state)}")
            return
        if (elapsed := self._due()) is not None:
            self._stream.line(self._progress_line(elapsed))

    def _progress_line(self, elapsed: float) -> str:
        active = [run for run in self._states.values() if run.status == "training"]
        parts = []
        for run in active[:6]:
            steps = f"{run.step:,}" if run.total_steps is None else f"{run.step:,}/{run.total_steps:,}"
            parts.append(f"{run.label} seed {run.seed} step {steps} {metric_text(run.metric, run.value)}")
        if len(active) > 6:
            parts.append(f"and {len(active) - 6} more")
        return f"{clock_text(elapsed)}: " + "; ".join(parts)


def outcome_text(state: RunState) -> str:
    """`digits momentum seed 2: reached after 230 steps, 1.9 s of training; best accuracy 95.56 %`."""
    name = f"{state.comparison} {state.label} seed {state.seed}"
    cost = f"{counted(state.step, 'step')}, {seconds_text(state.train_seconds)} of training"
    best = f"; best {state.metric} {metric_text(state.metric, state.best)}" if state.best is not None else ""
    if state.status in {"reached", "finished"}:
        return f"{name}: {state.status} after {cost}{best}"
    return f"{name}: {state.status} after {cost}: {state.reason}{best}"
