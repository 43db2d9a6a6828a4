"""Parallel text in files: line n of one is the translation of line n of the other.

A folder holds for each split two files ``STEM.LANGUAGE`` or one ``STEM.tsv``, plain or compressed; a single TSV file
holds all splits.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from momentum_cli.data.files.compression import COMPRESSED, open_bytes
from momentum_cli.errors import DataError, system_error
from momentum_cli.messages import unknown
from momentum_cli.reading import check_regular

STEMS = {"train": ("train",), "validation": ("val", "valid", "validation", "dev"), "test": ("test",)}
"""Usual names of the files of each split, without the ending."""
_SHOWN = 5


@dataclass
class Corpus:
    """The pairs of a split.

    Args:
        name: Name of their source, for messages.
        sources: Sentences, without line breaks.
        targets: Their translations, one for each.
        rows: Number of the line of each pair, from 1.
        empty: Numbers of the lines that are left out because a side is empty.
    """

    name: str
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)

    def add(self, row: int, source: str, target: str) -> None:
        """Add a pair; one with an empty side counts among `empty`."""
        if not source.strip() or not target.strip():
            self.empty.append(row)
            return
        self.sources.append(source.strip())
        self.targets.append(target.strip())
        self.rows.append(row)

    @property
    def warning(self) -> tuple[str, ...]:
        """The warning about empty lines, if there are any."""
        if not self.empty:
            return ()
        rows = ", ".join(map(str, self.empty[:_SHOWN])) + (", …" if len(self.empty) > _SHOWN else "")
        return (f"{self.name}: {len(self.empty)} pairs are left out because a side is empty: line {rows}",)


def read_folder(folder: Path, languages: tuple[str, str], stems: dict[str, str | None]) -> dict[str, Corpus]:
    """Read the splits of a folder.

    Args:
        folder: An existing folder.
        languages: Endings of the files of source and target.
        stems: For each split the name of its files without the ending; None: one of `STEMS`, or the only one that
            begins so.

    Raises:
        DataError: Files are missing, damaged, not UTF-8, or differ in the number of lines; or two splits are the same.
    """
    there = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    known = _stems(there, languages)
    chosen = {split: _stem(folder, split, stems[split], known) for split in STEMS}
    for one, other in itertools.combinations(chosen, 2):
        if chosen[one] == chosen[other]:
            raise DataError(
                f"{folder}: {one} and {other} are the same files, {chosen[one]!r}, so that a model would be judged by "
                f"what it was made with; name others: task.{other}=STEM"
            )
    return {split: read_split(_files(folder, there, languages, stem)) for split, stem in chosen.items()}


def read_split(files: Sequence[Path]) -> Corpus:
    """Read two files of lines, or one of two columns separated by a tab.

    Raises:
        DataError: One is missing, damaged or not UTF-8; they differ in the number of lines; or a line does not have two
            columns.
    """
    if len(files) == 1:
        corpus = Corpus(files[0].name)
        for row, line in enumerate(read_lines(files[0]), start=1):
            columns = line.split("\t")
            if len(columns) != 2:
                raise DataError(f"{files[0]}: line {row} must have 2 columns separated by a tab, got {len(columns)}")
            corpus.add(row, *columns)
    else:
        corpus = Corpus(" and ".join(path.name for path in files))
        source, target = (read_lines(path) for path in files)
        if len(source) != len(target):
            counts = " and ".join(
                f"{path} has {len(lines):,}" for path, lines in zip(files, (source, target), strict=True)
            )
            raise DataError(f"line n of one file must be the translation of line n of the other, but {counts} lines")
        for row, pair in enumerate(zip(source, target, strict=True), start=1):
            corpus.add(row, *pair)
    if not corpus.rows:
        raise DataError(f"{files[0]}: there are no pairs of sentences in it")
    return corpus


def divide(whole: Corpus, validation: float, test: float) -> dict[str, Corpus]:
    """Divide a corpus at random, but the same way every time and on every machine.

    The source sentence alone decides, so a sentence that occurs twice stays in one split.

    Args:
        whole: All pairs.
        validation: Share of the validation split.
        test: Share of the test split.

    Raises:
        DataError: A split would be empty.
    """
    parts = {split: Corpus(f"{whole.name} ({split})") for split in STEMS}
    for row, source, target in zip(whole.rows, whole.sources, whole.targets, strict=True):
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        split = "test" if place < test else "validation" if place < test + validation else "train"
        parts[split].add(row, source, target)
    parts["train"].empty = whole.empty
    for split, part in parts.items():
        if not part.rows:
            raise DataError(
                f"{whole.name}: no pair of its {len(whole.rows)} is in the {split} split; give more pairs, or a folder "
                "with files for each split"
            )
    return parts


def plain_name(name: str) -> str:
    """Return a file name without the ending of a compressed file."""
    path = Path(name)
    return path.stem if path.suffix.lower() in COMPRESSED else name


def _stems(there: dict[str, Path], languages: tuple[str, str]) -> list[str]:
    """Return the stems for which a folder has files."""
    plain = {plain_name(name) for name in there}
    stems = {name.removesuffix(f".{languages[0]}") for name in plain if name.endswith(f".{languages[0]}")}
    stems |= {name.removesuffix(".tsv") for name in plain if name.endswith(".tsv")}
    return sorted(stems)


def _stem(folder: Path, split: str, given: str | None, known: list[str]) -> str:
    if given is not None:
        if given not in known:
            raise DataError(f"task.{split}: {unknown('stem', given, known, f'the files in {folder}')}")
        return given
    exact = [stem for stem in STEMS[split] if stem in known]
    close = exact or [stem for stem in known if stem.startswith(STEMS[split])]
    if len(close) == 1:
        return close[0]
    if not known:
        raise DataError(
            f"{folder}: the folder has no parallel text; a split is two files STEM.SOURCE and STEM.TARGET, such as "
            "train.en and train.de with task.source_language=en and task.target_language=de, or one file STEM.tsv; "
            "each may be compressed"
        )
    found = f"{len(close)} that could be it ({', '.join(close)})" if close else f"only {', '.join(known)}"
    raise DataError(
        f"{folder}: files of the {split} split are not clear: there are {found}; name it: task.{split}=STEM"
    )


def _files(folder: Path, there: dict[str, Path], languages: tuple[str, str], stem: str) -> list[Path]:
    named: dict[str, list[Path]] = {}
    for name, path in there.items():
        named.setdefault(plain_name(name), []).append(path)
    wanted = [f"{stem}.{language}" for language in languages]
    table = f"{stem}.tsv"
    if table in named:
        if beside := [name for name in wanted if name in named]:
            raise DataError(f"{folder}: {' and '.join([*beside, table])} are all there for one split; remove some")
        wanted = [table]
    for name in wanted:
        if name not in named:
            raise DataError(f"{folder}: {name} is missing (or {name}.gz)")
        if len(named[name]) > 1:
            raise DataError(f"{folder}: {' and '.join(p.name for p in named[name])} are both there; remove one")
    return [named[name][0] for name in wanted]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, plain or compressed; see `lines_of`.

    Raises:
        DataError: It cannot be read, is damaged, or is not UTF-8 text.
        RunError: The machine is at its limit.
    """
    check_regular(path)
    try:
        with open_bytes(path) as file:
            content = file.read()
    except zlib.error as error:
        raise DataError(f"{path}: damaged, or cut short ({error})") from error
    except OSError as error:
        raise system_error(error, path) from error
    return lines_of(content, str(path))


def lines_of(content: bytes, name: str) -> list[str]:
    """Return the lines of a text, without their ends.

    Args:
        content: In UTF-8, with or without a mark of the byte order; lines end in a line feed, or a carriage return and
            a line feed.
        name: Name of its source, for messages.

    Raises:
        DataError: It is not UTF-8 text.
    """
    try:
        text = content.decode("utf-8-sig")  # a mark of the byte order is no part of the first sentence
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text at byte {error.start}; convert it") from error
    if b"\0" in content:  # UTF-16 without a mark of the byte order is valid UTF-8
        raise DataError(f"{name}: not UTF-8 text: a NUL at byte {content.index(0)}; convert it")
    # Not splitlines: a line of a corpus may have other separators in it, which `wc` and sacrebleu do not count.
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
