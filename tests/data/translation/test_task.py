"""The task `translation`: its files in every form, and what is wrong with them in words."""

from __future__ import annotations

import bz2
import codecs
import gzip
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_text import pairs, write_corpus

from momentum_cli.data import Translation
from momentum_cli.data.translation.task import vocabularies
from momentum_cli.errors import DataError, RecipeError

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")
DATA = os.environ.get("MOMENTUMRNN_DATA")


def task(path: Path, **options: Any) -> Translation:
    return Translation(str(path), **{"vocabulary_size": 60, **options})


def test_a_folder_with_two_files_a_split(tmp_path: Path) -> None:
    dataset = task(write_corpus(tmp_path)).load()
    validation = dataset.validation
    assert validation is not None
    assert (len(dataset.train), len(validation), len(dataset.test)) == (300, 20, 20)
    assert dataset.spell is not None
    batch = dataset.test.batch(torch.arange(20))
    assert batch.references == tuple(target for _, target in pairs(20, 2))
    assert tuple(dataset.spell(row[row >= 0].tolist()) for row in batch.targets) == batch.references
    source, target = vocabularies(dataset.preprocessing)
    assert source is target
    assert [source.text(row.tolist()) for row in batch.inputs] == [source for source, _ in pairs(20, 2)]
    # The sentences are made of few words, so that the splits have some in common.
    assert all("pairs are in train.en.gz" in text for text in dataset.warnings)


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_sentence(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    for name in ("test_2016.en", "test_2016.de", "val.de"):
        (folder / name).write_bytes(codecs.BOM_UTF8 + (folder / name).read_bytes())
    dataset = task(folder).load()
    assert dataset.validation is not None
    first = dataset.test.place(0)
    assert (first["source"], first["reference"]) == pairs(20, 2)[0]
    assert dataset.validation.place(0)["reference"] == pairs(20, 1)[0][1]


def test_fractions_are_refused_where_the_folder_has_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`test_fraction` must be left out where .* has files of each split, got 0.2"):
        task(write_corpus(tmp_path), test_fraction=0.2).load()


@pytest.mark.parametrize("stems", [{"test": "val"}, {"validation": "train"}, {"train": "val", "validation": "val"}])
def test_one_split_cannot_be_two(tmp_path: Path, stems: dict[str, str]) -> None:
    with pytest.raises(
        DataError, match=r"are the same files, '(val|train)'.*name others: task\.(validation|test)=STEM"
    ):
        task(write_corpus(tmp_path), **stems).load()


def test_two_vocabularies_learn_one_side_each(tmp_path: Path) -> None:
    dataset = task(write_corpus(tmp_path), joint=False, vocabulary_size=45).load()
    source, target = vocabularies(dataset.preprocessing)
    assert (len(source), len(target)) == (dataset.input_size, dataset.output_size) == (45, 45)
    assert source.unknown("ä") == ["ä"]
    assert target.unknown("ä") == []


def test_tables_of_two_columns_with_other_names_and_compressed(tmp_path: Path) -> None:
    for number, stem in enumerate(("a", "b", "c")):
        lines = "".join(f"{source}\t{target}\r\n" for source, target in pairs(300 if stem == "a" else 9, number))
        (tmp_path / f"{stem}.tsv.bz2").write_bytes(bz2.compress(lines.encode()))
    dataset = task(tmp_path, train="a", validation="b", test="c").load()
    assert len(dataset.test) == 9
    assert dataset.test.place(0)["reference"] == pairs(9, 2)[0][1]


def test_one_table_is_divided_the_same_way_each_time_and_repeats_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "all.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs(900, 0) * 2), encoding="utf-8")
    dataset = task(path, validation_fraction=0.1, test_fraction=0.2).load()
    validation = dataset.validation
    assert validation is not None
    splits = [dataset.train, validation, dataset.test]
    assert sum(map(len, splits)) == 1800
    sources = [{split.place(number)["source"] for number in range(len(split))} for split in splits]
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    assert 0.1 < len(dataset.test) / 1800 < 0.3
    again = task(path, validation_fraction=0.1, test_fraction=0.2).load()
    assert [again.test.place(n) for n in range(len(again.test))] == [
        dataset.test.place(n) for n in range(len(dataset.test))
    ]


def test_pairs_without_a_side_and_long_ones_are_left_out_and_said(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    source, target = (gzip.decompress((folder / f"train.{end}.gz").read_bytes()).decode() for end in ("en", "de"))
    (folder / "train.en.gz").write_bytes(gzip.compress((source + "\n" + "dog " * 50 + "\n").encode()))
    (folder / "train.de.gz").write_bytes(gzip.compress((target + "Hund.\nHund.\n").encode()))
    dataset = task(folder, max_length=40).load()
    assert len(dataset.train) == 300
    assert dataset.warnings[:2] == (
        "train.en.gz and train.de.gz: 1 pairs are left out because a side is empty: line 301",
        "train.en.gz and train.de.gz: 1 training pairs with more than 40 subwords on a side are left out "
        "(task.max_length)",
    )
    with pytest.raises(DataError, match=r"task.max_length` must be >= \d+, the subwords of the shortest pair, got 1"):
        task(folder, max_length=1).load()


def test_pairs_in_two_splits_are_warned_of_with_their_lines(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    lines = {
        end: gzip.decompress((folder / f"train.{end}.gz").read_bytes()).decode().splitlines() for end in ("en", "de")
    }
    for end, own in (("en", " {} \n"), ("de", "{}\n")):
        # Twice line 7; with the source of line 9 alone it is another pair.
        (folder / f"val.{end}").write_text(f"A {end} of its own.\n" + own.format(lines[end][6]) * 2, encoding="utf-8")
        (folder / f"test_2016.{end}").write_text(
            f"{lines['en'][8] if end == 'en' else 'Anders.'}\nAn own {end}.\nA {end} of its own.\n", encoding="utf-8"
        )
    last = "results on them look better than on new data: leave the copies out, or keep them in one split"
    assert task(folder).load().warnings == (
        "val.en and val.de: 2 of 3 pairs are in train.en.gz and train.de.gz too (the first: line 2, and line 7 of "
        f"train.en.gz and train.de.gz); {last}",
        "test_2016.en and test_2016.de: 1 of 3 pairs are in val.en and val.de too (the first: line 3, and line 1 of "
        f"val.en and val.de); {last}",
    )


def test_sentences_that_each_evaluation_translates_for_long_are_named(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    for end in ("en", "de"):
        with (folder / f"val.{end}").open("a", encoding="utf-8") as file:
            # A target may be long: its tokens are known.
            file.write("A dog.\n" + "Hund " * 1100 + "\n" if end == "de" else "dog " * 1100 + "\nA dog.\n")
    warnings = task(folder).load().warnings
    assert warnings[0] == (
        "val.en and val.de: 1 of 22 pairs have more than 2000 subwords in their source (the first: line 21), and each "
        "evaluation translates them: divide them"
    )
    assert not any("test_2016" in text and "subwords" in text for text in warnings)


def damaged(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val.de", b"Ein Satz.\n", "val.en has 20 and .*val.de has 1 lines"),
        ("val.de", b"\xff\n" * 20, "val.de: not UTF-8 text at byte 0"),
        ("train.de.gz", b"\x1f\x8b\x08\x00damaged", "train.de.gz: "),
        ("train.de.gz", gzip.compress(b"Ein Satz.\n" * 400, mtime=0)[:-9], "train.de.gz: damaged, or cut short"),
        ("val.de", "Ein Satz.\n".encode("utf-16"), "val.de: not UTF-8 text at byte 0"),
        ("val.de", "Ein Satz.\n".encode("utf-16-le"), "val.de: not UTF-8 text: a NUL at byte 1; convert it"),
        ("val.de", b"\n" * 20, "val.en: there are no pairs of sentences in it"),
        ("val.de", b"", "val.en has 20 and .*val.de has 0 lines"),
        ("train.de.gz", b"", "train.en.gz has 300 and .*train.de.gz has 0 lines"),
        ("test_2016.de", b" \r\n" * 20, "test_2016.en: there are no pairs of sentences in it"),
        ("val.tsv", b"A sentence.\tEin Satz.\n", "val.en and val.de and val.tsv are all there for one split"),
        ("val.de.gz", gzip.compress(b"Ein Satz.\n", mtime=0), r"val.de and val.de.gz are both there; remove one"),
        ("dev.en", b"A sentence.\n", r"the validation split are not clear: there are 2 .*\(val, dev\)"),
        ("test_2017.en", b"A sentence.\n", r"the test split are not clear: .*task.test=STEM"),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task(damaged(write_corpus(tmp_path), name, content)).load()


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"task.test: unknown stem 'tset'"):
        task(folder, test="tset").load()
    (folder / "val.de").unlink()
    with pytest.raises(DataError, match=r"val.de is missing"):
        task(folder).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder has no parallel text"):
        task(tmp_path / "empty").load()
    with pytest.raises(DataError, match="not found"):
        task(tmp_path / "nothing").load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one column\n", "line 1 must have 2 columns separated by a tab, got 1"),
        ("a\tb\na\tb\tc\n", "line 2 must have 2 columns separated by a tab, got 3"),
        ("a\tb\n", "no pair of its 1 is in the .* split"),
        ("", "there are no pairs of sentences"),
        ("\t\n \t \n", "there are no pairs of sentences"),
        ("\n", "line 1 must have 2 columns separated by a tab, got 1"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "all.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        task(path).load()


def test_a_stem_with_one_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.tsv"
    path.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"task.test` must be left out where task.path is one file"):
        task(path, test="x").load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary_size": 4}, r"`vocabulary_size` must be in \[5, 2147483647\], got 4"),
        ({"vocabulary_size": 2**31}, r"`vocabulary_size` must be in \[5, 2147483647\], got 2147483648"),
        ({"max_length": 0}, "`max_length` must be >= 1, got 0"),
        ({"source_language": "../en"}, "`source_language` must be the ending of a file"),
        ({"target_language": ""}, "`target_language` must be the ending of a file"),
        ({"target_language": "en"}, "`target_language` must differ from source_language"),
        ({"test_fraction": 0.0}, r"`test_fraction` must be in \(0, 1\)"),
        ({"validation_fraction": 0.0}, "`validation_fraction` must be > 0"),
        ({"validation_fraction": 0.6, "test_fraction": 0.5}, "`test_fraction` must be less than"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Translation(**options)


@pytest.mark.parametrize("package", ["sentencepiece", "sacrebleu.metrics"])
def test_without_its_packages_the_extra_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_corpus(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RecipeError, match=r"momentumrnn\[translation\]"):
        task(folder).load()


@pytest.mark.parametrize(
    "preprocessing", [{"kind": "none"}, {"kind": "translation"}, {"kind": "translation", "sentencepiece": {}}]
)
def test_a_model_without_its_vocabulary_is_refused(preprocessing: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        vocabularies(preprocessing)


@pytest.mark.skipif(DATA is None, reason="MOMENTUMRNN_DATA is not set: multi30k")
def test_multi30k_is_read_as_published() -> None:
    dataset = Translation(vocabulary_size=4000).load(Path(str(DATA)))
    validation = dataset.validation
    assert validation is not None
    assert (len(dataset.train), len(validation), len(dataset.test)) == (29000, 1014, 1000)
    assert dataset.test.place(0)["source"] == "A man in an orange hat starring at something."
    assert dataset.warnings == ()
