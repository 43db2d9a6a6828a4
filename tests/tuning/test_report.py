"""Pictures and the report of a search, made from tune.json alone."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from momentum_cli.machine import environment
from momentum_cli.tuning.objective import BestMetric, ToTarget
from momentum_cli.tuning.pictures import PICTURES, draw_search, svg_pictures
from momentum_cli.tuning.report import write_report
from momentum_cli.tuning.results import best_row, ranking, short_names, values_text
from momentum_cli.tuning.tables import summary_lines, trial_rows

SPACE = {
    "model.cell": {"choice": ["lstm", "momentum"]},
    "optimizer.lr": {"log": [1e-3, 1e-1]},
    "cells.momentum.momentum": {"float": [0, 0.9]},
    "model.hidden_size": {"int": [8, 8 * 9, 8]},
}


def row(number: int, status: str = "done", timed: bool = False) -> dict[str, Any]:
    cell = "momentum" if number % 2 else "lstm"
    values = {"model.cell": cell, "optimizer.lr": 0.001 * (number + 1), "model.hidden_size": 8 * (number % 9 + 1)}
    values |= {"cells.momentum.momentum": 0.09 * (number % 10)} if cell == "momentum" else {}
    reached = timed and number > 2
    value = 0.5 + 0.03 * number
    score = None if status != "done" else (100 - number if reached else 300 - number) if timed else value
    return {
        "trial": number,
        "status": status,
        "values": values,
        "best": value,
        "value": value,
        "score": score,
        "to_target": {"steps": 100 - number, "train_seconds": 1.0} if reached else None,
        "steps": 40,
        "epochs": 1,
        "train_seconds": 1.0,
        "wall_seconds": 2.0,
        "elapsed": 2.0,
        "parameters": 10,
        "test": 0.4,
        "curve": [[4, value]],
        "error": "diverged: <b>step</b> 3" if status == "failed" else None,
        "folder": "runs/x",
    }


def content(rows: list[dict[str, Any]], objective: str = "metric") -> dict[str, Any]:
    goal = BestMetric("accuracy") if objective == "metric" else ToTarget("steps", "accuracy", 0.6)
    told = [{**one, "words": goal.text(one) if one["status"] == "done" else ""} for one in rows]
    counts = {status: sum(one["status"] == status for one in rows) for status in ("done", "pruned", "failed")}
    return {
        "folder": "runs/tune-<i>x</i>",
        "name": "my <b>recipe</b> $x$",
        "task": "digits",
        "settings": {"space": SPACE, "objective": objective, "sampler": "tpe", "pruner": "none", "trials": len(rows)},
        "keys": list(SPACE),
        "metric": "accuracy",
        "target": {"metric": "accuracy", "value": 0.6},
        "counts": counts,
        "wall_seconds": 2.0 * len(rows),
        "train_seconds": 1.0 * len(rows),
        "steps": 40 * len(rows),
        "best": best_row(told, goal),
        "own": told[0] if told else None,
        "importance": {"optimizer.lr": 0.7, "model.hidden_size": 0.3} if len(rows) > 8 else {},
        "ranking": ranking(told, goal),
        "trials": told,
        "environment": environment(),
    }


MANY = [row(number, "pruned" if number % 5 == 4 else "failed" if number == 7 else "done") for number in range(14)]
TIMED = [row(number, timed=True) for number in range(12)]


class Page(HTMLParser):
    """Checks that every element is closed and collects ids and addresses."""

    EMPTY = frozenset({"meta", "link", "br", "path", "use", "rect", "hr", "img", "polyline", "clippath"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


@pytest.mark.parametrize("made", [content(MANY), content(TIMED, "steps_to_target"), content([row(0)]), content([])])
def test_the_page_is_one_file_and_text_stays_text(made: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path, made, "model: {cell: lstm}\n")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(html)
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert all(address.startswith(("#", "data:")) for address in parsed.addresses)
    assert "<b>" not in html
    assert "<i>x" not in html
    assert "my &lt;b&gt;recipe&lt;/b&gt; $x$" in html
    if made["trials"]:
        assert "model: {cell: lstm}" in html
        timed = made["settings"]["objective"] != "metric"
        goal = "the fewest steps to accuracy &gt;= 60.00 %" if timed else "the best accuracy"
        assert f"looking for {goal}" in html
        assert len(re.findall(r'<td data-label="trial">', html)) == len(made["trials"])
    else:
        assert "No trial ended with a number." in html


def test_pictures_are_those_that_a_search_has_and_old_ones_go(tmp_path: Path) -> None:
    draw_search(content(MANY), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(PICTURES)
    for path in tmp_path.iterdir():
        assert imread(path).std() > 0.01  # something is drawn
    draw_search(content([row(0)]), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"history", "parallel", "slices"}
    draw_search(content([row(0, "failed")]), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert svg_pictures(content([])) == {}


def test_every_trial_is_drawn_once_in_each_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[int] = []
    scatter = Axes.scatter

    def counting(self: Axes, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
        drawn.append(len(x))
        return scatter(self, x, y, *rest, **options)

    monkeypatch.setattr(Axes, "scatter", counting)
    made = content(MANY)
    done = [one for one in MANY if one["status"] == "done"]
    PICTURES["history"].draw(made, tmp_path / "a.png", 7.0)
    assert sorted(drawn) == sorted([len(done), len([one for one in MANY if one["status"] == "pruned"])])
    drawn.clear()
    PICTURES["slices"].draw(made, tmp_path / "b.png", 7.0)
    momentum = sum("cells.momentum.momentum" in one["values"] for one in done)
    assert drawn == [len(done), len(done), momentum, len(done)]


def test_the_summary_ranks_trials_and_fits_its_width() -> None:
    lines = list(summary_lines(content(TIMED, "steps_to_target"), 80))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("12 trials: 12 done")
    assert lines[1].startswith("1  trial 11  89 steps  83.00 %  cell momentum")
    assert "the recipe as it is: missed, 50.00 %" in lines
    assert list(summary_lines(content([row(0, "failed")]), 80))[1] == "no trial ended with a number"
    columns, rows = trial_rows(content(MANY))
    assert all(len(one) == len(columns) for one in rows)
    assert rows[0][columns.index("cells.momentum.momentum")] == "–"
    assert rows[7][1] == "diverged: <b>step</b> 3"


def test_names_are_as_short_as_they_can_be() -> None:
    keys = ["optimizer.lr", "optimizer.groups.orthogonal.lr", "cells.adam.momentum", "cells.momentum.momentum"]
    assert list(short_names(keys).values()) == [
        "optimizer.lr",
        "orthogonal.lr",
        "adam.momentum",
        "momentum.momentum",
    ]
    assert values_text({"optimizer.lr": 0.012345, "model.cell": "lstm"}) == "lr 0.01235, cell lstm"


def test_times_of_several_machines_are_in_no_table(tmp_path: Path) -> None:
    """They would compare the machines."""
    rows = [row(0) | {"host": "a"}, row(1) | {"host": "b"}, row(2)]
    columns, table = trial_rows(content(rows))
    assert "time" not in columns
    assert [line[columns.index("machine")] for line in table] == ["a", "b", "–"]
    whole = content(rows)
    assert next(summary_lines(whole, 100)).endswith("; on 2 machines")
    whole["environment"] = environment()
    write_report(tmp_path, whole, "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a, b; they differ in speed, so no times are shown" in page
    assert "time of all runs" not in page
    one = content([row(0) | {"host": "a"}, row(1) | {"host": "a"}])
    assert "time" in trial_rows(one)[0]
    assert next(summary_lines(one, 100)).endswith("of runs")
