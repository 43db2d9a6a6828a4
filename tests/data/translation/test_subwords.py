"""Subwords: what is encoded comes back, unknown characters are named, and the same lines give the same vocabulary."""

from __future__ import annotations

import sys

import pytest
from parallel_text import pairs

from momentum_cli.data.translation.subwords import END, SPECIAL, UNKNOWN, Subwords
from momentum_cli.errors import DataError, RecipeError

pytest.importorskip("sentencepiece")
LINES = [line for pair in pairs(200, 0) for line in pair]


def test_a_line_comes_back_and_ends_with_the_end() -> None:
    subwords = Subwords.learn(LINES, 60)
    assert len(subwords) == 60
    for line in LINES[:20]:
        tokens = subwords.encode(line)
        assert tokens[-1] == END
        assert min(tokens[:-1]) >= SPECIAL
        assert subwords.text(tokens) == line


def test_the_same_lines_give_the_same_vocabulary_and_it_survives_json() -> None:
    first, second = Subwords.learn(LINES, 60), Subwords.learn(iter(LINES), 60)
    assert first.model == second.model
    assert Subwords.of(first.encoded).encode(LINES[0]) == first.encode(LINES[0])
    assert Subwords.learn(LINES, 61).model != first.model


def test_a_character_that_training_had_not_is_unknown_and_named() -> None:
    subwords = Subwords.learn(LINES, 60)
    assert UNKNOWN in subwords.encode("The ♥ dog")
    assert subwords.unknown("The ♥ dog ♥ 犬") == ["♥", "犬"]
    assert subwords.unknown(LINES[0]) == []
    assert "♥" not in subwords.text(subwords.encode("The ♥ dog"))


def test_an_empty_line_is_its_end() -> None:
    assert Subwords.learn(LINES, 60).encode("  ") == [END]


def test_a_vocabulary_that_cannot_be_learned_names_the_sizes_that_can() -> None:
    found = {}
    for size, sign in ((10, ">="), (100_000, "<=")):
        with pytest.raises(DataError, match=rf"^task\.vocabulary_size: must be {sign} \d+, .*, got {size}$") as caught:
            Subwords.learn(LINES, size)
        found[sign] = int(str(caught.value).split()[4].rstrip(","))
    assert found[">="] == len(set("".join(LINES))) + SPECIAL
    for limit in found.values():
        assert len(Subwords.learn(LINES, limit)) == limit
    for size in (found[">="] - 1, found["<="] + 1):
        with pytest.raises(DataError, match="vocabulary_size: must be"):
            Subwords.learn(LINES, size)


@pytest.mark.parametrize("encoded", ["", "!!!", "AAAA", None, "Zm9vYmFy"])
def test_a_damaged_vocabulary_is_refused(encoded: str) -> None:
    with pytest.raises(DataError, match="subword vocabulary"):
        Subwords.of(encoded)


def test_without_sentencepiece_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(RecipeError, match=r"momentumrnn\[translation\]"):
        Subwords.learn(LINES, 60)
