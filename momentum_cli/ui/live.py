"""The live display on a terminal: bars, losses, speed, time left and the best value, redrawn in place.

Drawing is paid for by the training loop, so it is bounded twice: at most eight redraws a second, and never more than
one part in a hundred of the time (a slow terminal is redrawn less often). Between redraws a step costs a microsecond.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from momentum_cli.ui.progress import Progress
from momentum_cli.ui.protocol import Evaluation, Level, NullUi, RunStart, StepInfo
from momentum_cli.ui.stream import SafeStream
from momentum_cli.ui.summary import (
    evaluation_text,
    header,
    metrics_text,
    next_steps,
    of,
    reached_text,
    short_path,
    summary_rows,
    target_text,
    title,
)
from momentum_cli.ui.wording import (
    bytes_text,
    clock_text,
    metric_text,
    number_text,
    printable,
    speed_text,
    step_time_text,
)

SHORTEST_INTERVAL_SECONDS = 1 / 8
LONGEST_INTERVAL_SECONDS = 1.0
DRAWING_SHARE = 0.01

# Styles that read on a light and on a dark background: no yellow, no white, no black; the words say it without colour.
LABEL, VALUE, BAR, REST = "dim", "bold", "cyan", "dim"
GOOD, WARNING, ERROR = "bold green", "bold magenta", "bold red"
NOTE_STYLE: dict[Level, str] = {"info": "", "warning": WARNING, "error": ERROR}
LABEL_COLUMNS, COUNT_COLUMNS, SHORTEST_BAR = 11, 15, 8


class RichUi(NullUi):
    """The live display.

    Args:
        stream: a terminal.
        clock: monotonic seconds.
        console: replaces the console on `stream`, for a display that is recorded.
    """

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._console = console or Console(file=cast(TextIO, SafeStream(stream)), force_terminal=True, highlight=False)
        # What else is written to this terminal (warnings of torch, prints of a plug-in) has to go above the display;
        # a redirected stdout or stderr is a file of the user's and keeps its content.
        self._redirect_stdout = stream is sys.stdout
        self._redirect_stderr = stream is sys.stderr or sys.stderr.isatty()
        self._clock = clock
        self._progress = Progress()
        self._live: Live | None = None
        self._next_draw = 0.0
        self._evaluating: tuple[int, int, str] | None = None
        self._downloads: dict[str, tuple[int, int | None]] = {}

    def start(self, run: RunStart) -> None:
        self._progress.start(run, self._clock())
        self._downloads.clear()
        self._draw(self._clock())

    def step(self, info: StepInfo) -> None:
        now = self._clock()
        self._progress.step(info, now)
        if now >= self._next_draw:
            self._evaluating = None
            self._draw(now)

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        self._evaluating = (done, total, split) if done < total else None
        now = self._clock()
        if now >= self._next_draw:
            self._draw(now)

    def evaluated(self, evaluation: Evaluation) -> None:
        run = self._progress.run
        self._evaluating = None
        reached = self._progress.evaluated(evaluation)
        self._print(Text(evaluation_text(evaluation, run), style=GOOD if evaluation.best else ""))
        if reached and run is not None:
            self._print(Text(reached_text(evaluation, run), style=GOOD))

    def note(self, text: str, level: Level = "info") -> None:
        self._print(Text(printable(text if level == "info" else f"{level}: {text}"), style=NOTE_STYLE[level]))

    def finish(self, result: dict[str, Any]) -> None:
        self._stop(erase=True)
        commands = next_steps(result)
        rows = summary_rows(result, self._progress.latest)
        width = 2 + max(len(label) for label in [*(row.label for row in rows), *(label for label, _ in commands)])
        run = self._progress.run
        self._print(_rule(title(run) if run else "summary", "", self._console.width))
        for row in rows:
            style = {True: GOOD, False: WARNING, None: ""}[row.good]
            for index, line in enumerate(_folded(row.value, max(20, self._console.width - width))):
                self._print(Text.assemble((f"{'' if index else row.label:<{width}}", LABEL), (printable(line), style)))
        for label, command in commands:  # in one piece: it is there to be copied
            self._print(Text.assemble((f"{label:<{width}}", LABEL), (printable(command), VALUE)), soft_wrap=True)

    def download(self, name: str, done: int, total: int | None) -> None:
        if total is not None and done >= total:
            if self._downloads.pop(name, None) is not None:
                self._print(Text(printable(f"downloaded {name} ({bytes_text(done)})")))
            return
        self._downloads[name] = (done, total)
        now = self._clock()
        if now >= self._next_draw:
            self._draw(now)

    def close(self) -> None:
        self._stop(erase=self._progress.last is None)

    def _draw(self, now: float) -> None:
        if self._live is None:
            atexit.register(self.close)  # gives the cursor back when the program ends on another way
            self._live = Live(
                console=self._console,
                get_renderable=lambda: self,
                refresh_per_second=1,  # of Rich's own thread: the clocks go on while one step takes seconds
                redirect_stdout=self._redirect_stdout,
                redirect_stderr=self._redirect_stderr,
            )
            self._live.start(refresh=True)
        else:
            self._live.refresh()
        cost = self._clock() - now
        interval = min(max(SHORTEST_INTERVAL_SECONDS, cost / DRAWING_SHARE), LONGEST_INTERVAL_SECONDS)
        self._next_draw = now + interval

    def _stop(self, *, erase: bool) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.transient = erase
            live.stop()
            atexit.unregister(self.close)

    def _print(self, text: Text, *, soft_wrap: bool = False) -> None:
        self._console.print(text, soft_wrap=soft_wrap)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The display as lines of at most the terminal's width; Rich calls it for every redraw."""
        width, progress = options.max_width, self._progress
        run, last = progress.run, progress.last
        now = self._clock()
        if run is not None:
            yield _rule(title(run), short_path(run.run_dir), width)
            yield from _flow([Text(fact, style=LABEL) for fact in header(run)], width, " · ")
            samples_per_second, ms_per_step = progress.measure()
            times = f"{clock_text(now - progress.started_at)} elapsed"
            left = progress.seconds_left()
            if left is not None:
                times += f", {clock_text(left)} left"
            epoch = last.epoch if last else run.start_step // max(1, run.steps_per_epoch) + 1
            yield _bar("epoch", of(epoch, run.epochs), progress.fraction(), times, width)
            done = last.step_in_epoch if last else run.start_step % max(1, run.steps_per_epoch)
            speed = f"{speed_text(samples_per_second)}, {step_time_text(ms_per_step)}"
            if self._evaluating is None:
                part = done / max(1, run.steps_per_epoch)
                yield _bar("step", of(done, run.steps_per_epoch), part, speed, width)
        if self._evaluating is not None:
            done, total, split = self._evaluating
            yield _bar("evaluating", f"{done:,}/{total:,}", done / max(1, total), split, width)
        if run is not None:
            yield from _flow(list(self._numbers(run)), width, "   ")
        for name, (size, whole) in self._downloads.items():
            text = f"{bytes_text(size)} of {bytes_text(whole)}" if whole else bytes_text(size)
            yield _bar("download", printable(name), size / whole if whole else None, text, width)

    def _numbers(self, run: RunStart) -> Iterator[Text]:
        progress = self._progress
        if progress.last is not None:
            loss = f"{number_text(progress.loss)} (last {number_text(progress.last_loss)})"
            yield _fact("loss", loss)
            yield _fact("gradient norm", number_text(progress.grad_norm))
            yield _fact("learning rate", f"{progress.last.lr:.3g}")
        yield _fact("GPU memory" if run.device.startswith("cuda") else "memory", bytes_text(progress.memory()))
        latest, best = progress.latest, progress.best
        if latest is not None:
            yield _fact(f"{latest.split}", f"{metrics_text(latest.metrics, run.metric)} (epoch {latest.epoch})")
        if best is not None and run.metric in best.metrics:
            yield _fact("best", f"{metric_text(run.metric, best.metrics[run.metric])} (epoch {best.epoch})")
        if run.target is not None:
            if progress.reached is not None:
                yield Text(reached_text(progress.reached, run), style=GOOD)
            elif latest is not None:
                yield _fact("target", f"{target_text(*run.target)}: not yet")


