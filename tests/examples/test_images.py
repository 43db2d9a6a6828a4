"""The comparison of optimizers on pictures, on the embedded digits and on made folders."""

from __future__ import annotations

import json
import math
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from momentum_cli.errors import DataError, MomentumError, RecipeError

PROGRAM = Path(__file__).parents[2] / "examples" / "images.py"
SMALL = ["--data", "digits", "--train", "300", "--validation", "60", "--width", "4", "--epochs", "1", "--seeds", "0"]
BRIEF = [*SMALL, "--optimizers", "sgd,ahb-adam", "--batch-sizes", "50", "--lr-grid", "1e-2,1e-1"]


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Any]]:
    # As `python examples/images.py` does, so that it finds the modules beside it.
    sys.path.insert(0, str(PROGRAM.parent))
    yield {**runpy.run_path(str(PROGRAM)), **runpy.run_path(str(PROGRAM.with_name("image_results.py")))}
    sys.path.remove(str(PROGRAM.parent))


@pytest.fixture
def compare(images: dict[str, Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def call(*given: str) -> dict[str, Any]:
        return images["compare"]([*given, "--out", str(tmp_path / "out")])  # type: ignore[no-any-return]

    return call


def test_a_comparison_has_all_runs_tables_and_a_picture(
    compare: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = compare(*BRIEF)
    assert [(run["lr"], run["optimizer"]) for run in results["runs"]] == [
        (rate, name) for rate in (0.01, 0.1) for name in ("sgd", "ahb-adam")
    ]
    for run in results["runs"]:
        assert [epoch for epoch, _ in run["validation"]] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
        assert len(run["beta"]) == (6 if run["optimizer"] == "ahb-adam" else 0)
    told = capsys.readouterr().out
    assert told == (tmp_path / "out" / "tables.txt").read_text(encoding="utf-8")
    assert "batch size 50: test accuracy in %, mean over seeds\nlearning rate" in told
    assert (tmp_path / "out" / "images.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopped_comparison_continues_to_the_same_results(
    compare: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    whole = compare(*BRIEF)["runs"]
    file = tmp_path / "out" / "results.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    kept = content["runs"].pop()
    content["runs"][0]["test"] = 0.125
    file.write_text(json.dumps(content), encoding="utf-8")
    again = compare(*BRIEF)["runs"]
    # A finished run is not made again, and one that is made again is the same.
    assert again[0]["test"] == 0.125
    same = ("optimizer", "lr", "validation", "test", "train", "loss", "beta")
    assert {key: again[3][key] for key in same} == {key: whole[3][key] for key in same}
    assert again[3]["loss"] == kept["loss"]
    with pytest.raises(RecipeError, match=r"epochs was 1 and is 2\); name another --out"):
        compare(*BRIEF, "--epochs", "2")
    del content["runs"][0]["options"]
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="is not a file of results"):
        compare(*BRIEF)
    file.write_text('{"runs": [', encoding="utf-8")
    with pytest.raises(DataError, match="is not a file of results"):
        compare(*BRIEF)


def test_a_name_that_is_given_to_other_options_starts_new_runs(compare: Callable[..., dict[str, Any]]) -> None:
    one = [*SMALL, "--batch-sizes", "50", "--lr-grid", "1e-1"]
    (plain,) = compare(*one, "--optimizers", "sgd@mine:momentum=0.0")["runs"]
    (heavy,) = compare(*one, "--optimizers", "sgd@mine:momentum=0.9")["runs"]
    assert heavy["options"] == ["momentum=0.9"]
    assert heavy["loss"] != plain["loss"]
    # Both are kept.
    (again,) = compare(*one, "--optimizers", "sgd@mine:momentum=0.0")["runs"]
    assert again == plain


def test_the_small_network_learns_the_digits(compare: Callable[..., dict[str, Any]]) -> None:
    options = ["--train", "1000", "--width", "8", "--epochs", "6", "--optimizers", "adam", "--lr-grid", "1e-2"]
    (run,) = compare(*SMALL, *options, "--batch-sizes", "50")["runs"]
    # Eight by eight pixels are two by two after the pooling.
    assert run["test"] > 0.7
    assert run["validation"][-1][1] > run["validation"][0][1]
    assert run["loss"][-1] < run["loss"][0] / 2


def test_a_run_that_diverges_ends_and_counts_as_wrong(compare: Callable[..., dict[str, Any]]) -> None:
    (run,) = compare(*SMALL, "--optimizers", "sgd", "--batch-sizes", "50", "--lr-grid", "1e30")["runs"]
    assert not run["finite"]
    assert (run["test"], run["train"], run["validation"][-1][1]) == (0, 0, 0)
    assert run["validation"][-1][0] <= 1


def test_answers_that_are_not_numbers_are_wrong(images: dict[str, Any]) -> None:
    data = images["load"]("digits", Path(), 100, 50, 8)
    contest = images["Contest"](data, "resnet8", 4, 1)

    class Nothing(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.full((len(inputs), 10), math.nan)

    assert (data.test.classes == 0).any()
    assert contest.accuracy(Nothing(), data.test) == 0


def test_training_and_validation_pictures_do_not_overlap(images: dict[str, Any]) -> None:
    known, test = images["SOURCES"]["digits"](Path())
    data = images["load"]("digits", Path(), 1000, 437, 8)
    both = torch.cat([data.train.images, data.validation.images]).flatten(1)
    rows = {tuple(row) for row in both.tolist()}
    assert rows == {tuple(row) for row in known.images.flatten(1).tolist()}
    assert len(both) == len(known.images) == 1437
    assert torch.equal(data.test.images, test.images)
    assert data.offset.item() == pytest.approx(data.train.images.double().mean().item(), rel=1e-6)


def test_epochs_to_a_target_and_the_best_rate(images: dict[str, Any]) -> None:
    def run(rate: float, *accuracies: float) -> dict[str, Any]:
        points = [(number / 4, accuracy) for number, accuracy in enumerate(accuracies, 1)]
        return {"optimizer": "a", "batch_size": 8, "lr": rate, "validation": points}

    runs = [run(0.1, 0.5, 0.9, 0.8), run(0.1, 0.5, 0.6, 0.7), run(1.0, 0.9, 0.9, 0.7), run(1.0, 0.9, 0.9, 0.7)]
    assert [images["epochs_to"](each, 0.85) for each in runs] == [0.5, math.inf, 0.25, 0.25]
    assert images["best_rate"](runs, "a", 8, [0.1, 1.0]) == 0.1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("dark", "light")):
            place = tmp_path / "pictures" / split / name
            place.mkdir(parents=True)
            for count in range(6):
                Image.new("RGB", (20 + count, 16), (200 * number + count,) * 3).save(place / f"{count}.png")
    return tmp_path / "pictures"


def test_a_folder_of_pictures_is_read_with_its_classes(images: dict[str, Any], folder: Path) -> None:
    data = images["load"](str(folder), Path(), 8, 4, 12)
    assert data.train.images.shape == (8, 3, 12, 12)
    assert data.classes == 2
    # Light pictures are those of class 1.
    assert torch.equal(data.test.images[:, 0, 0, 0] >= 200, data.test.classes == 1)


def test_any_classifier_of_torchvision_reads_grey_pictures(images: dict[str, Any]) -> None:
    data = images["load"]("digits", Path(), 100, 50, 8)
    contest = images["Contest"](data, "squeezenet1_1", 8, 1)
    with pytest.raises(RecipeError, match="squeezenet1_1 cannot be trained on pictures of 8 x 8"):
        contest.check(50)
    contest = images["Contest"](data, "resnet18", 8, 1)
    contest.check(50)
    outputs = contest.start(0)(contest.prepare(data.train.images[:4]))
    assert outputs.shape == (4, 10)


def test_a_damaged_picture_and_missing_classes_are_named(images: dict[str, Any], folder: Path) -> None:
    (folder / "train" / "dark" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"dark/0\.png: must be a picture"):
        images["load"](str(folder), Path(), 8, 4, 12)
    (folder / "test" / "light").rename(folder / "test" / "bright")
    with pytest.raises(DataError, match="same classes; not in both: bright, light"):
        images["load"](str(folder), Path(), 8, 4, 12)
    with pytest.raises(DataError, match="must hold train and test"):
        images["load"](str(folder / "train"), Path(), 8, 4, 12)


def test_a_download_that_fails_says_what_to_do(
    images: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    for name in ("FashionMNIST", "CIFAR10"):
        monkeypatch.setattr(getattr(torchvision.datasets, name), "download", no_network)
    for data, name in (("fashion-mnist", "FashionMNIST"), ("cifar-10", "CIFAR10")):
        with pytest.raises(DataError, match=f"{name} is not in .*the download failed: no network\nPut its original"):
            images["load"](data, tmp_path, 8, 4, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data", "minst"], "--data must be a folder or one of .*did you mean 'mnist'"),
        (["--model", "resnet19"], "--model: unknown classifier 'resnet19'; did you mean 'resnet18'"),
        (["--train", "2000"], "at most 1,437 together"),
        (["--train", "0"], "--train must be an integer >= 1, got '0'"),
        (["--epochs", "1.5"], "--epochs must be an integer >= 1, got '1.5'"),
        (["--width", "x"], "--width must be an integer >= 1"),
        (["--width", "0"], "--width must be an integer >= 1, got '0'"),
        (["--width", "8", "--model", "resnet18"], "--width must be left out for a --model other than resnet8, got '8'"),
        (["--size", "16"], "--size must be left out for digits, whose pictures have a size, got '16'"),
        (["--size", "0", "--data", "."], "--size must be an integer >= 1, got '0'"),
        (["--data", ""], "--data must be a folder or one of "),
        (["--data", "mnist", "--data-dir", "/nowhere"], "/nowhere"),
        (["--validation", "0"], "--validation must be an integer >= 1, got '0'"),
        (["--train", "1e3"], "--train must be an integer >= 1, got '1e3'"),
        (["--target", "x"], "--target must be a number in"),
        (["--batch-sizes", "50,"], "--batch-sizes must be an integer >= 2, got ''"),
        (["--target", "1.5"], r"--target must be a number in \[0.0, 1.0\)"),
        (["--target", "nan"], r"--target must be a number in"),
        (["--batch-sizes", "50,301"], "--batch-sizes must be at most --train, 300, got 301"),
        (["--batch-sizes", "1"], "--batch-sizes must be an integer >= 2"),
        (["--lr-grid", "0"], "be a number > 0"),
        (["--lr-grid", "nan"], "be a number > 0"),
        (["--lr-grid", "1,inf"], "be a number > 0"),
        (["--lr-grid", "1,1.0"], "1 is given twice"),
        (["--seeds", "0-"], "must be a range"),
        (["--seeds", "1,0-2"], "a seed is given twice"),
        (["--optimizers", "sdg"], "did you mean 'sgd'"),
        (["--optimizers", "sgd:momentun=0.9"], "momentun"),
        (["--optimizers", "sgd:momentum=-1"], "--optimizers sgd:momentum=-1: "),
        (["--optimizers", "sgd:lr=0.1"], "the learning rates are those of --lr-grid"),
        (["--optimizers", "sgd:schedule.name=cosine"], "schedule"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    compare: Callable[..., dict[str, Any]], tmp_path: Path, change: list[str], message: str
) -> None:
    with pytest.raises(MomentumError, match=message):
        compare(*BRIEF, *change)
    assert not (tmp_path / "out").exists()


def test_results_have_a_folder_of_their_own(compare: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"--out .*out is a file; name a folder"):
        compare(*BRIEF)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("change", [["--learning-rates", "1"], ["--train"], ["stray"]])
def test_unknown_options_end_with_the_usage(
    compare: Callable[..., dict[str, Any]], change: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare(*BRIEF, *change)
    assert "usage: " in capsys.readouterr().err
