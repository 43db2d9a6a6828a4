"""Text to tokens and tokens to windows: vocabularies and the task `language`."""

from __future__ import annotations

import codecs
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import default_data_dir
from momentum_cli.data.language.task import Language
from momentum_cli.data.language.text import TokenText
from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.errors import DataError

# Vocabularies.


def test_words_are_what_space_separates_and_a_line_ends_with_eos() -> None:
    vocabulary = Vocabulary.of(b"b a b\n\nc b <unk>\n", "word")
    # three ends of line and three b, in order of appearance when equal
    assert vocabulary.tokens[:2] == ("b", "<eos>")
    assert set(vocabulary.tokens[2:]) == {"a", "c", "<unk>"}
    numbers, missing = vocabulary.encode(b"a  zebra b\nb")
    assert [vocabulary.tokens[n] for n in numbers] == ["a", "<unk>", "b", "<eos>", "b"]
    assert missing == ["zebra"]
    assert b"".join(map(vocabulary.text, numbers.tolist())) == b"a <unk> b \nb "


def test_rare_words_become_unk_and_max_size_counts_it() -> None:
    train = b"a a a b b c\n"
    assert set(Vocabulary.of(train, "word", min_count=2).tokens) == {"a", "b", "<unk>"}
    assert Vocabulary.of(train, "word", max_size=2).tokens == ("<unk>", "a")
    assert "<unk>" in Vocabulary.of(train, "word").tokens


@pytest.mark.parametrize("level", ["word", "character"])
def test_unk_has_the_number_of_its_frequency(level: Any) -> None:
    """An a that occurs twice and b are kept: the other 24 tokens make ``<unk>`` the most frequent."""
    separator = " " if level == "word" else ""
    train = separator.join(["a", "a", *"bcdefghijklmnopqrstuvwxyz"]).encode()
    assert Vocabulary.of(train, level, max_size=3).tokens == ("<unk>", "a", "b")
    assert Vocabulary.of(train, level, min_count=2).tokens == ("<unk>", "a")
    vocabulary = Vocabulary.of(train, level, max_size=3)
    numbers = vocabulary.encode(train)[0]
    assert np.bincount(numbers).tolist() == sorted(np.bincount(numbers).tolist(), reverse=True) == [24, 2, 1]
    # Written in the text, as in the Penn Treebank, it counts with those left out.
    assert Vocabulary.of(b"<unk> <unk> <unk> a a a b", "word", max_size=2).tokens == ("<unk>", "a")
    assert Vocabulary.of(b"<unk> a a a b", "word", max_size=2).tokens == ("a", "<unk>")


def test_characters_are_code_points_and_unk_exists_only_when_asked_for() -> None:
    vocabulary = Vocabulary.of("aäa€\n😀a".encode(), "character")
    assert vocabulary.tokens[0] == "a"
    assert set(vocabulary.tokens) == set("aä€\n😀")
    numbers, missing = vocabulary.encode("😀ä\n".encode())
    assert b"".join(map(vocabulary.text, numbers.tolist())).decode() == "😀ä\n"
    assert missing == []
    assert vocabulary.unknown is None
    assert vocabulary.encode(b"xyx")[1] == ["x", "y"]
    rare = Vocabulary.of(b"aab", "character", min_count=2)
    assert [rare.tokens[n] for n in rare.encode(b"ba?")[0]] == ["<unk>", "a", "<unk>"]


def test_bytes_are_their_own_numbers() -> None:
    vocabulary = Vocabulary.of(b"", "byte")
    everything = bytes(range(256))
    assert len(vocabulary) == 256
    assert vocabulary.encode(everything)[0].tolist() == list(range(256))
    assert b"".join(map(vocabulary.text, range(256))) == everything


@pytest.mark.parametrize("level", ["word", "character", "byte"])
def test_a_vocabulary_survives_the_checkpoint(level: str) -> None:
    one = Vocabulary.of(b"to be or not\nto be", level)  # type: ignore[arg-type]
    assert Vocabulary.from_preprocessing(one.preprocessing()) == one


# Files.


