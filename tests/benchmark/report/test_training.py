"""The report of one training: what it shows, and that nothing in it comes from elsewhere."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
from browser import Browser, needs_chromium

from momentum_cli.benchmark.report.report import report
from momentum_cli.errors import DataError
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

SMALL = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.02}, "train": {"max_steps": 2}}


@pytest.fixture(scope="module")
def forecast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    rows = [f"2024-01-{1 + t // 24:02}T{t % 24:02}:00:00,{100 + 10 * math.sin(t / 3):.3f}" for t in range(200)]
    (folder / "a.csv").write_text("time,<b>load\n" + "\n".join(rows), encoding="utf-8")
    task = {"name": "files", "path": str(folder / "a.csv"), "kind": "forecasting", "order": "time"}
    task |= {"target": "<b>load", "window": 8, "horizon": 3, "quantiles": [0.1, 0.5, 0.9]}
    train(parse_recipe({"task": task, **SMALL}), out=folder / "run")
    return folder / "run"


def table(page: str) -> list[list[str]]:
    """Return the texts of the first table of a page, its header first."""
    rows = re.findall(r"<tr>(.*?)</tr>", page[: page.index("</table>")], re.DOTALL)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_metrics_are_those_of_the_result_next_to_each_naive_predictor(forecast: Path) -> None:
    result = json.loads((forecast / "result.json").read_text(encoding="utf-8"))
    page = Path(report([forecast])["report"]).read_text(encoding="utf-8")
    head, *rows = table(page)
    assert head[:4] == ["metric", "best validation", "test", "95 %"]
    assert head[4:] == [f"naive: {one['name']}" for one in result["baselines"]]
    assert [row[0] for row in rows] == list(result["test"])
    mae = next(row for row in rows if row[0] == "mae")
    assert mae[2] == f"{result['test']['mae']:.4f}"
    assert mae[4] == f"{result['baselines'][0]['metrics']['mae']:.4f}"
    assert "no better on the test split" not in page
    assert f"covers {100 * result['coverage'][0]['coverage']:.2f} %" in page
    assert "momentumrnn eval" in page


def test_a_model_that_is_no_better_than_a_naive_predictor_is_called_so(forecast: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(forecast, folder)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    naive = result["baselines"][0]
    result["test"]["pinball"] = naive["metrics"]["pinball"]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    page = Path(report([folder])["report"]).read_text(encoding="utf-8")
    assert f"no better on the test split than the naive predictor: {naive['name']}." in page


@needs_chromium
@pytest.mark.timeout(240)
def test_it_reads_in_a_browser_without_a_network_and_shows_the_evaluation(forecast: Path, tmp_path: Path) -> None:
    evaluate(forecast)
    page = Path(report([forecast], out=tmp_path / "report.html")["report"])
    with Browser(tmp_path / "profile") as browser:
        for dark, width in ((False, 390), (True, 390), (False, 1280)):
            browser.open(page, width=width, dark=dark)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            # Each picture is shown in one of its two forms, with letters that can be read.
            letters = "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)"
            heights = [height for height in browser.evaluate(letters) if height > 0]
            assert 10 <= min(heights) <= max(heights) < 60
            shown = (
                "[...document.querySelectorAll('figure svg')].filter(e => e.getBoundingClientRect().height > 0).length"
            )
            assert browser.evaluate(shown) == 3
        assert browser.messages == []
        assert [one for one in browser.requests if not one.startswith(("file:", "data:"))] == []
        # Curves, forecasts, errors by horizon.
        assert browser.evaluate("document.querySelectorAll('figure').length") == 3
        assert browser.evaluate("document.querySelectorAll('b').length") == 0
        assert browser.evaluate("[...document.querySelectorAll('h3')].map(h => h.textContent)") == [
            "Errors by target",
            "The worst sequences",
        ]
    assert "&lt;b&gt;load" in page.read_text(encoding="utf-8")


def test_classes_have_their_confusions(tmp_path: Path) -> None:
    recipe = parse_recipe({"task": {"name": "digits", "pixels_per_step": 8}, **SMALL})
    train(recipe, out=tmp_path / "run")
    found = evaluate(tmp_path / "run")
    page = Path(report([tmp_path / "run"])["report"]).read_text(encoding="utf-8")
    matrix = page[page.index('<table class="matrix">') :]
    cells = re.findall(r"<td[^>]*>([\d,]*)</td>", matrix[: matrix.index("</table>")])
    assert [int(cell or 0) for cell in cells] == [count for row in found["confusion"] for count in row]


def test_a_damaged_evaluation_is_named(forecast: Path) -> None:
    path = forecast / "eval-train.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"eval-train\.json is damaged"):
        report([forecast])
    path.unlink()


def test_a_result_that_lacks_a_key_is_named(forecast: Path, tmp_path: Path) -> None:
    shutil.copytree(forecast, tmp_path / "run")
    path = tmp_path / "run" / "result.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: value for name, value in content.items() if name != "backend"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"result\.json is damaged or of another version: it lacks 'backend'"):
        report([tmp_path / "run"])
