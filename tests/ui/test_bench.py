"""The displays of a benchmark: plain lines for logs, a leader board on a terminal."""

from __future__ import annotations

import io
import sys
import unicodedata
from dataclasses import replace
from functools import partial

import pytest
from rich.console import Console
from small_bench import made_up, small_plan

from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.tables.text import summary_text
from momentum_cli.progress import NullBenchUi, RunState
from momentum_cli.ui import make_bench_ui
from momentum_cli.ui.bench_live import RichBenchUi
from momentum_cli.ui.bench_plain import PlainBenchUi, QuietBenchUi


def state(label: str, seed: int, status: str = "waiting", **values: object) -> RunState:
    waiting = RunState(f"digits-{label}-seed{seed}", "digits", label, seed, "waiting", "accuracy", total_steps=100)
    return replace(waiting, status=status, **values)  # type: ignore[arg-type]


RUNS = [state(label, seed) for seed in range(3) for label in ("lstm", "momentum")]
TARGETS = {"digits": ("accuracy", 0.9)}


class Terminal:
    """A terminal of a certain size and a clock that stands still until told otherwise."""

    def __init__(self, width: int, height: int) -> None:
        self.console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)
        self.now = 0.0
        self.ui = RichBenchUi(io.StringIO(), clock=lambda: self.now, console=self.console)

    def lines(self) -> list[str]:
        """What the display shows now."""
        return [str(text) for text in self.ui.__rich_console__(self.console, self.console.options)]


@pytest.fixture(params=[(80, 24), (140, 40), (40, 12)])
def terminal(request: pytest.FixtureRequest) -> Terminal:
    return Terminal(*request.param)


def test_every_run_has_a_line_and_the_board_fills_in(terminal: Terminal) -> None:
    ui = terminal.ui
    with ui:
        assert terminal.lines() == ["loading torch, the recipes and the data …"]
        ui.start("benchmark", RUNS, TARGETS)
        ui.update(state("lstm", 0, "training", step=50, value=0.8, best=0.85))
        ended = {"step": 40, "value": 0.91, "best": 0.91, "target_steps": 40, "target_seconds": 2.0}
        ui.update(state("momentum", 0, "reached", **ended))
        ui.update(state("momentum", 1, "missed", step=100, best=0.5, reason="target not reached"))
        ui.update(state("lstm", 1, "reached", **{**ended, "target_steps": 80, "target_seconds": 4.0}))
        lines = terminal.lines()
    width, height = terminal.console.width, terminal.console.height
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= height
    text = "\n".join(lines)
    assert "3 of 6 runs" in text
    board = lines[next(i for i, line in enumerate(lines) if line.startswith("digits:")) :]
    # the median of 2 s and a miss is infinite: the lstm leads
    assert board[1].startswith("1 lstm")
    assert board[2].startswith("2 momentum")
    if width >= 80:
        assert "1 of 1" in board[1]
        assert "4.00 s" in board[1]
        assert "1 of 2" in board[2]
        assert "∞ s" in board[2]
        running = next(line for line in lines if line.startswith("lstm seed 0"))
        assert "50/100" in running
        assert "80.00 %" in running
        assert "best   85.00 %" in running
        assert "━" in running
        assert "─" in running


def test_many_runs_fit_a_small_terminal() -> None:
    terminal = Terminal(80, 15)
    runs = [state("lstm", seed) for seed in range(50)]
    with terminal.ui as ui:
        ui.start("benchmark", runs, TARGETS)
        for seed in range(20):
            ui.update(state("lstm", seed, "reached", target_seconds=1.0))
        ui.update(state("lstm", 20, "training", step=3))
        lines = terminal.lines()
    assert len(lines) <= 15
    assert any(line.startswith("lstm seed 20") for line in lines)
    hidden = next(line for line in lines if line.startswith("…"))
    shown = sum(line.startswith("lstm seed") for line in lines)
    over, waiting = (int(word) for word in hidden.split() if word.isdigit())
    assert over + waiting + shown == 50


