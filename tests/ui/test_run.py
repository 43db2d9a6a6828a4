"""The displays: their content, their timing, and that they harm neither a log file nor the training."""

from __future__ import annotations

import inspect
import io
import math
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.console import Console

from momentum_cli.progress import Evaluation, NullUi, RunStart, StepInfo, Ui
from momentum_cli.ui import make_ui
from momentum_cli.ui.estimate import SMOOTHING, Progress
from momentum_cli.ui.run_live import RichUi
from momentum_cli.ui.run_plain import PlainUi, QuietUi
from momentum_cli.ui.summary import evaluation_text, header, next_steps, summary_rows
from momentum_cli.wording import bytes_text, clock_text, metric_text, number_text, printable, seconds_text

DEMO = Path(__file__).parents[1] / "live_demo.py"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
NASTY = "runs/[red]x[/red] [/] \x1b[31mred\x07\r\udc80"

RUN = RunStart(
    name="digits",
    run_dir="runs/digits-momentum-001",
    cell="momentum",
    backend="native",
    device="cpu",
    precision="fp32",
    parameters=71_434,
    task="digits",
    train_samples=1280,
    epochs=10,
    total_steps=400,
    steps_per_epoch=40,
    start_step=0,
    metric="accuracy",
    target=("accuracy", 0.9),
    seed=0,
    batch_size=32,
)


@pytest.mark.parametrize(
    ("unit", "text"),
    [("sequences", "batch 2048"), ("tokens", "batch 2,048 tokens"), ("streams", "batch 2,048 streams")],
)
def test_a_batch_is_shown_with_what_it_counts(unit: str, text: str) -> None:
    assert text in header(replace(RUN, batch_size=2048, batch_unit=unit))


RESULT: dict[str, Any] = {
    "cell": "momentum",
    "parameters": 71_434,
    "seed": 3,
    "device": "cpu",
    "backend": "native",
    "epochs": 10,
    "steps": 400,
    "train_seconds": 12.5,
    "wall_seconds": 700.0,
    "validation": {"loss": 0.2, "accuracy": 0.95},
    "test": {"loss": 0.3, "accuracy": 0.94},
    "best": {"metric": "accuracy", "value": 0.95, "step": 360, "epoch": 9, "split": "validation"},
    "final": {"step": 400, "epoch": 10, "split": "validation", "metrics": {"loss": 0.4, "accuracy": 0.93}},
    "target": {
        "metric": "accuracy",
        "value": 0.9,
        "reached": True,
        "steps": 200,
        "samples": 6400,
        "train_seconds": 6.25,
        "wall_seconds": 8.0,
    },
    "stop_reason": "epochs",
    "run_dir": "/elsewhere/my [run] 1",
    "selected_on": "validation",
    "samples_per_second": 1024.0,
    "ms_per_step": 31.25,
}


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(number: int, *, seconds: float = 0.1, loss: float | None = 0.5) -> StepInfo:
    """The step `number` of `RUN`, each taking `seconds`."""
    return StepInfo(
        step=number,
        epoch=(number - 1) // 40 + 1,
        step_in_epoch=(number - 1) % 40 + 1,
        loss=loss,
        grad_norm=1.25,
        lr=1e-3,
        samples=32 * number,
        train_seconds=seconds * number,
        memory_bytes=2**30,
    )


