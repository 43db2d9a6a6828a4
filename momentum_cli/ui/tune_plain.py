"""The displays of a search without a terminal: warnings only, or plain lines."""

from __future__ import annotations

from collections.abc import Iterable

from momentum_cli.messages import counted
from momentum_cli.progress import NullTuneUi, TrialState, TuneStart
from momentum_cli.ui.several import PlainLines, Quiet
from momentum_cli.wording import clock_text, metric_text


class QuietTuneUi(Quiet, NullTuneUi):
    """Shows warnings and errors only."""


class PlainTuneUi(PlainLines, NullTuneUi):
    """Plain lines: one per trial that is over, and one per interval in between; arguments as `PlainLines`."""

    width = 120
    _search: TuneStart | None = None

    def start(self, search: TuneStart) -> None:
        self._search = search
        self._over = {state.place: state for state in search.kept}
        self._begin()
        kept = f", {len(self._over)} of them kept from before" if self._over else ""
        how = f"sampler {search.sampler}" + (f", pruner {search.pruner}" if search.pruner != "none" else "")
        self._stream.line(f"{counted(search.trials, 'trial')}{kept}: {search.objective}; {how}")

    def trial(self, state: TrialState) -> None:
        search = self._search
        if search is None:
            return
        if state.status != "running":
            if state.place not in self._over:
                self._over[state.place] = state
                best = ranked(self._over.values())[:1]
                mark = " (best so far)" if best == [state] else ""
                self._stream.line(f"[{len(self._over)}/{search.trials}] {ended_text(state, search.metric)}{mark}")
            return
        if (elapsed := self._due()) is not None:
            steps = f"{state.step:,}" if state.total_steps is None else f"{state.step:,}/{state.total_steps:,}"
            value = metric_text(search.metric, state.value)
            where = f" on {state.worker}" if state.worker else ""
            self._stream.line(f"{clock_text(elapsed)}: trial {state.place} step {steps} {value}{where}")


def ranked(states: Iterable[TrialState]) -> list[TrialState]:
    """Return the trials that have a score, the best one first."""
    return [state for _, _, state in sorted((s.key, s.place, s) for s in states if s.key is not None)]


def ended_text(state: TrialState, metric: str) -> str:
    """`trial 7 done: 120 steps, accuracy 95.56 %; lr 0.02, momentum 0.4 (3.1 s)`."""
    value = "" if state.value is None else f"{metric} {metric_text(metric, state.value)}"
    score = "" if value.endswith(f" {state.score}") else state.score
    facts = ", ".join(part for part in (score, value) if part)
    what = f"{state.status} at step {state.step:,}" if state.status == "pruned" else state.status
    if state.status == "failed":
        facts = state.reason or "no reason given"
    return f"trial {state.place} {what}: {facts}; {state.values} ({state.seconds:.1f} s)"
