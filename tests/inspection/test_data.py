"""`data describe` of every kind of task: text by tokens, and naive predictors next to the splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from momentum_cli.inspection.data import describe_data, print_description
from momentum_cli.recipe.recipe import load_recipe, parse_recipe


def test_a_text_is_described_by_its_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("train", "a b a c a b\n" * 20), ("valid", "a zebra b\n"), ("test", "a b c a\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    content = {
        "task": {"name": "language", "path": str(tmp_path), "level": "word"},
        "model": {"hidden_size": 4},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"epochs": 1, "bptt": {"length": 5}},
    }
    result = describe_data(parse_recipe(content))
    assert (result["level"], result["vocabulary"]) == ("word", 5)
    assert result["frequent"][:2] == ["a", "b"]
    assert result["splits"]["train"]["tokens"] == 140
    assert result["splits"]["validation"]["unknown"] == pytest.approx(0.25)  # zebra, of four tokens
    (unigram,) = result["naive"]
    assert 1.0 < unigram["metrics"]["perplexity"] < 5.0
    print_description(result)
    said = capsys.readouterr().out
    assert "most frequent  a b" in said
    assert "25.00 %" in said
    assert f"{unigram['metrics']['perplexity']:.2f}" in said


@pytest.mark.parametrize(
    ("recipe", "name", "column"), [("digits", "majority class", "accuracy"), ("adding", "training mean", "mse")]
)
def test_the_naive_predictors_are_what_eval_shows_next_to_a_model(
    recipe: str, name: str, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = describe_data(load_recipe(recipe))
    assert result["naive"][0]["name"] == name
    if recipe == "adding":
        # Always answering 1 has 1/6.
        assert result["naive"][0]["metrics"]["mse"] == pytest.approx(1 / 6, rel=0.05)
    print_description(result)
    assert column in capsys.readouterr().out.partition("naive predictor, test")[2]
