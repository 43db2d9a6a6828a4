"""The live display of a benchmark: one line per run, a leader board that fills in, and the summary at its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from momentum_cli.messages import counted, plural
from momentum_cli.progress import OVER, NullBenchUi, RunState
from momentum_cli.ui.bench_plain import outcome_text
from momentum_cli.ui.layout import BAR, ERROR, GOOD, LABEL, REST, VALUE, WARNING, rule
from momentum_cli.ui.several_live import LiveDisplay
from momentum_cli.wording import clock_text, metric_text, printable, target_text

_LONGEST_BAR, _SHORTEST_BAR = 40, 6
_MOST_PLACES = 12
_LONGEST_STATUS = len("training")
_STYLE = {"reached": GOOD, "finished": GOOD, "missed": WARNING, "failed": ERROR, "training": "", "waiting": LABEL}


class RichBenchUi(LiveDisplay, NullBenchUi):
    """The live display; arguments as `LiveDisplay`."""

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._title = ""
        self._targets: dict[str, tuple[str, float] | None] = {}
        self._states: dict[str, RunState] = {}
        self._ended: list[str] = []
        super().__init__(stream, clock=clock, console=console)

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        self._title, self._targets = title, dict(targets)
        self._states = {run.id: run for run in runs}
        self._ended = [run.id for run in runs if run.status in OVER]
        self._begin()

    def update(self, state: RunState) -> None:
        self._states[state.id] = state
        over = state.status in OVER
        if over and state.id not in self._ended:
            self._ended.append(state.id)
            if state.status == "failed":
                self._screen.print(Text(printable(outcome_text(state)), style=ERROR), soft_wrap=True)
        self._changed(important=over)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        states = list(self._states.values())
        if not states:
            yield Text("loading torch, the recipes and the data …", style=LABEL)
            yield from self._download_lines()
            return
        done = sum(state.status in OVER for state in states)
        elapsed = clock_text(self._clock() - self._begun)
        yield rule(self._title, f"{done} of {counted(len(states), 'run')}, {elapsed}", width)
        board = list(self._board(width))
        room = max(3, console.height - len(board) - len(self._targets) - 4)
        yield from self._lines(states, room, width)
        yield from board
        yield from self._download_lines()

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
                took = [f"{time_text(seconds)} s", f"{count_text(steps)} {plural('step', steps)}"]
                rows.append((seconds, rank, [label, counts, *took, mean]))
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