def evaluation(number: int, accuracy: float, *, best: bool = True, reached: bool = False) -> Evaluation:
    metrics = {"loss": 0.25, "accuracy": accuracy}
    return Evaluation(number, number // 40, 32 * number, "validation", metrics, 0.1 * number, 99.0, best, reached)


def drive(ui: Ui, clock: Clock, steps: int, *, seconds: float = 0.1) -> None:
    """A whole run: an evaluation an epoch, the target in the fifth, a result."""
    ui.start(RUN)
    for number in range(1, steps + 1):
        clock.now += seconds
        ui.step(step(number, seconds=seconds))
        if number % 40 == 0:
            ui.evaluation_progress(50, 100, "validation")
            ui.evaluated(evaluation(number, number / 400, reached=number >= 200))
    ui.finish(RESULT)
    ui.close()


@contextmanager
def terminal(columns: int = 80) -> Iterator[tuple[TextIO, list[bytes]]]:
    """A pseudo-terminal, and everything that was written to it once the block is over."""
    import fcntl
    import struct
    import termios
    import threading

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    received: list[bytes] = []

    def drain() -> None:
        try:
            while data := os.read(master, 65536):
                received.append(data)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    stream = open(slave, "w", encoding="utf-8")  # noqa: SIM115 - closed below, so that the reader ends
    try:
        yield stream, received
    finally:
        stream.close()
        reader.join()
        os.close(master)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (metric_text("accuracy", 0.94716), "94.72 %"),
        (metric_text("mse", 0.94716), "0.9472"),
        (metric_text("accuracy", math.nan), "nan"),
        (metric_text("accuracy", None), "-"),
        (number_text(0.0), "0.0000"),
        (number_text(1.5e-7), "1.500e-07"),
        (number_text(-12.345), "-12.35"),
        (number_text(1234.56), "1234.56"),
        (number_text(0.1234567), "0.1235"),
        (number_text(0.01234567), "0.01235"),
        (number_text(-0.00234567), "-0.002346"),
        (number_text(0.01), "0.01000"),
        (number_text(3e9), "3.000e+09"),
        (clock_text(7.4), "0:07"),
        (clock_text(3723), "1:02:03"),
        (clock_text(2 * 86400 + 3723), "2 d 01:02:03"),
        (clock_text(None), "-:--"),
        (clock_text(math.inf), "-:--"),
        (seconds_text(59.96), "60.0 s"),
        (seconds_text(3723), "1:02:03 (3,723 s)"),
        (bytes_text(512), "512 B"),
        (bytes_text(1536), "1.5 KiB"),
        (bytes_text(200 * 2**20), "200 MiB"),
        (bytes_text(5 * 2**40), "5.0 TiB"),
        (printable("ä [b] → \t\n\x1b[31m\udc80"), "ä [b] →  \n\\x1b[31m\\udc80"),
    ],
)
def test_wording(got: str, expected: str) -> None:
    assert got == expected


def test_speed_is_taken_over_the_last_ten_training_seconds() -> None:
    progress = Progress(RUN, 0.0)
    for number in range(1, 101):  # 100 steps of 0.2 s …
        progress.step(step(number, seconds=0.2), 0.2 * number)
        progress.measure()
    assert progress.measure() == pytest.approx((160.0, 200.0))
    seconds = 20.0
    for number in range(101, 301):  # … and 200 of 0.1 s: the slow ones are no longer seen
        seconds += 0.1
        progress.step(replace(step(number), train_seconds=seconds), seconds)
        progress.measure()
    assert progress.measure() == pytest.approx((320.0, 100.0))


def test_time_left_counts_evaluations_and_the_nearer_budget() -> None:
    progress = Progress(RUN, 0.0)
    progress.step(step(1), 10.0)
    assert progress.seconds_left() is None  # one step says nothing about the pace
    progress.step(step(101), 60.0)  # 100 steps in 50 s of the wall, in whatever they were spent
    assert progress.seconds_left() == pytest.approx(299 * 0.5)
    assert progress.fraction() == pytest.approx(101 / 400)
    progress.run = replace(RUN, max_seconds=20.2)
    assert progress.seconds_left() == pytest.approx(20.2 - 10.1)
    assert progress.fraction() == pytest.approx(0.5)
    progress.run = replace(RUN, total_steps=None)
    assert progress.seconds_left() is None
    assert progress.fraction() is None


def test_smoothed_loss_is_an_unbiased_average_that_survives_a_nan() -> None:
    progress = Progress(RUN, 0.0)
    losses = [4.0, 2.0, math.nan, None, 1.0]
    for number, loss in enumerate(losses, start=1):
        progress.step(step(number, loss=loss), 0.0)
    weights = [SMOOTHING**2, SMOOTHING, 1.0]
    expected = sum(w * x for w, x in zip(weights, [4.0, 2.0, 1.0], strict=True)) / sum(weights)
    assert progress.loss == pytest.approx(expected)
    assert progress.last_loss == 1.0


def test_plain_lines_come_at_the_interval_and_with_each_evaluation() -> None:
    clock, stream = Clock(), io.StringIO()
    drive(PlainUi(stream, interval_seconds=10.0, clock=clock), clock, 400, seconds=0.125)
    lines = stream.getvalue().splitlines()
    progress = [line for line in lines if "samples/s" in line and line.startswith("epoch")]
    assert [re.search(r"step (\d+)/", line)[1] for line in progress] == ["80", "160", "240", "320", "400"]  # type: ignore[index]
    assert "loss 0.5000 (last 0.5000), grad norm 1.2500, lr 0.001, 256 samples/s, 125.0 ms/step" in progress[1]
    assert "memory 1.0 GiB, elapsed 0:20, left 0:30" in progress[1]
    assert len([line for line in lines if ": validation accuracy" in line]) == 10
    reached = [line for line in lines if line.startswith("target accuracy") and "reached after" in line]
    expected = "target accuracy >= 90.00 % reached after 200 steps, 6,400 samples, 20.0 s of training (99.0 s wall)"
    assert reached[0] == expected


