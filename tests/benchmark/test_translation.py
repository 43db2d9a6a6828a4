"""`bench` on the task `translation`: optimizers and learning rates by BLEU, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from parallel_text import content, write_corpus

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.running import runner
from momentum_cli.errors import MomentumError
from momentum_cli.runs.metrics_log import read_metrics

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "pair.yaml"
    made = content(write_corpus(tmp_path / "corpus", train=100, others=6))
    made["train"] |= {"epochs": None, "max_steps": 8, "eval_every_n_steps": 4, "batch_size": 200}
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    return str(path)


def test_optimizers_are_compared_by_the_bleu_of_their_translations(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    monkeypatch.setattr("momentum_cli.benchmark.report.report.write_report", lambda *arguments: None)
    found = bench(
        [recipe],
        optimizers=["sgd@heavy:momentum=0.9,ahb-adam"],
        lr_grid="1e-2,1",
        seeds="0",
        target="bleu=99.9",
        full=True,
        out=tmp_path / "out",
    )
    (comparison,) = found["comparisons"]
    assert (comparison["metric"], comparison["target"]["value"]) == ("bleu", 99.9)
    assert len(comparison["runs"]) == 4
    for run in comparison["runs"]:
        assert not run["reached"]
        evaluated = [
            row["bleu"] for row in read_metrics(tmp_path / "out" / "runs" / run["id"]) if row["kind"] == "eval"
        ]
        assert len(evaluated) == 2
        assert run["best"] == max(evaluated)
        assert 0 <= run["test"] <= 100
    assert len({run["best"] for run in comparison["runs"]}) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "bleu=0"}, r"must be > 0, got 0\.0"),
        ({"target": "bleu=101"}, r"must be in \(0, 100\], got 101"),
        ({"target": "blue=30"}, "unknown metric 'blue'.*did you mean 'bleu'"),
        ({"target": "accuracy=0.9"}, "unknown metric 'accuracy'"),
        ({"target": "bleu=high"}, "--target"),
        ({"optimizers": ["adm"]}, "did you mean 'adam'"),
        ({"optimizers": ["sgd@heavy:momentum=-1"]}, "momentum"),
        ({"optimizers": ["sgd:label_smoothing=0.1"]}, "label_smoothing"),
        ({"optimizers": ["adam,adam"]}, "adam"),
        ({"lr_grid": "1e-2,0"}, "a rate must be a number > 0, got '0'"),
        ({"overrides": ["model.translation.beam_size=0"]}, "beam_size: must be >= 1"),
        ({"overrides": ["train.adversarial={epsilon: 0.1}"]}, "must be left out for inputs that are not numbers"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    recipe: str, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MomentumError, match=message):
        bench([recipe], seeds="0", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
