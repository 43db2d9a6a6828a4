"""The live display of a search: the best trials so far, those that run, how many were pruned, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from momentum_cli.messages import counted
from momentum_cli.progress import NullTuneUi, TrialState, TuneStart
from momentum_cli.ui.layout import BAR, ERROR, GOOD, LABEL, REST, VALUE, WARNING, fact, flow, rule
from momentum_cli.ui.several_live import LiveDisplay
from momentum_cli.ui.tune_plain import ended_text, ranked
from momentum_cli.wording import clock_text, metric_text, printable

_MOST_BEST, _MOST_RECENT = 8, 6
_LONGEST_BAR, _SHORTEST_BAR = 24, 6
_STYLE = {"done": GOOD, "pruned": WARNING, "failed": ERROR, "running": ""}


class RichTuneUi(LiveDisplay, NullTuneUi):
    """The live display; arguments as `LiveDisplay`."""

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._search: TuneStart | None = None
        self._states: dict[int, TrialState] = {}
        self._recent: list[int] = []
        self._kept = 0
        super().__init__(stream, clock=clock, console=console)

    def start(self, search: TuneStart) -> None:
        self._search = search
        self._states = {state.place: state for state in search.kept}
        self._kept = len(search.kept)
        self._begin()

    def trial(self, state: TrialState) -> None:
        self._states[state.place] = state
        over = state.status != "running"
        if over and state.place not in self._recent:
            self._recent.append(state.place)
            if state.status == "failed" and self._search is not None:
                text = ended_text(state, self._search.metric)
                self._screen.print(Text(printable(text), style=ERROR), soft_wrap=True)
        self._changed(important=over)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, search = options.max_width, self._search
        if search is None:
            yield Text("loading torch, the recipe and the data …", style=LABEL)
        else:
            over = self._with(*_OVER)
            elapsed = clock_text(self._clock() - self._begun)
            yield rule(search.name, f"{len(over)} of {counted(search.trials, 'trial')}, {elapsed}", width)
            for line in flow(self._facts(search), width, "   "):
                line.truncate(width, overflow="ellipsis")
                yield line
            room = max(6, console.height - 8)
            yield from self._best(search, width, min(_MOST_BEST, room // 2))
            yield from self._last(search, width, min(_MOST_RECENT, room - room // 2 - 2))
        yield from self._download_lines()

    def _with(self, *statuses: str) -> list[TrialState]:
        return [state for state in self._states.values() if state.status in statuses]

    def _facts(self, search: TuneStart) -> Iterator[Text]:
        yield fact("looking for", search.objective)
        yield fact("sampler", search.sampler)
        if search.pruner != "none":
            yield fact("pruner", search.pruner)
        for name in ("running", "done", "pruned", "failed"):
            count = len(self._with(name))
            if count or name in ("running", "done"):
                yield fact(name, str(count))
        yield fact("left", clock_text(self.seconds_left()))

    def seconds_left(self) -> float | None:
        """Return the wall seconds until the search ends, at the pace so far; None before the first trial is over."""
        search, elapsed = self._search, self._clock() - self._begun
        if search is None:
            return None
        over = len(self._with(*_OVER))
        made = over - self._kept
        left = [elapsed / made * (search.trials - over)] if made > 0 else []
        if search.time_limit is not None:
            left.append(max(0.0, search.time_limit - elapsed))
        return min(left) if left else None

    def _best(self, search: TuneStart, width: int, most: int) -> Iterator[Text]:
        best = ranked(self._states.values())[:most]
        if not best:
            return
        yield rule("best so far", "", width)
        rows = [
            (f"{number}", f"trial {state.place}", state.score, self._value(search, state))
            for number, state in enumerate(best, start=1)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for (number, trial, score, value), state in zip(rows, best, strict=True):
            line = Text.assemble(
                (f"{number.rjust(widths[0])} ", LABEL),
                (f"{trial.ljust(widths[1])}  ", ""),
                (f"{score.rjust(widths[2])}  ", VALUE),
                f"{value.rjust(widths[3])}  " if widths[3] else "",
                (printable(state.values), ""),
            )
            line.truncate(width, overflow="ellipsis")
            yield line

    def _last(self, search: TuneStart, width: int, most: int) -> Iterator[Text]:
        """Yield the running trials, and above them the last ones that ended."""
        running = self._with("running")
        recent = [self._states[place] for place in self._recent[-max(0, most - len(running)) :]] if most else []
        shown = [*recent, *running][-most:] if most else []
        if not shown:
            return
        yield rule("trials", "", width)
        places = max(len(str(state.place)) for state in shown)
        for state in shown:
            yield self._line(search, state, places, width)

    def _line(self, search: TuneStart, state: TrialState, places: int, width: int) -> Text:
        head = f"trial {state.place:<{places}} "
        if state.status == "running":
            part = min(1.0, state.step / state.total_steps) if state.total_steps else 0.0
            length = max(_SHORTEST_BAR, min(_LONGEST_BAR, width // 4))
            filled = round(length * part)
            text = Text.assemble(
                (head, VALUE),
                ("━" * filled, BAR),
                ("─" * (length - filled), REST),
                f" {state.step:>6,} {metric_text(search.metric, state.value):>9}  ",
                (printable(f"on {state.worker}: {state.values}" if state.worker else state.values), LABEL),
            )
        else:
            words = state.reason if state.status == "failed" else state.score or f"at step {state.step:,}"
            text = Text.assemble(
                head,
                (f"{state.status:<7}", _STYLE[state.status]),
                f" {printable(words or '')}  {self._value(search, state)}  ",
                (printable(state.values), LABEL),
            )
        text.no_wrap, text.overflow = True, "ellipsis"
        text.truncate(width, overflow="ellipsis")
        return text

    def _value(self, search: TuneStart, state: TrialState) -> str:
        """Return the compared metric, if the score is another number."""
        value = metric_text(search.metric, state.value)
        return "" if state.value is None or value == state.score else value


_OVER: Sequence[str] = ("done", "pruned", "failed")