def test_a_failure_is_shown_with_its_reason() -> None:
    terminal = Terminal(100, 30)
    with terminal.ui as ui:
        ui.start("benchmark", RUNS, TARGETS)
        ui.update(state("lstm", 0, "failed", reason="out of memory: x"))
    assert "failed after 0 steps" in terminal.console.file.getvalue()  # type: ignore[attr-defined]
    assert "out of memory: x" in terminal.console.file.getvalue()  # type: ignore[attr-defined]


def test_plain_lines_have_no_control_characters() -> None:
    stream, now = io.StringIO(), [0.0]
    with PlainBenchUi(stream, interval_seconds=10, clock=lambda: now[0]) as ui:
        ui.start("benchmark", [*RUNS, state("a\x1b[31mb", 0)], TARGETS)
        for step in range(30):
            now[0] += 1.0
            ui.update(state("lstm", 0, "training", step=step, value=0.5))
        ui.update(state("lstm", 0, "reached", step=30, best=0.9, train_seconds=1.5))
        ui.update(state("lstm", 0, "reached", step=30, best=0.9, train_seconds=1.5))
        ui.update(state("a\x1b[31mb", 0, "missed", step=30, reason="too\x07slow"))
        ui.note("careful", "warning")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "benchmark: 7 runs; target digits: accuracy >= 90.00 %"
    assert sum("lstm seed 0 step" in line for line in lines) == 3  # one in ten seconds
    assert lines[4] == "[1/7] digits lstm seed 0: reached after 30 steps, 1.5 s of training; best accuracy 90.00 %"
    assert sum("[1/7]" in line for line in lines) == 1
    assert lines[-1] == "warning: careful"
    assert not [c for c in stream.getvalue() if unicodedata.category(c) == "Cc" and c != "\n"]


def test_kept_runs_are_counted() -> None:
    stream = io.StringIO()
    PlainBenchUi(stream).start("benchmark", [state("lstm", 0, "reached"), state("lstm", 1)], TARGETS)
    assert "2 runs, 1 of them kept from before" in stream.getvalue()


def test_quiet_shows_warnings_alone() -> None:
    stream = io.StringIO()
    ui = QuietBenchUi(stream)
    ui.start("benchmark", RUNS, TARGETS)
    ui.update(state("lstm", 0, "reached"))
    ui.note("nothing")
    ui.note("something", "warning")
    assert stream.getvalue() == "warning: something\n"


def test_the_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stdout", None)  # as Python has it after `>&-`
        assert type(make_bench_ui()) is NullBenchUi
    assert isinstance(make_bench_ui(stream=io.StringIO()), PlainBenchUi)
    assert isinstance(make_bench_ui(quiet=True, stream=io.StringIO()), QuietBenchUi)


@pytest.mark.parametrize("width", [80, 140])
def test_the_summary_fits_the_terminal(width: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    plan = small_plan(tmp_path_factory.mktemp("plan"), "lstm,momentum", "0-2", target="0.1")
    results, points = made_up(plan, {"lstm": [[0.1]] * 3, "momentum": [[0.9]] * 3}, {"lstm": 1.0, "momentum": 1.0})
    summary = {**summarise(plan, results, points), "folder": "runs/x", "jobs": 1, "tuning": None}
    lines = list(summary_text(summary, width))
    # Of tables, whose columns are apart, and not the sentences below them.
    tables = [line for line in lines if line.startswith(("cell", "lstm", "momentum")) and "  " in line]
    assert max(map(len, tables)) <= width
    assert len(tables) == (3 if width == 140 else 6)
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainBenchUi(ascii_stream).finish(partial(summary_text, summary))
    ascii_stream.seek(0)
    text = ascii_stream.read()
    assert "inf" in text
    assert "\\u" not in text
