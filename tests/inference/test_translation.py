"""Trained translation models in use: eval, predict, generate, and what they refuse."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parallel_text import content, pairs, write_corpus
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.generate import generate
from momentum_cli.inference.opened import open_subject
from momentum_cli.inference.predict.predict import predict, reader_of
from momentum_cli.inference.predict.reader import Broken
from momentum_cli.progress import Level, NullUi
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.text_scores import bleu, bleu_sums
from momentum_cli.training.train import train

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = content(corpus, beam_size=2)
    recipe["train"] |= {"epochs": 6, "eval_every_n_steps": 1000}
    train(parse_recipe(recipe), out=folder)
    return folder


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    sources = [source for source, _ in pairs(40, 7)]
    path.write_text("\n".join([*sources[:20], "", *sources[20:], "The ♥ dog sees two \x1b[31mcats."]), encoding="utf-8")
    return path


def predicted(run: Path, lines: Path, out: Path, **options: Any) -> list[dict[str, Any]]:
    predict(run, [str(lines)], out=out, **options)
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_eval_finds_the_metrics_of_the_training(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    found = evaluate(run)
    assert found["metrics"] == pytest.approx(result["test"], rel=1e-6)
    assert found["search"] == {"beam_size": 2, "length_penalty": 1.0}
    assert found["signatures"] == result["signatures"]
    assert {"source", "reference", "row"} < found["worst"][0].keys()
    assert not (run / "worst-test.png").exists()
    greedy = evaluate(run, beam_size=1, batch_size=60)
    assert greedy["search"]["beam_size"] == 1
    assert greedy["loss"] == pytest.approx(found["loss"], rel=1e-6)


def test_lines_in_lines_out_and_not_by_the_batch(run: Path, lines: Path, tmp_path: Path) -> None:
    records = predicted(run, lines, tmp_path / "a.jsonl")
    assert [record["row"] for record in records] == list(range(42))
    assert records[20] | {"source": ""} == {
        "source": "", "row": 20, "translation": "", "log_probability": 0.0, "tokens": 0, "unknown": []
    }  # fmt: skip
    assert records[-1]["unknown"][0] == "♥"
    assert predicted(run, lines, tmp_path / "b.jsonl", batch_size=1) == records
    predict(run, [str(lines)], out=tmp_path / "c.txt", format="txt")
    assert "\x1b" not in (tmp_path / "c.txt").read_text(encoding="utf-8")
    written = (tmp_path / "c.txt").read_text(encoding="utf-8").split("\n")
    assert written == [*(record["translation"] for record in records), ""]
    right = [target for _, target in pairs(40, 7)]
    got = [record["translation"] for record in records if record["row"] not in (20, 41)]
    assert bleu([sum(column) for column in zip(*bleu_sums(got, right), strict=True)]) > 15


def test_other_formats(run: Path, lines: Path, tmp_path: Path) -> None:
    records = predicted(run, lines, tmp_path / "a.jsonl")
    predict(run, [str(lines)], out=tmp_path / "a.csv", format="csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8"))))
    assert rows[0].keys() == {"source", "row", "tokens", "translation", "log_probability"}
    assert rows[0]["translation"] == records[0]["translation"]
    predict(run, [str(lines)], out=tmp_path / "a.npz", format="npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["outputs"][:, 0] == pytest.approx([record["log_probability"] for record in records], rel=1e-5)


def test_a_wider_beam_of_predict_is_at_least_as_probable(run: Path, lines: Path, tmp_path: Path) -> None:
    totals = []
    for beam in (1, 8):
        options = {"beam_size": beam} | ({"length_penalty": 0.0} if beam > 1 else {})
        records = predicted(run, lines, tmp_path / f"{beam}.jsonl", **options)
        totals.append(sum(record["log_probability"] for record in records))
    assert totals[1] >= totals[0]


def test_a_line_that_is_too_long_leaves_an_empty_one(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("The dog.\n" + "dog " * 3000 + "\nThe cat.\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 1: the line has more than 2000 subwords"):
        predict(run, [str(path)], out=tmp_path / "out.txt", format="txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\n")
    with pytest.raises(DataError, match="not UTF-8 text at byte 0"):
        predict(run, [str(tmp_path / "bad.txt")])


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("windows.txt", b"\xef\xbb\xbf%s\r\n\r\n%s\r\n"),
        ("packed.txt.gz", None),
        ("packed.en.bz2", None),
        ("lines.en", b"%s\n\n%s\n"),
        ("no_end.txt", b"%s\n \t \n%s"),
    ],
)
def test_lines_of_any_text_file(run: Path, tmp_path: Path, name: str, written: bytes | None) -> None:
    one, other = (source.encode() for source, _ in pairs(2, 7))
    path = tmp_path / name
    packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(packed((written or b"%s\n\n%s\n") % (one, other)))
    records = predicted(run, path, tmp_path / "a.jsonl")
    plain = tmp_path / "plain.txt"
    plain.write_bytes(b"%s\n\n%s\n" % (one, other))
    expected = predicted(run, plain, tmp_path / "b.jsonl")
    assert [record | {"source": ""} for record in records] == [record | {"source": ""} for record in expected]
    assert [bool(record["translation"]) for record in records] == [True, False, True]


@pytest.mark.parametrize(("content", "lines"), [(b"", 0), (b"\n \n\t\n", 3)])
def test_as_many_lines_come_out_as_went_in_without_text_too(
    run: Path, tmp_path: Path, content: bytes, lines: int
) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    predict(run, [str(tmp_path / "empty.txt")], out=tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_bytes() == b"\n" * lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "No such file or directory"),
        ("latin.txt", "Mädchen\n".encode("latin-1"), "not UTF-8 text at byte 1"),
        ("marked.txt", "The dog.\n".encode("utf-16"), "not UTF-8 text at byte 0"),
        ("unmarked.txt", "The dog.\n".encode("utf-16-le"), "not UTF-8 text: a NUL at byte 1; convert it"),
        ("cut.txt.gz", gzip.compress(b"The dog.\n" * 99, mtime=0)[:-9], "damaged, or cut short"),
        ("pairs.tsv", b"The dog.\tDer Hund.\n", r"a table, .* write one column to a file \(cut -f1\)"),
        ("pairs.tsv.gz", gzip.compress(b"The dog.\tDer Hund.\n", mtime=0), "a table, "),
    ],
)
def test_what_is_no_lines_of_text_is_refused_and_nothing_written(
    run: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        predict(run, [str(tmp_path / name)], out=tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_characters_that_the_model_does_not_know_are_warned_of_whatever_the_format(run: Path, lines: Path) -> None:
    said: list[tuple[str, str]] = []

    class Heard(NullUi):
        def note(self, text: str, level: Level = "info") -> None:
            said.append((text, level))

    predict(run, [str(lines)], format="txt", out=lines.with_name("out.txt"), batch_size=10, ui=Heard())
    ((text, level),) = said
    assert level == "warning"
    assert text.startswith(f"{lines}: 1 of 42 lines with characters that are not in the vocabulary, read as <unk>: ♥ ")


def test_generate_translates_a_sentence(run: Path, lines: Path, tmp_path: Path) -> None:
    source = pairs(40, 7)[3][0]
    pieces: list[str] = []
    found = generate(run, prompt=source, write=pieces.append)
    record = predicted(run, lines, tmp_path / "a.jsonl")[3]
    assert "".join(pieces) == found["text"] == record["translation"]
    assert found["log_probability"] == record["log_probability"]
    assert found["search"] == {"beam_size": 2, "length_penalty": 1.0}
    drawn = [generate(run, prompt=source, temperature=3.0, seed=seed)["text"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(RecipeError, match="--prompt is required: the sentence to translate"):
        generate(run)
    with pytest.raises(RecipeError, match="--length must be left out"):
        generate(run, prompt=source, length=5)
    with pytest.raises(RecipeError, match="--prompt must be one line, got 2 lines; predict translates a file"):
        generate(run, prompt=f"{source}\n{source}\n")
    assert generate(run, prompt=f"{source}\n")["text"] == found["text"]
    with pytest.raises(RecipeError, match="--prompt must have at most 2000"):
        generate(run, prompt="dog " * 3000)
    assert generate(run, prompt=source, temperature=1.0, top_k=3)["search"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": math.inf}, "--temperature must be >= 0 and finite, got inf"),
        ({"top_k": 3}, "--top-k must be left out without --temperature, got 3; a translation is then searched for"),
        ({"seed": 0}, "--seed must be left out without --temperature, got 0; a translation is then searched for"),
        ({"temperature": 0.0}, "--temperature must be > 0 or left out for a translation, got 0"),
        ({"temperature": 0.0, "beam_size": 5}, "--temperature must be > 0 or left out for a translation, got 0"),
        ({"beam_size": 1, "length_penalty": 2.0}, "--length-penalty must be left out with a beam of 1, got 2"),
        ({"top_k": 3, "temperature": 0.0}, "--top-k must be left out with --temperature 0, got 3"),
        ({"temperature": 0.7, "beam_size": 5}, "--beam-size must be left out with --temperature 0.7, got 5"),
        ({"temperature": 2.0, "length_penalty": 0.0}, "--length-penalty must be left out with --temperature 2, got 0"),
    ],
)
def test_options_of_generate_that_contradict_each_other(run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        generate(run, prompt=pairs(1, 7)[0][0], **options)


def test_a_model_whose_parameters_are_not_numbers_is_said_so(run: Path, lines: Path, tmp_path: Path) -> None:
    from momentum_cli.runs.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(find_checkpoint(run))
    for tensor in checkpoint.tensors.values():
        if tensor.is_floating_point():
            tensor.fill_(math.nan)
    damaged = tmp_path / "damaged.safetensors"
    save_checkpoint(damaged, checkpoint)
    for use in (
        lambda: generate(damaged, prompt="The dog."),
        lambda: generate(damaged, prompt="The dog.", temperature=1.0),
        lambda: evaluate(damaged),
        lambda: predict(damaged, [str(lines)], out=tmp_path / "out.txt"),
    ):
        with pytest.raises(RunError, match="logits that are not numbers"):
            use()
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam-size", "0"], "--beam-size"),
        (["--beam-size", "101"], "--beam-size"),
        (["--length-penalty", "10.5"], "--length-penalty"),
        (["--length-penalty", "inf"], "--length-penalty"),
        (["--length-penalty", "-1"], "--length-penalty"),
        (["--length-penalty", "nan"], "--length-penalty"),
    ],
)
def test_bad_options_of_the_search(run: Path, options: list[str], message: str) -> None:
    for command in (["eval", str(run)], ["generate", str(run), "--prompt", "a"], ["predict", str(run), "-"]):
        result = CliRunner().invoke(app, [*command, *options])
        assert result.exit_code != 0
        assert "Traceback" not in result.output
        assert message in result.output or message in str(result.exception)


def test_a_search_is_for_models_that_translate(tmp_path: Path) -> None:
    digits: dict[str, Any] = {
        "task": {"name": "digits", "pixels_per_step": 8},
        "model": {"cell": "lstm", "hidden_size": 3},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"max_steps": 1},
    }
    train(parse_recipe(digits), out=tmp_path / "digits")
    with pytest.raises(RecipeError, match="--beam-size must be left out: the model does not translate, got 2"):
        evaluate(tmp_path / "digits", beam_size=2)
    with pytest.raises(RecipeError, match="--format must be jsonl, csv, npz or parquet for a model"):
        predict(tmp_path / "digits", ["-"], format="txt")


def test_the_recipe_of_a_damaged_vocabulary_is_refused(run: Path, tmp_path: Path) -> None:
    from momentum_cli.runs.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(find_checkpoint(run))
    checkpoint.data["dataset"]["preprocessing"]["sentencepiece"]["source"] = "AAAA"
    save_checkpoint(tmp_path / "damaged.safetensors", checkpoint)
    with pytest.raises(DataError, match="subword vocabulary is damaged"):
        generate(tmp_path / "damaged.safetensors", prompt="a")


def test_sentences_of_an_array_are_translated_as_lines_are(run: Path, lines: Path, tmp_path: Path) -> None:
    reader = reader_of(open_subject(run), 1)
    records = predicted(run, lines, tmp_path / "a.jsonl")[:3]
    sources = np.array([source for source, _ in pairs(40, 7)][:3])
    found = [one for one in reader.predict_array(sources, 2) if not isinstance(one, Broken)]
    answers = [record["translation"] for one in found for record in one.records()]
    assert answers == [record["translation"] for record in records]
    for wrong in (np.zeros(3), np.array([["a"]])):
        (one,) = reader.predict_array(wrong, 1)
        assert isinstance(one, Broken)
        assert "must be text, one sentence or (B,)" in str(one)
