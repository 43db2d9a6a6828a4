"""Pictures of a benchmark: the band computed by hand, the elements of a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from small_bench import curve, made_up, write_recipe

from momentum_cli.benchmark.pictures.all import draw_bench, figures, svg_pictures
from momentum_cli.benchmark.pictures.curves import band
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.results.summary import summarise


def test_the_band_by_hand() -> None:
    # one run stops after the first of three evaluations and keeps its value
    runs = [curve([0.2, 0.4, 0.6], 1.0), curve([0.9], 2.0), curve([0.1, 0.2, 0.3], 3.0)]
    xs, middle, low, high = band(runs, "train_seconds")
    assert xs == [8.0, 16.0, 24.0]  # 4, 8, 12 s; then the mean of 8 and 24; then of 12 and 36
    assert middle == [0.2, 0.4, 0.6]
    assert low == [0.1, 0.2, 0.3]
    assert high == [0.9, 0.9, 0.9]
    assert band(runs, "steps")[0] == [4.0, 8.0, 12.0]
    assert band([[], []], "steps") == ([], [], [], [])
    assert band([curve([float("nan"), 0.5], 1.0)], "steps") == ([8.0], [0.5], [0.5], [0.5])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    folder = tmp_path_factory.mktemp("plan")
    recipes = [write_recipe(folder, name) for name in ("a", "b", "c")]
    plan = make_plan(recipes, cells=["lstm,momentum@x_1:momentum=0.9"], seeds="0-1", target="0.1")
    curves = {"lstm": [[0.5, 0.1]] * 2, "momentum@x_1": [[0.5, 0.4], [0.1]]}
    results, points = made_up(plan, curves, {"lstm": 0.5, "momentum@x_1": 0.4})
    return summarise(plan, results, points), points


def test_pictures_are_elements_of_a_page(drawn: tuple[dict[str, Any], Any]) -> None:
    pictures = svg_pictures(*drawn, "p1")
    assert set(pictures) == {"curves", "time_to_target", "profile"}
    for name, svg in pictures.items():
        root = ElementTree.fromstring(svg)
        assert root.attrib["role"] == "img"
        assert "width" not in root.attrib
        assert all(value.startswith(f"p1-{name}-") for value in re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))
        assert "var(--text, #222222)" in svg
        # no colour remains that a dark page could not change
        assert not re.findall(r"(?:fill|stroke): #", svg)
        assert "<style" not in svg
        assert "http" not in svg.replace("http://www.w3.org", "")
    words = "".join(ElementTree.fromstring(pictures["time_to_target"]).itertext())
    assert "1 of 2 missed" in words
    assert "momentum@x_1" in words


def test_pictures_are_files(drawn: tuple[dict[str, Any], Any], tmp_path: Path) -> None:
    draw_bench(*drawn, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "time_to_target.png", "profile.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_there_is_a_profile_from_three_recipes_on(drawn: tuple[dict[str, Any], Any]) -> None:
    summary, points = drawn
    two = {**summary, "comparisons": summary["comparisons"][:2], "aggregate": None}
    assert set(figures(two, points)) == {"curves", "time_to_target"}
