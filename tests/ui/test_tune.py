"""The displays of a search: what they show, at the widths of terminals and in log files."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from momentum_cli.progress import TrialState, TuneStart
from momentum_cli.ui import make_tune_ui
from momentum_cli.ui.tune_live import RichTuneUi
from momentum_cli.ui.tune_plain import PlainTuneUi, QuietTuneUi

SEARCH = TuneStart(
    name="tune-digits-001",
    folder="runs/tune-digits-001",
    trials=20,
    objective="fewest steps to the target, accuracy >= 95.00 %",
    metric="accuracy",
    sampler="tpe",
    pruner="hyperband",
    kept=[],
)
VALUES = "cell momentum, lr 0.02, momentum 0.5, step_size 1.2"


def over(place: int, steps: int | None, status: str = "done") -> TrialState:
    return TrialState(
        place,
        VALUES,
        status,  # type: ignore[arg-type]
        step=400,
        value=0.96,
        score="" if steps is None else f"{steps} steps",
        key=None if steps is None else (steps, 0.0),
        reason="diverged: \x1b[2Jstep 3" if status == "failed" else None,
        seconds=2.0,
    )


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def live(width: int, height: int = 24) -> tuple[RichTuneUi, Clock, Console]:
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    return RichTuneUi(io.StringIO(), clock=clock, console=console), clock, console


def lines(ui: RichTuneUi, console: Console) -> list[str]:
    return [text.plain for text in ui.__rich_console__(console, console.options)]


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_live_display_has_the_best_the_running_and_the_counts_in_every_width(width: int) -> None:
    ui, clock, console = live(width)
    with ui:
        assert "loading" in lines(ui, console)[0]
        ui.start(SEARCH)
        for place in range(10):
            clock.seconds += 3
            ui.trial(over(place, None if place % 4 == 3 else 300 - 10 * place, "pruned" if place % 4 == 3 else "done"))
        ui.trial(TrialState(10, VALUES, "running", step=120, total_steps=1200, value=0.71))
        shown = lines(ui, console)
        assert all(len(line) <= width for line in shown)
        assert len(shown) <= console.height
        whole = "\n".join(shown)
        assert "of 20 trials, 0:30" in whole
        assert "left 0:30" in whole  # ten more trials at three seconds each
        for words in ("running 1", "done 8", "pruned 2"):
            assert words in whole
        best = [line for line in shown if line.startswith("1 ")]
        assert "trial 9" in best[0]
        assert "210 steps" in best[0]
        assert any("trial 10" in line and "━─" in line for line in shown)


def test_a_time_limit_bounds_the_time_left_and_kept_trials_took_none() -> None:
    ui, clock, _ = live(80)
    with ui:
        ui.start(TuneStart(**{name: getattr(SEARCH, name) for name in SEARCH.__slots__} | {"kept": [over(0, 250)]}))
        assert ui.seconds_left() is None
        clock.seconds = 10
        ui.trial(over(1, 240))
        assert ui.seconds_left() == 180  # one made in ten seconds, eighteen to go
        assert len(lines(ui, ui._screen.console)) > 3
    limited, clock, _ = live(80)
    with limited:
        limited.start(TuneStart(**{name: getattr(SEARCH, name) for name in SEARCH.__slots__} | {"time_limit": 60.0}))
        clock.seconds = 10
        limited.trial(over(1, 240))
        assert limited.seconds_left() == 50


def test_a_failure_is_shown_at_once_and_cannot_drive_the_terminal() -> None:
    ui, _, console = live(80)
    with ui:
        ui.start(SEARCH)
        ui.trial(over(0, None, "failed"))
        assert "\x1b[2Jstep" not in console.file.getvalue()  # type: ignore[attr-defined]
        assert "\\x1b[2Jstep 3" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_trial_on_a_cluster_says_where_it_runs() -> None:
    state = TrialState(0, VALUES, "running", step=20, total_steps=100, value=0.6, worker="node\x1b7")
    ui, _, console = live(140)
    with ui:
        ui.start(SEARCH)
        ui.trial(state)
        assert any("trial 0" in line and r"on node\x1b7: " in line for line in lines(ui, console))
    stream, clock = io.StringIO(), Clock()
    plain = PlainTuneUi(stream, clock=clock)
    plain.start(SEARCH)
    clock.seconds = 16
    plain.trial(state)
    assert stream.getvalue().splitlines()[-1] == r"0:16: trial 0 step 20/100 60.00 % on node\x1b7"


def test_plain_lines_name_every_trial_once_and_the_best() -> None:
    stream, clock = io.StringIO(), Clock()
    ui = PlainTuneUi(stream, clock=clock)
    ui.start(SEARCH)
    ui.trial(TrialState(0, VALUES, "running", step=10, total_steps=100, value=0.5))
    clock.seconds = 16
    ui.trial(TrialState(0, VALUES, "running", step=20, total_steps=100, value=0.6))
    for state in (over(0, 300), over(0, 300), over(1, 320), over(2, None, "pruned"), over(3, None, "failed")):
        ui.trial(state)
    ui.finish(lambda width: [f"summary of {width}"])
    assert stream.getvalue().splitlines() == [
        "20 trials: fewest steps to the target, accuracy >= 95.00 %; sampler tpe, pruner hyperband",
        "0:16: trial 0 step 20/100 60.00 %",
        f"[1/20] trial 0 done: 300 steps, accuracy 96.00 %; {VALUES} (2.0 s) (best so far)",
        f"[2/20] trial 1 done: 320 steps, accuracy 96.00 %; {VALUES} (2.0 s)",
        f"[3/20] trial 2 pruned at step 400: accuracy 96.00 %; {VALUES} (2.0 s)",
        f"[4/20] trial 3 failed: diverged: \\x1b[2Jstep 3; {VALUES} (2.0 s)",
        "summary of 120",
    ]


def test_the_display_is_chosen_as_for_other_commands() -> None:
    assert isinstance(make_tune_ui(stream=io.StringIO()), PlainTuneUi)
    quiet = io.StringIO()
    with make_tune_ui(stream=quiet, quiet=True) as ui:
        assert isinstance(ui, QuietTuneUi)
        ui.note("a folder")
        ui.note("a worker died", "warning")
    assert quiet.getvalue() == "warning: a worker died\n"
