"""The live display on a terminal: bars, losses, speed, time left and the best value, redrawn in place.

At most eight redraws per second; between redraws a step costs a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from momentum_cli.progress import Evaluation, Level, NullUi, RunStart, StepInfo
from momentum_cli.ui.estimate import Progress
from momentum_cli.ui.layout import GOOD, LABEL, VALUE, WARNING, Bar, bars, fact, flow, rule
from momentum_cli.ui.screen import Screen
from momentum_cli.ui.summary import (
    evaluation_text,
    header,
    metrics_text,
    next_steps,
    of,
    reached_text,
    summary_rows,
    title,
)
from momentum_cli.wording import (
    bytes_text,
    clock_text,
    metric_text,
    number_text,
    printable,
    short_path,
    speed_text,
    step_time_text,
    target_text,
)

SHORTEST_INTERVAL_SECONDS = 1 / 8
LONGEST_INTERVAL_SECONDS = 1.0


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
        self._screen = Screen(
            stream,
            self,
            clock=clock,
            shortest_seconds=SHORTEST_INTERVAL_SECONDS,
            longest_seconds=LONGEST_INTERVAL_SECONDS,
            console=console,
        )
        self._clock = clock
        self._progress = Progress()
        self._speed: tuple[float | None, float | None] = (None, None)
        self._evaluating: tuple[int, int, str] | None = None
        self._downloads: dict[str, tuple[int, int | None]] = {}
        self._preparation: tuple[str, int, int] | None = None
        self._starting = True

    def __enter__(self) -> Self:
        self._draw(self._clock())  # loading torch and the data takes seconds: show at once that something happens
        return self

    def start(self, run: RunStart) -> None:
        self._progress = Progress(run, self._clock())
        self._starting = False
        self._downloads.clear()
        self._draw(self._clock())

    def step(self, info: StepInfo) -> None:
        now = self._clock()
        self._progress.step(info, now)
        if now >= self._screen.next_draw:
            self._evaluating = None
            self._draw(now)

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        self._evaluating = (done, total, split) if done < total else None
        self._starting = False
        now = self._clock()
        if now >= self._screen.next_draw:
            self._draw(now)

    def evaluated(self, evaluation: Evaluation) -> None:
        run = self._progress.run
        self._evaluating = None
        reached = self._progress.evaluated(evaluation)
        text = Text(printable(evaluation_text(evaluation, run)))
        text.highlight_regex(r"\(best\)$", GOOD)
        self._screen.print(text)
        if reached and self._progress.reached is not None:
            self._screen.print(Text(f"target {reached_text(self._progress.reached)}", style=GOOD))

    def note(self, text: str, level: Level = "info") -> None:
        self._screen.note(text, level)

    def finish(self, result: dict[str, Any]) -> None:
        self._screen.close(erase=True)
        commands = next_steps(result)
        rows = summary_rows(result)
        width = 2 + max(len(label) for label in [*(row.label for row in rows), *(label for label, _ in commands)])
        run = self._progress.run
        self._screen.print(rule(title(run) if run else "summary", "", self._screen.console.width))
        for row in rows:
            style = {True: GOOD, False: WARNING, None: ""}[row.good]
            words = [Text(word, style=style) for word in printable(row.value).split(" ")]
            for index, line in enumerate(flow(words, max(20, self._screen.console.width - width), " ")):
                self._screen.print(Text.assemble((f"{'' if index else row.label:<{width}}", LABEL), line))
        for label, command in commands:  # unbroken, so that it can be copied
            self._screen.print(Text.assemble((f"{label:<{width}}", LABEL), (printable(command), VALUE)), soft_wrap=True)

    def download(self, name: str, done: int, total: int | None) -> None:
        if total is not None and done >= total:
            if self._downloads.pop(name, None) is not None:
                self._screen.print(Text(printable(f"downloaded {name} ({bytes_text(done)})")))
            return
        self._downloads[name] = (done, total)
        now = self._clock()
        if now >= self._screen.next_draw:
            self._draw(now)

    def preparation(self, name: str, done: int, total: int) -> None:
        self._preparation = (name, done, total) if done < total else None
        now = self._clock()
        if now >= self._screen.next_draw or done >= total:
            self._draw(now)

    def close(self) -> None:
        self._screen.close(erase=self._progress.last is None)

    def _draw(self, now: float) -> None:
        self._speed = self._progress.measure()  # here, because Rich's thread renders too
        self._screen.draw(now)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The display as lines of the terminal's width; Rich calls it for every redraw, from its own thread too."""
        width, progress, evaluating = options.max_width, self._progress, self._evaluating
        run, last = progress.run, progress.last
        shown: list[Bar] = []
        if run is not None:
            yield rule(title(run), short_path(run.run_dir), width)
            yield from flow([Text(fact, style=LABEL) for fact in header(run)], width, " · ")
            times = f"{clock_text(self._clock() - progress.started_at)} elapsed"
            left = progress.seconds_left()
            if left is not None:
                times += f", {clock_text(left)} left"
            length = max(1, run.steps_per_epoch)
            epoch, done = (last.epoch, last.step_in_epoch) if last else (run.start_step // length + 1, 0)
            shown.append(Bar("epoch", of(epoch, run.epochs), progress.fraction(), times))
            if evaluating is None:
                speed = f"{speed_text(self._speed[0])}, {step_time_text(self._speed[1])}"
                shown.append(Bar("step", of(done, length), done / length, speed))
        if evaluating is not None:
            done, total, split = evaluating
            shown.append(Bar("eval", of(done, total), done / max(1, total), split))
        for name, (size, whole) in list(self._downloads.items()):
            count = f"{bytes_text(size)} of {bytes_text(whole)}" if whole else bytes_text(size)
            shown.append(Bar("load", count, size / whole if whole else None, printable(name)))
        if self._preparation is not None:
            name, ready, files = self._preparation
            shown.append(Bar("files", of(ready, files), ready / max(1, files), printable(name)))
        yield from bars(shown, width)
        if self._starting and not shown:
            yield Text("starting …", style=LABEL)
        if run is not None:
            for group in _numbers(run, progress):
                yield from flow(group, width, "   ")
            if progress.reached is not None:
                words = f"target {reached_text(progress.reached)}".split(" ")
                yield from flow([Text(word, style=GOOD) for word in words], width, " ")
            elif run.target is not None:
                yield fact("target", f"{target_text(*run.target)} not yet reached")


def _numbers(run: RunStart, progress: Progress) -> Iterator[list[Text]]:
    """The figures below the bars in groups; each group begins on its own line, so that nothing moves."""
    last, latest, best = progress.last, progress.latest, progress.best
    memory = fact("GPU memory" if run.device.startswith("cuda") else "memory", bytes_text(progress.memory()))
    if last is None:
        yield [memory]
        return
    loss = f"{number_text(progress.loss)} (last {number_text(progress.last_loss)})"
    norm = "-" if progress.grad_norm is None else f"{progress.grad_norm:.3g}"
    yield [fact("loss", loss), fact("grad norm", norm), fact("lr", f"{last.lr:.3g}"), memory]
    results = []
    if latest is not None:
        results.append(fact(latest.split, f"{metrics_text(latest.metrics, run.metric)} (epoch {latest.epoch})"))
    if best is not None:
        results.append(fact("best", f"{metric_text(run.metric, best[0])} (epoch {best[1]})"))
    yield results