def test_plain_lines_thin_out_in_a_long_run() -> None:
    clock, stream = Clock(), io.StringIO()
    ui = PlainUi(stream, clock=clock)
    ui.start(replace(RUN, total_steps=None, epochs=None))
    for number in range(1, 10 * 3600 + 1):
        clock.now += 1.0
        ui.step(step(number, seconds=1.0))
    lines = len(stream.getvalue().splitlines())
    assert 10 * 60 - 5 < lines < 12 * 60  # ten hours: about one line a minute


def test_no_progress_leaves_evaluations_and_summary() -> None:
    clock, stream = Clock(), io.StringIO()
    drive(PlainUi(stream, progress=False, clock=clock), clock, 400)
    text = stream.getvalue()
    assert not re.search(r"^epoch.*samples/s", text, re.M)
    assert text.count(": validation accuracy") == 10
    assert "run folder" in text


def test_quiet_shows_warnings_only() -> None:
    clock, stream = Clock(), io.StringIO()
    ui = QuietUi(stream)
    ui.note("hello")
    ui.note("careful", "warning")
    drive(ui, clock, 40)
    assert stream.getvalue() == "warning: careful\n"


def test_a_resumed_run_does_not_announce_an_old_target_again() -> None:
    clock, stream = Clock(), io.StringIO()
    ui = PlainUi(stream, clock=clock)
    ui.start(replace(RUN, start_step=240, best=RESULT["best"], reached=RESULT["target"]))
    ui.evaluated(evaluation(280, 0.91, best=False, reached=True))
    text = stream.getvalue()
    assert "resumed at step 240" in text
    assert "reached after" not in text


def test_summary_of_a_target_that_was_missed() -> None:
    rows = {row.label: row for row in summary_rows(RESULT | {"target": RESULT["target"] | {"reached": False}})}
    assert rows["target"] == ("target", "accuracy >= 90.00 % not reached", False)
    error = {"metric": "mse", "value": 0.01, "reached": False}
    rows = {row.label: row for row in summary_rows(RESULT | {"target": error})}
    assert rows["target"].value == "mse <= 0.01000 not reached"
    assert "target" not in {row.label for row in summary_rows(RESULT | {"target": None})}


def test_summary_tells_best_last_and_test_apart() -> None:
    rows = {row.label: row.value for row in summary_rows(RESULT)}
    assert rows["best validation"] == "accuracy 95.00 %, loss 0.2000 (epoch 9, step 360)"
    assert rows["last validation"] == "accuracy 93.00 %, loss 0.4000 (epoch 10, step 400)"
    assert rows["test"] == "accuracy 94.00 %, loss 0.3000 (at the best validation)"
    assert rows["time"] == "12.5 s of training, 11:40 (700 s) wall; 10 epochs, 400 steps"
    assert rows["speed"] == "1,024 samples/s, 31.2 ms/step"
    rows = {row.label: row.value for row in summary_rows(RESULT | {"epochs": 1, "steps": 1})}
    assert rows["time"].endswith("; 1 epoch, 1 step")


def test_summary_says_selected_on_test() -> None:
    best = RESULT["best"] | {"split": "test", "value": 0.94}
    rows = {row.label: row.value for row in summary_rows(RESULT | {"validation": None, "best": best})}
    assert rows["best test"] == "accuracy 94.00 %, loss 0.3000 (epoch 9, step 360; selected on test)"
    assert "test" not in rows


def test_summary_of_a_run_without_any_evaluation() -> None:
    rows = summary_rows({"cell": "lstm", "stop_reason": "max_seconds", "best": None, "test": None, "target": None})
    assert ("stopped", "the budget in seconds is used up", None) in rows


def test_a_squared_error_is_not_said_twice() -> None:
    text = evaluation_text(
        replace(evaluation(40, 0.5), metrics={"loss": 0.25, "mse": 0.25}), replace(RUN, metric="mse")
    )
    assert text == "epoch 1/10, step 40: validation mse 0.2500 (best)"


@pytest.mark.parametrize(
    ("reason", "override"),
    [
        ("epochs", "train.epochs=20"),
        ("max_steps", "train.max_steps=800"),
        ("max_seconds", "train.max_seconds=26"),
        ("target", "train.stop_at_target=false"),
        ("early_stopping", "train.early_stopping=null"),
    ],
)
def test_next_steps_can_be_pasted_into_a_shell(reason: str, override: str) -> None:
    commands = [command for _, command in next_steps(RESULT | {"stop_reason": reason})]
    assert [shlex.split(command) for command in commands] == [
        ["momentumrnn", "eval", "/elsewhere/my [run] 1"],
        ["momentumrnn", "train", "--resume", "/elsewhere/my [run] 1", override],
    ]


def test_downloads_are_announced_once_at_each_end() -> None:
    clock, stream = Clock(), io.StringIO()
    ui = PlainUi(stream, interval_seconds=10.0, clock=clock)
    for done in range(0, 1001, 50):
        ui.download("train.gz", done * 1024, 1000 * 1024)
        clock.now += 1.0
    ui.download("train.gz", 1000 * 1024, 1000 * 1024)
    assert stream.getvalue().splitlines() == [
        "downloading train.gz (1000 KiB)",
        "downloading train.gz: 500 KiB of 1000 KiB",
        "downloaded train.gz (1000 KiB)",
    ]


def test_a_preparation_is_a_line_at_each_end_and_one_an_interval() -> None:
    clock, stream = Clock(), io.StringIO()
    ui = PlainUi(stream, interval_seconds=10.0, clock=clock)
    for done in range(0, 2001, 100):
        ui.preparation("computing spectra", done, 2000)
        clock.now += 1.0
    assert stream.getvalue().splitlines() == [
        "computing spectra: 0 of 2,000 files",
        "computing spectra: 1,000 of 2,000 files",
        "computing spectra: 2,000 of 2,000 files",
    ]


def test_plain_output_holds_no_control_characters_whatever_the_user_named_things() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", newline="\n")
    clock = Clock()
    ui = PlainUi(stream, interval_seconds=1.0, clock=clock)
    ui.download(NASTY, 0, None)
    ui.start(replace(RUN, run_dir=NASTY, task=NASTY))
    ui.note(NASTY, "error")
    for number in range(1, 41):
        clock.now += 0.1
        ui.step(step(number))
    ui.finish(RESULT | {"run_dir": NASTY})
    text = buffer.getvalue().decode("ascii")
    assert not CONTROL.search(text)
    assert "error: runs/[red]x[/red] [/] \\x1b[31mred\\x07\\r" in text


class Gone(io.StringIO):
    """A terminal that was closed after its first lines."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        if self.tell() > 200:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("kind", [PlainUi, RichUi])
def test_a_terminal_that_goes_away_does_not_end_the_training(kind: type[PlainUi | RichUi]) -> None:
    clock, stream = Clock(), Gone()
    drive(kind(stream, clock=clock), clock, 400, seconds=1.0)
    assert stream.tell() > 200
    closed = io.StringIO()
    closed.close()
    drive(kind(closed, clock=clock), clock, 40, seconds=1.0)


def test_the_interface_is_chosen_by_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(make_ui(stream=io.StringIO()), PlainUi)
    assert isinstance(make_ui(quiet=True), QuietUi)
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stdout", None)  # as Python has it after `>&-`
        assert type(make_ui()) is NullUi
    monkeypatch.setenv("FORCE_COLOR", "1")  # asks for colour, not for a display in a log file
    assert isinstance(make_ui(stream=io.StringIO()), PlainUi)
    with terminal() as (stream, _):
        assert isinstance(make_ui(stream=stream), RichUi)
        assert isinstance(make_ui(stream=stream, progress=False), PlainUi)
        monkeypatch.setattr(sys, "stderr", stream)
        assert isinstance(make_ui(json=True), RichUi)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(make_ui(stream=stream), PlainUi)


def test_every_interface_has_every_method_of_the_protocol() -> None:
    wanted = {name: member for name, member in inspect.getmembers(Ui, inspect.isfunction) if not name.startswith("__")}
    wanted.pop("_no_init_or_replace_init", None)
    for kind in (NullUi, QuietUi, PlainUi, RichUi):
        for name, member in wanted.items():
            assert list(inspect.signature(getattr(kind, name)).parameters) == list(inspect.signature(member).parameters)


def rendered(ui: RichUi, width: int) -> list[str]:
    """The live display as it stands, without styles."""
    console = Console(file=io.StringIO(), width=width, height=40, color_system=None, legacy_windows=False)
    console.print(ui)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_live_display_fits_the_terminal_and_says_everything(width: int) -> None:
    clock = Clock()
    with terminal(width) as (stream, _), RichUi(stream, clock=clock) as ui:
        ui.start(replace(RUN, run_dir="runs/a-very-long-name/of-a-folder/that-does-not-fit/digits-[momentum]-001"))
        for number in range(1, 211):
            clock.now += 0.1
            ui.step(step(number))
        ui.evaluated(evaluation(200, 0.93, reached=True))
        clock.now += 1.0
        ui.step(step(211))
        lines = rendered(ui, width)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        for fact in (
            "momentum on digits",
            "-[momentum]-001",
            "71,434 parameters",
            "native on cpu",
            "epoch 6/10 ",
            "step 11/40 ",
            "53 %",
            "loss 0.5000 (last 0.5000)",
            "grad norm 1.25",
            "lr 0.001",
            "memory 1.0 GiB",
            "validation accuracy 93.00 %, loss 0.2500 (epoch 5)",
            "best 93.00 % (epoch 5)",
            "target accuracy >= 90.00 % reached after 200 steps",
            *(["320 samples/s, 100.0 ms/step", "0:22 elapsed, 0:20 left"] if width >= 80 else []),
        ):
            assert fact in text
        ui.evaluation_progress(250, 1000, "test")
        assert re.search(r"eval +250/1,000 ━+─+ +25 % +test", "\n".join(rendered(ui, width)))


def test_a_preparation_has_a_bar_until_it_is_over() -> None:
    with terminal() as (stream, _), RichUi(stream, clock=Clock()) as ui:
        ui.preparation("computing spectra", 250, 1000)
        assert re.search(r"files +250/1,000 ━+─+ +25 % +computing spectra", "\n".join(rendered(ui, 80)))
        ui.preparation("computing spectra", 1000, 1000)
        assert "spectra" not in "\n".join(rendered(ui, 80))


def test_the_display_is_redrawn_at_most_eight_times_a_second() -> None:
    clock = Clock()
    with terminal() as (stream, _), RichUi(stream, clock=clock) as ui:
        draws = []
        draw = ui._screen.draw
        ui._screen.draw = lambda now: (draws.append(now), draw(now))[1]  # type: ignore[method-assign,func-returns-value]
        ui.start(RUN)
        for number in range(1, 401):
            clock.now += 0.005
            ui.step(step(number))
    assert 12 <= len(draws) <= 2 * 8 + 1  # two seconds


def test_a_step_that_draws_nothing_costs_less_than_twenty_microseconds() -> None:
    infos = [step(number) for number in range(1, 2001)]
    with terminal() as (stream, _), RichUi(stream) as rich:
        for ui in (rich, PlainUi(io.StringIO())):
            ui.start(RUN)
            rich._screen.next_draw = math.inf
            costs = []
            for _ in range(10):
                begin = time.perf_counter()
                for info in infos:
                    ui.step(info)
                costs.append((time.perf_counter() - begin) / len(infos))
            assert min(costs) < 20e-6


@pytest.mark.parametrize("no_color", [False, True])
def test_notes_are_shown_literally_and_colour_follows_no_color(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    clock = Clock()
    with terminal() as (stream, received):
        ui = RichUi(stream, clock=clock)
        ui.start(RUN)
        ui.note(NASTY, "warning")
        drive(ui, clock, 40)
    output = b"".join(received).decode()
    assert "warning: runs/[red]x[/red] [/] \\x1b[31mred\\x07\\r" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output)
    coloured = re.search(r"\x1b\[(?:\d+;)*(?:3[0-7]|38;5;\d+|9[0-7])m", output)
    assert bool(coloured) is not no_color
    assert output.count("\x1b[?25h") >= 1  # the cursor is given back
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def test_prints_of_others_go_above_the_display_and_redirected_files_keep_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = io.StringIO()
    with terminal() as (stream, received):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", log)
        with RichUi(stream) as ui:
            ui.start(RUN)
            print("a plug-in prints")
            print("a library complains", file=sys.stderr)
        assert sys.stdout is stream
    assert log.getvalue() == "a library complains\n"
    assert b"a plug-in prints\r\n" in b"".join(received)


def test_json_leaves_stdout_alone_and_a_pipe_gets_plain_lines() -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), "0.1", "--json"], capture_output=True, check=True, timeout=120, env=os.environ
    )
    assert done.stdout == b""
    assert not CONTROL.search(done.stderr.decode())
    assert b"epoch 6/6, step 240: validation accuracy 95.52 %" in done.stderr


def test_importing_the_interface_loads_neither_torch_nor_rich() -> None:
    program = "import sys, momentum_cli.ui; print([n for n in ('torch', 'rich', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