def _fact(label: str, value: str) -> Text:
    return Text.assemble((f"{label} ", LABEL), (value, VALUE))


def _rule(left: str, right: str, width: int) -> Text:
    """A line `left ─────── right`; a path that is too long keeps its end, which tells runs apart."""
    left, right = printable(left), printable(right)
    room = width - len(left) - 6
    if len(right) > room:
        right = "…" + right[len(right) - room + 1 :] if room > 8 else ""
    fill = "─" * max(2, width - len(left) - len(right) - (2 if right else 1))
    text = Text.assemble((left, VALUE), " ", (fill, REST), (f" {right}" if right else "", LABEL))
    text.truncate(width)
    return text


def _bar(label: str, count: str, part: float | None, after: str, width: int) -> Text:
    """`label  3/30  ━━━━━━────── 40 %  after`; without a known end the bar is only its background."""
    percent = f" {100 * part:3.0f} %" if part is not None else ""
    head = f"{label:<{LABEL_COLUMNS}}"
    columns = max(COUNT_COLUMNS, len(count))
    room = width - len(head) - columns - len(percent) - len(after) - 3
    bar = max(SHORTEST_BAR, min(60, room))
    filled = round(bar * min(1.0, max(0.0, part or 0.0)))
    text = Text.assemble(
        (head, LABEL),
        (f"{count:<{columns}} ", VALUE),
        ("━" * filled, BAR),
        ("─" * (bar - filled), REST),
        (percent, VALUE),
        (f"  {after}", ""),
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _flow(parts: Iterable[Text], width: int, gap: str) -> Iterator[Text]:
    """The parts one after the other, a new line where the next one does not fit."""
    line: Text | None = None
    for part in parts:
        if line is not None and len(line) + len(gap) + len(part) <= width:
            line.append(gap, LABEL).append_text(part)
            continue
        if line is not None:
            yield line
        line = part.copy()
    if line is not None:
        yield line


def _folded(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` characters, broken at spaces where there are some."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines
