"""The live display of a benchmark: one line per run, a leader board that fills in, and the summary at its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from momentum_cli.progress import OVER, Level, NullBenchUi, RunState, SummaryLines
from momentum_cli.ui.bench_plain import outcome_text
from momentum_cli.ui.layout import BAR, ERROR, GOOD, LABEL, REST, VALUE, WARNING, rule
from momentum_cli.ui.screen import Screen
from momentum_cli.wording import bytes_text, clock_text, metric_text, printable, target_text

_REDRAW_SECONDS = 1 / 6
_LONGEST_BAR, _SHORTEST_BAR = 40, 6
_MOST_PLACES = 12
_LONGEST_STATUS = len("training")
_STYLE = {"reached": GOOD, "finished": GOOD, "missed": WARNING, "failed": ERROR, "training": "", "waiting": LABEL}


class RichBenchUi(NullBenchUi):
    """The live display.

    Args:
        stream: a terminal.
        clock: monotonic seconds.
        console: replaces the console on `stream`, for a display that is recorded.
    """

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._screen = Screen(
            stream,
            self,
            clock=clock,
            shortest_seconds=_REDRAW_SECONDS,
            longest_seconds=math.inf,
            console=console,
        )
        self._clock = clock
        self._title = ""
        self._targets: dict[str, tuple[str, float] | None] = {}
        self._states: dict[str, RunState] = {}
        self._ended: list[str] = []
        self._started_at = clock()
        self._downloads: dict[str, tuple[int, int | None]] = {}

    def __enter__(self) -> Self:
        # Loading torch and the data takes seconds: show at once that something happens.
        self._screen.draw(self._clock())
        return self

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        self._title, self._targets = title, dict(targets)
        self._states = {run.id: run for run in runs}
        self._ended = [run.id for run in runs if run.status in OVER]
        self._started_at = self._clock()
        self._screen.draw(self._started_at)

    def update(self, state: RunState) -> None:
        self._states[state.id] = state
        over = state.status in OVER
        if over and state.id not in self._ended:
            self._ended.append(state.id)
            if state.status == "failed":
                self._screen.print(Text(printable(outcome_text(state)), style=ERROR), soft_wrap=True)
        now = self._clock()
        if over or now >= self._screen.next_draw:
            self._screen.draw(now)

    def note(self, text: str, level: Level = "info") -> None:
        self._screen.note(text, level)

    def finish(self, summary: SummaryLines) -> None:
        self._screen.close(erase=True)
        for line in summary(self._screen.console.width):
            self._screen.print(Text(printable(line)), soft_wrap=True)

    def download(self, name: str, done: int, total: int | None) -> None:
        self._downloads[name] = (done, total)
        if total is not None and done >= total:
            del self._downloads[name]
            self.note(f"downloaded {name} ({bytes_text(done)})")
        now = self._clock()
        if self._screen.is_open and now >= self._screen.next_draw:
            self._screen.draw(now)

    def preparation(self, name: str, done: int, total: int) -> None:
        if done >= total:
            self.note(f"{name}: {done:,} files")

    def close(self) -> None:
        self._screen.close(erase=not self._states)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        states = list(self._states.values())
        if not states:
            yield Text("loading torch, the recipes and the data …", style=LABEL)
            return
        done = sum(state.status in OVER for state in states)
        elapsed = clock_text(self._clock() - self._started_at)
        yield rule(self._title, f"{done} of {len(states)} runs, {elapsed}", width)
        board = list(self._board(width))
        room = max(3, console.height - len(board) - len(self._targets) - 4)
        yield from self._lines(states, room, width)
        yield from board
        for name, (size, total) in list(self._downloads.items()):
            whole = f" of {bytes_text(total)}" if total else ""
            yield Text(printable(f"downloading {name}: {bytes_text(size)}{whole}"), style=LABEL)

    def _lines(self, states: Sequence[RunState], room: int, width: int) -> Iterator[Text]:
        """One line per run; of too many, the running ones and the last to end."""
        running = [state for state in states if state.status == "training"]
        ended = [self._states[i] for i in self._ended]
        waiting = [state for state in states if state.status == "waiting"]
        shown = states
        if len(states) > room:
            kept = max(0, room - 1 - len(running))
            recent = ended[len(ended) - min(kept, len(ended)) :]
            shown = [*recent, *running, *waiting[: max(0, kept - len(recent))]][:room]
        names = max((len(self._name(state)) for state in shown), default=0)
        for state in shown:
            yield self._line(state, names, width)
        hidden = len(states) - len(shown)
        if hidden:
            later = sum(state.status == "waiting" for state in states) - sum(s.status == "waiting" for s in shown)
            counts = [f"{count} more {word}" for count, word in ((hidden - later, "over"), (later, "waiting")) if count]
            yield Text(f"… {', '.join(counts)}", style=LABEL)

    def _name(self, state: RunState) -> str:
        recipe = f"{state.comparison} " if len(self._targets) > 1 else ""
        return printable(f"{recipe}{state.label} seed {state.seed}")

    def _line(self, state: RunState, names: int, width: int) -> Text:
        part = min(1.0, state.step / state.total_steps) if state.total_steps else None
        count = f"{state.step:,}" if state.total_steps is None else f"{state.step:,}/{state.total_steps:,}"
        value = metric_text(state.metric, state.value if state.value is not None else state.best)
        right = f" {count:>13} {value:>9}  best {metric_text(state.metric, state.best):>9}  {state.status}"
        # every bar leaves room for the longest status, so that they line up
        room = width - names - len(right) - 1 - (_LONGEST_STATUS - len(state.status))
        length = max(_SHORTEST_BAR, min(_LONGEST_BAR, room))
        # The bar of a finished run is full, whatever was left of the budget.
        filled = length if state.status in OVER else round(length * (part or 0.0))
        text = Text.assemble(
            (f"{self._name(state):<{names}} ", VALUE if state.status == "training" else ""),
            ("━" * filled, _STYLE[state.status] if state.status in OVER else BAR),
            ("─" * (length - filled), REST),
            (right[: -len(state.status)], LABEL if state.status == "waiting" else ""),
            (state.status, _STYLE[state.status]),
        )
        text.no_wrap, text.overflow = True, "ellipsis"
        text.truncate(width, overflow="ellipsis")
        return text

    def _board(self, width: int) -> Iterator[Text]:
        """The leader board of each comparison with finished runs: fastest median first, misses are infinite.

        A grid of learning rates has hundreds of entries, so only the first places are shown.
        """
        from momentum_cli.metrics import METRICS
        from momentum_cli.wording import count_text, time_text

        for name, target in self._targets.items():
            states = [s for s in self._states.values() if s.comparison == name and s.status in OVER]
            if not states:
                continue
            yield rule(f"{name}: {target_text(*target)}" if target else name, "so far", width)
            rows = []
            for label in dict.fromkeys(state.label for state in states):
                mine = [state for state in states if state.label == label]
                hits = [state for state in mine if state.status == "reached"]
                missed = [math.inf] * (len(mine) - len(hits)) if target else []
                finished = hits if target else mine
                seconds = median([s.target_seconds for s in finished] + missed)
                steps = median([float(s.target_steps) for s in finished] + missed)
                best = [state.best for state in mine if state.best is not None]
                average = math.fsum(best) / len(best) if best else None
                mean = metric_text(mine[0].metric, average)
                sign = -1 if METRICS[mine[0].metric].higher_is_better else 1
                # If all miss, the metric decides.
                rank = math.inf if average is None or math.isnan(average) else sign * average
                counts = f"{len(hits)} of {len(mine)}" if target else f"{len(mine)}"
                rows.append(
                    (seconds, rank, [label, counts, f"{time_text(seconds)} s", f"{count_text(steps)} steps", mean])
                )
            rows.sort(key=lambda row: row[:2])
            columns = list(zip(*(texts for _, _, texts in rows[:_MOST_PLACES]), strict=True))
            widths = [max(map(len, column)) for column in columns]
            for place, (_, _, texts) in enumerate(rows[:_MOST_PLACES], start=1):
                label, *numbers = texts
                cells = "  ".join(text.rjust(w) for text, w in zip(numbers, widths[1:], strict=True))
                line = Text.assemble((f"{place} ", LABEL), (printable(label).ljust(widths[0]), VALUE), f"  {cells}")
                line.truncate(width, overflow="ellipsis")
                yield line
            if len(rows) > _MOST_PLACES:
                yield Text(f"… {len(rows) - _MOST_PLACES} more", style=LABEL)