def test_a_file_is_cut_in_order_without_a_gap(tmp_path: Path) -> None:
    content = "".join(f"{n}: äöü\n" for n in range(200))
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    data = Language(path=str(path)).load()
    vocabulary = Vocabulary.from_preprocessing(data.preprocessing)
    assert data.validation is not None
    parts = [
        b"".join(map(vocabulary.text, split.tokens.tolist())).decode()  # type: ignore[attr-defined]
        for split in (data.train, data.validation, data.test)
    ]
    assert "".join(parts) == content
    sizes = [len(part.encode()) / len(content.encode()) for part in parts]
    assert sizes == pytest.approx([0.85, 0.05, 0.1], abs=0.002)
    assert data.metric == "bits_per_character"


@pytest.mark.parametrize(("level", "begins"), [("character", "t"), ("word", "the"), ("byte", "\xef")])
def test_a_mark_of_the_byte_order_is_no_part_of_a_text(tmp_path: Path, level: Any, begins: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"the cat\n" * 50)
    dataset = Language(path=str(path), level=level).load()
    vocabulary = Vocabulary.from_preprocessing(dataset.preprocessing)
    first = vocabulary.text(int(dataset.train.tokens[0]))  # type: ignore[attr-defined]
    assert first.strip() == begins.encode("latin-1")


def test_words_are_cut_at_lines_and_a_folder_has_its_own_splits(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a b c\n" * 50)
    data = Language(level="word", path=str(tmp_path)).load()
    vocabulary = Vocabulary.from_preprocessing(data.preprocessing)
    for split in (data.train, data.test):
        assert vocabulary.tokens[int(split.tokens[0])] == "a"  # type: ignore[attr-defined]
    for split, content in (("train", "a b\n" * 9), ("valid", "a\na\n"), ("test", "b new\n")):
        (tmp_path / f"ptb.{split}.txt").write_text(content)
    data = Language(level="word", path=str(tmp_path)).load()
    assert [len(split) + 1 for split in (data.train, data.validation, data.test) if split is not None] == [27, 4, 3]
    assert data.metric == "perplexity"


def test_fractions_are_refused_where_the_folder_has_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("the cat sat\n" * 9)
    assert len(Language(path=str(tmp_path)).load().train.tokens) == 12 * 9  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"`test_fraction` must be left out where .* has files of each split, got 0.2"):
        Language(path=str(tmp_path), test_fraction=0.2).load()


def test_what_is_wrong_with_a_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no-such-text.*train\.txt"):
        Language(path="no-such-text").load(tmp_path)
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"abc\xe4" * 30)
    with pytest.raises(DataError, match=r"not UTF-8 text at byte 3 .*task\.level=byte"):
        Language(path=str(latin)).load()
    assert len(Language(path=str(latin), level="byte").load().train) == 101
    new = tmp_path / "new.txt"
    new.write_text("ab" * 100 + "xyz" * 4)
    with pytest.raises(DataError, match=r"3 characters are not in the training text: .*min_count=2"):
        Language(path=str(new)).load()
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train.txt").write_text("abc")
    with pytest.raises(DataError, match=r"has train\.txt but no valid\.txt, test\.txt"):
        Language(path=str(tmp_path / "split")).load()


@pytest.mark.parametrize(
    "options",
    [
        {"min_count": 0},
        {"max_size": 1},
        {"test_fraction": 0.96},
        {"validation_fraction": 0.0},
        {"level": "byte", "min_count": 2},
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(name for name in options if name != "level")):
        Language(**options)  # type: ignore[arg-type]


@pytest.mark.skipif(
    not (default_data_dir() / "tinyshakespeare" / "input.txt").is_file(), reason="needs tinyshakespeare/input.txt"
)
def test_shakespeare_is_cut_as_its_recipe_says() -> None:
    data = Language().load(default_data_dir())
    assert data.validation is not None
    sizes = [len(split) + 1 for split in (data.train, data.validation, data.test)]
    assert sum(sizes) == 1_115_394
    assert sizes[2] == 111_539
    assert data.output_size == 65


def test_a_large_vocabulary_is_evaluated_in_short_windows() -> None:
    assert TokenText(torch.zeros(9), 10).evaluation_steps(4) == 1024
    # 2^24 logits of 2^18 tokens: 64 at a time
    assert TokenText(torch.zeros(9), 2**18).evaluation_steps(4) == 16
    assert TokenText(torch.zeros(9), 2**18).evaluation_steps(1000) == 1
    assert math.prod((16, 4, 2**18)) == 2**24
