"""The task `translation`: sentences of one language into another, from the user's parallel text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.files.checking import COPIES, copies_in
from momentum_cli.data.fractions import check_fractions, unused_fraction
from momentum_cli.data.translation.corpus import STEMS, Corpus, divide, read_folder, read_split
from momentum_cli.data.translation.pairs import Flat, ParallelText
from momentum_cli.data.translation.subwords import LONGEST, SPECIAL, Subwords, require_sentencepiece
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import refuse
from momentum_cli.metrics import Measured
from momentum_cli.progress import NO_PROGRESS, DownloadProgress
from momentum_cli.text_scores import sacrebleu_is_installed

_LONGEST_LANGUAGE = 16


@dataclass(frozen=True)
class Translation(Task):
    """Translate sentences.

    Args:
        path: A folder with two files for each split, ``STEM.SOURCE`` and ``STEM.TARGET``, or one ``STEM.tsv``; or one
            TSV file for all splits. Each may be compressed, as in ``train.en.gz``. A relative path is resolved against
            the folder of data sets, then against the current folder.
        source_language, target_language: Endings of the files to translate from and into, such as ``en`` and ``de``.
            The first column of a TSV file is the source, the second one the target.
        train, validation, test: Stems of the files of each split; None: train; val, valid, validation or dev; and test,
            or the only one that begins so.
        validation_fraction, test_fraction: Shares of a single TSV file for all splits.
        vocabulary_size: Subwords, > 4, of each side or of both together; learned from the training split.
        joint: Both sides share one vocabulary, so that names and numbers have the same tokens in both.
        max_length: Training pairs with more subwords on a side are left out, >= 1. Validation and test keep all.

    Raises:
        ValueError: An option is outside its range.
    """

    path: str = "multi30k"
    source_language: str = "en"
    target_language: str = "de"
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    vocabulary_size: int = 8000
    joint: bool = True
    max_length: int = 100

    def __post_init__(self) -> None:
        check_fractions(self.validation_fraction, self.test_fraction)
        if self.validation_fraction == 0.0:
            raise ValueError(refuse("validation_fraction", 0.0, "be > 0"))
        for name in ("source_language", "target_language"):
            value = getattr(self, name)
            if not value or len(value) > _LONGEST_LANGUAGE or not all(c.isalnum() or c in "-_" for c in value):
                raise ValueError(refuse(name, value, "be the ending of a file, such as en"))
        if self.source_language == self.target_language:
            raise ValueError(refuse("target_language", self.target_language, "differ from source_language"))
        if not SPECIAL < self.vocabulary_size < 2**31:
            raise ValueError(refuse("vocabulary_size", self.vocabulary_size, f"be in [{SPECIAL + 1}, {2**31 - 1}]"))
        if self.max_length < 1:
            raise ValueError(refuse("max_length", self.max_length, "be >= 1"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """BLEU and chrF of the translations; perplexity of a token of the reference, and the loss."""
        return ("bleu", "chrf", "perplexity", "loss")

    @property
    def measured(self) -> tuple[Measured, ...]:
        """Texts."""
        return ("texts",)

    def sizes(self) -> None:
        """Return None: only the text determines them."""

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Return that the user provides the text."""
        return "ready, reads your own parallel text"

    def source(self, data_dir: Path | None = None) -> Path:
        """Return the file or folder that the task reads.

        Raises:
            DataError: It does not exist.
        """
        return find_data(self.path, data_dir)

    def describe(self, data_dir: Path | None = None) -> dict[str, Any]:
        """Return the languages; see `Task.describe`."""
        return {"languages": list(self._languages)}

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the text and learn the subwords of its training split; nothing is downloaded.

        Returns:
            Dataset whose splits are `ParallelText`.

        Raises:
            DataError: The text is missing or damaged, or too short for the vocabulary.
            RecipeError: An optional package is missing.
        """
        require_sentencepiece()
        if not sacrebleu_is_installed():
            raise RecipeError(
                "translations are scored by sacrebleu, which is not installed; pip install 'momentumrnn[translation]'"
            )
        texts = self._read(self.source(data_dir))
        warnings = [text for corpus in texts.values() for text in corpus.warning]
        source, target = self._learn(texts["train"])
        splits = {name: _encoded(corpus, source, target) for name, corpus in texts.items()}
        splits["train"], dropped = _shortened(splits["train"], self.max_length)
        if dropped:
            warnings.append(
                f"{texts['train'].name}: {dropped} training pairs with more than {self.max_length} subwords on a side "
                "are left out (task.max_length)"
            )
        for name in ("validation", "test"):
            warnings += _slow(splits[name], texts[name].name)
        warnings += _copies(splits, {name: corpus.name for name, corpus in texts.items()})
        subwords = {"source": source.encoded, **({} if self.joint else {"target": target.encoded})}
        return Dataset(
            name="translation",
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
            input_size=len(source),
            output_size=len(target),
            output="every",
            loss="cross_entropy",
            metrics=self.metrics,
            labels=None,
            preprocessing={
                "kind": "translation",
                "languages": list(self._languages),
                "joint": self.joint,
                "sentencepiece": subwords,
            },
            licence="that of the text",
            spell=target.text,
            warnings=tuple(warnings),
        )

    @property
    def _languages(self) -> tuple[str, str]:
        return self.source_language, self.target_language

    def _read(self, place: Path) -> dict[str, Corpus]:
        given = {split: getattr(self, split) for split in STEMS}
        if place.is_dir():
            if (unused := unused_fraction(self, f"where {place} has files of each split")) is not None:
                raise DataError(f"task: {unused}")
            return read_folder(place, self._languages, given)
        named = [split for split, stem in given.items() if stem is not None]
        if named:
            raise DataError(
                refuse(f"task.{named[0]}", given[named[0]], f"be left out where task.path is one file, {place}")
            )
        return divide(read_split([place]), self.validation_fraction, self.test_fraction)

    def _learn(self, train: Corpus) -> tuple[Subwords, Subwords]:
        if self.joint:
            both = Subwords.learn([*train.sources, *train.targets], self.vocabulary_size)
            return both, both
        return (
            Subwords.learn(train.sources, self.vocabulary_size),
            Subwords.learn(train.targets, self.vocabulary_size),
        )


def vocabularies(preprocessing: dict[str, Any]) -> tuple[Subwords, Subwords]:
    """Return the subwords of source and target that a checkpoint or an exported file carries.

    Raises:
        DataError: The model was not trained to translate, or they are damaged.
    """
    if preprocessing.get("kind") != "translation":
        raise DataError("the model was not trained to translate: it has no parallel vocabulary")
    try:
        models = preprocessing["sentencepiece"]
        source = Subwords.of(models["source"])
        return source, source if preprocessing["joint"] else Subwords.of(models["target"])
    except (KeyError, TypeError) as error:
        raise DataError(f"the description of the vocabulary is damaged: {error!r}; train the model again") from error


def _encoded(corpus: Corpus, source: Subwords, target: Subwords) -> ParallelText:
    return ParallelText(
        Flat.of([source.encode(line) for line in corpus.sources], len(source)),
        Flat.of([target.encode(line) for line in corpus.targets], len(target)),
        tuple(corpus.sources),
        tuple(corpus.targets),
        tuple(corpus.rows),
    )


def _slow(split: ParallelText, name: str) -> list[str]:
    """Return a warning for sentences that each evaluation translates for a long time, with the name of their files."""
    # The end of a sentence is a token, but no subword.
    slow = (split.lengths > LONGEST + 1).nonzero().flatten().tolist()
    if not slow:
        return []
    count = f"{len(slow)} of {len(split)} pairs have more than {LONGEST} subwords in their source"
    return [
        f"{name}: {count} (the first: line {split.rows[slow[0]]}), and each evaluation translates them: divide them"
    ]


def _copies(splits: dict[str, ParallelText], names: dict[str, str]) -> Iterator[str]:
    """Yield a warning for two splits that have pairs in common, with the names of their files."""
    pairs = (pair for split in splits.values() for pair in zip(split.sources, split.references, strict=True))
    # No sentence has a line break, so that it divides the two.
    contents = ("\n".join(pair).encode("utf-8", "surrogatepass") for pair in pairs)
    found = copies_in(contents, {name: len(split) for name, split in splits.items()})
    rows = [row for split in splits.values() for row in split.rows]
    for (first, second), numbers in found.items():
        before, own = numbers[0]
        count = f"{len(numbers)} of {len(splits[second])} pairs are in {names[first]} too"
        lines = f"line {rows[own]}, and line {rows[before]} of {names[first]}"
        yield f"{names[second]}: {count} (the first: {lines}); {COPIES}"


def _shortened(split: ParallelText, longest: int) -> tuple[ParallelText, int]:
    """Return the pairs whose sides have at most `longest` subwords, and the number of the others.

    Raises:
        DataError: No pair is left.
    """
    kept = (split.costs <= longest + 1).nonzero().flatten().tolist()  # the end of a sentence is a token, but no subword
    if len(kept) == len(split):
        return split, 0
    if not kept:
        shortest = int(split.costs.min()) - 1
        raise DataError(refuse("task.max_length", longest, f"be >= {shortest}, the subwords of the shortest pair"))
    chosen = ParallelText(
        _rows(split.source, kept),
        _rows(split.target, kept),
        tuple(split.sources[number] for number in kept),
        tuple(split.references[number] for number in kept),
        tuple(split.rows[number] for number in kept),
    )
    return chosen, len(split) - len(kept)


def _rows(flat: Flat, kept: list[int]) -> Flat:
    starts = flat.starts.tolist()
    cut = Flat.of([flat.tokens[starts[number] : starts[number + 1]].tolist() for number in kept], 2**31)
    return replace(cut, tokens=cut.tokens.to(flat.tokens.dtype))
