"""The report as readers see it: in a browser, at two widths, light and dark, without a network."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_chromium
from small_bench import made_up, small_plan

from momentum_cli.benchmark.report.report import report
from momentum_cli.benchmark.report.sources import Source, differences
from momentum_cli.benchmark.results.definitions import DEFINITIONS
from momentum_cli.benchmark.results.files import write_bench, write_curves
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.errors import DataError, RecipeError

MACHINE = {"cpu": "A processor", "cores": 2, "threads": 2, "devices": [], "torch": "2.14.1"}
ENVIRONMENT = {
    "argv": ["momentumrnn", "bench", "--cells", "<script>alert(1)</script>"],
    "started": "2026-01-02T03:04:05",
}


def write_small_bench(folder: Path, **machine: Any) -> Path:
    """Write the folder of a finished benchmark with made-up numbers: a hit, a slower hit, a miss."""
    folder.mkdir(parents=True)
    plan = small_plan(folder, "lstm,momentum@slow:momentum=0.9,gru", "0-2", target="0.1")
    curves = {
        "lstm": [[0.5, 0.3, 0.1], [0.4, 0.2, 0.09], [0.6, 0.09]],
        "momentum@slow": [[0.3, 0.1], [0.1], [0.4, 0.08]],
        "gru": [[0.9, 0.8, 0.7], [0.9, 0.85, 0.6], [0.9, 0.8, 0.5]],
    }
    results, points = made_up(plan, curves, {"lstm": 0.1, "momentum@slow": 0.12, "gru": 0.08})
    summary = summarise(plan, results, points)
    facts = {"folder": str(folder), "jobs": 1, "tuning": None, "machine": {**MACHINE, **machine}}
    write_bench(folder, {**summary, **facts, "environment": ENVIRONMENT, "definitions": DEFINITIONS})
    write_curves(folder / "runs.csv", summary["comparisons"], points)
    return folder


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bench(tmp_path_factory.mktemp("report") / "bench")


@pytest.fixture(scope="module")
def page(bench_folder: Path) -> Path:
    return Path(report([bench_folder])["report"])


@needs_chromium
@pytest.mark.timeout(240)
def test_it_reads_in_a_browser_without_a_network(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        for width in (1280, 390):
            for dark in (False, True):
                browser.open(page, width=width, dark=dark)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate("[...document.querySelectorAll('svg text')].length") > 20
                # only the picture for this width is shown
                shown = "getComputedStyle(document.querySelector('figure .{}')).display"
                assert browser.evaluate(shown.format("wide")) == ("block" if width > 700 else "none")
                assert browser.evaluate(shown.format("narrow")) == ("none" if width > 700 else "block")
                for part in ("document.body", "document.querySelector('figure svg text')"):
                    assert contrast(browser, part, dark) > 7
                # no letter is too small to read
                size = "Math.min(...[...document.querySelectorAll('figure svg text')].filter(t => t.getBBox().width)"
                size += ".map(t => t.getBoundingClientRect().height))"
                assert browser.evaluate(size) >= 8
                browser.screenshot(tmp_path / f"{width}-{dark}.png")
                assert (tmp_path / f"{width}-{dark}.png").stat().st_size > 10_000
        browser.open(page, width=700, dark=True, paper=True)
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert set(browser.requests) == {page.resolve().as_uri()}
        assert browser.messages == []


def contrast(browser: Browser, element: str, dark: bool) -> float:
    """Contrast of the element's letters with the page, by WCAG 2.1."""
    name = "fill" if "svg" in element else "color"
    colours = [
        browser.evaluate(f"getComputedStyle({element})['{name}']"),
        browser.evaluate("getComputedStyle(document.body).backgroundColor"),
    ]
    lights = []
    for colour in colours:
        channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    assert (lights[0] > lights[1]) == dark
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_it_holds_all_that_a_reader_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in (
        "small: validation mse ≤ 0.1000",
        "momentum@slow",
        "0 of 3",
        "∞",
        "A processor",
        "hidden_size: 8",  # the recipes
        "2026-01-02",
        "target not reached within 24 steps",
        *DEFINITIONS,
    ):
        assert words in text, words


def test_nothing_in_it_runs_or_comes_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text  # user text is shown, not interpreted
    addresses = set(re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\')\s>]+)', text))
    assert all(address.startswith(("#", "data:,")) for address in addresses), addresses
    assert "@import" not in text
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert {name.removeprefix("#") for name in addresses if name.startswith("#")} <= set(identifiers)


def test_several_are_put_side_by_side(bench_folder: Path, tmp_path: Path) -> None:
    other = write_small_bench(tmp_path / "other")
    result = report([bench_folder, other], out=tmp_path / "both.html")
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert result["sources"] == [str(bench_folder), str(other)]
    assert "Side by side: adding: validation mse ≤ 0.1000" in text
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_machines_are_mixed_only_by_force(bench_folder: Path, tmp_path: Path) -> None:
    other = write_small_bench(tmp_path / "other", threads=64)
    with pytest.raises(RecipeError, match=r"different machines.*threads: 2 .*; 64 .*--force"):
        report([bench_folder, other], out=tmp_path / "both.html")
    assert not (tmp_path / "both.html").exists()
    result = report([bench_folder, other], out=tmp_path / "both.html", force=True)
    assert "threads" in result["warnings"][0]
    assert "Results of different machines" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_a_source_is_named_once_for_each_machine() -> None:
    here, there = {"threads": 1}, {"threads": 2}
    assert differences([Source("one", {"earlier_machines": [here, there, there]}, {}, here, {})]) == [
        "threads: 1 (one); 2 (one)"
    ]


def test_files_of_the_user_are_left_alone(bench_folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("my page")
    with pytest.raises(RecipeError, match="not a report of momentumrnn"):
        report([bench_folder], out=mine)
    assert mine.read_text() == "my page"
    out = tmp_path / "report.html"
    report([bench_folder], out=out)
    report([bench_folder], out=out)  # its own one is replaced
    with pytest.raises(RecipeError, match=r"no folder .*none; make it"):
        report([bench_folder], out=tmp_path / "none" / "report.html")


def test_what_is_not_there_is_told(bench_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        report([tmp_path / "none"])
    with pytest.raises(DataError, match=r"neither bench.json nor result.json"):
        report([tmp_path])
    with pytest.raises(DataError, match="given twice"):
        report([bench_folder, bench_folder], out=tmp_path / "x.html")
    with pytest.raises(RecipeError, match="name one or more"):
        report([])


def _places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value of a nested content."""
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield (*path, key)
        yield from _places(content[key], (*path, key))


@pytest.mark.parametrize("tries", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_a_damaged_result_is_refused_or_shown(bench_folder: Path, tmp_path: Path, tries: int) -> None:
    """Any value of it may be missing, or be something else."""
    shutil.copytree(bench_folder, tmp_path / "b")
    path = tmp_path / "b" / "bench.json"
    text = path.read_text(encoding="utf-8")
    places = list(_places(json.loads(text)))
    draw = random.Random(tries)
    refused: list[str] = []
    for keys in [("comparisons",), *draw.sample(places, tries)]:
        content = json.loads(text)
        parent = reduce(lambda value, key: value[key], keys[:-1], content)
        if keys == ("comparisons",) or draw.random() < 0.5:
            del parent[keys[-1]]
        else:
            parent[keys[-1]] = draw.choice([None, "x", 3, [], {}, -1e400])
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            report([path.parent], out=tmp_path / "r.html")
        except DataError as error:
            refused.append(str(error))
    assert refused
    assert all(str(path.parent) in message for message in refused)
