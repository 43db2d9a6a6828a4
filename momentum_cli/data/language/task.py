"""The task `language`: words, characters or bytes of the user's text."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from momentum_cli.data.dataset import Dataset, Task, default_data_dir
from momentum_cli.data.fractions import unused_fraction
from momentum_cli.data.language.text import TokenText
from momentum_cli.data.language.vocabulary import Level, Vocabulary
from momentum_cli.data.naive import shares
from momentum_cli.errors import DataError
from momentum_cli.messages import counted, refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress
from momentum_cli.reading import expanded, read_bytes

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "valid", "test")
# Common names of the three files: ours, Mikolov's Penn Treebank, WikiText.
_PATTERNS = ("{}.txt", "ptb.{}.txt", "wiki.{}.tokens")
_SHOWN = 20


@dataclass(frozen=True)
class Language(Task):
    """Predict each token of a text from all tokens before it.

    Args:
        level: ``"character"``, ``"byte"`` or ``"word"``, see `Vocabulary`.
        path: A file, which is cut into contiguous parts: first train, then validation, then test. Or a folder with
            ``train.txt``, ``valid.txt`` and ``test.txt`` (or ``ptb.train.txt`` …, ``wiki.train.tokens`` …), or with one
            file ``*.txt``. A relative path is resolved against the folder of data sets, then against the current
            folder.
        validation_fraction, test_fraction: Of the bytes of a single file, each > 0, their sum < 1; a cut is moved to
            the next beginning of a character, or at word level of a line.
        min_count: Tokens that occur less often in the training part become ``<unk>``, >= 1; not at byte level.
        max_size: Size of the vocabulary, >= 2; less frequent tokens become ``<unk>``. None: no limit.

    Raises:
        ValueError: An option is outside its range.
    """

    level: Level = "character"
    path: str = "tinyshakespeare"
    validation_fraction: float = 0.05
    test_fraction: float = 0.1
    min_count: int = 1
    max_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(refuse(name, getattr(self, name), "be in (0, 1)"))
        if self.validation_fraction + self.test_fraction >= 1.0:
            must = f"be below {1.0 - self.validation_fraction:g} with validation_fraction = {self.validation_fraction}"
            raise ValueError(refuse("test_fraction", self.test_fraction, must, "a part must be left for training"))
        if self.min_count < 1:
            raise ValueError(refuse("min_count", self.min_count, "be >= 1"))
        if self.max_size is not None and self.max_size < 2:
            raise ValueError(refuse("max_size", self.max_size, "be >= 2"))
        if self.level == "byte" and (self.min_count > 1 or self.max_size is not None):
            name = "min_count" if self.min_count > 1 else "max_size"
            raise ValueError(refuse(name, getattr(self, name), "be left out at byte level, which has all bytes"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of an evaluation: perplexity of words, bits of a character or byte; and the loss."""
        return (Vocabulary(self.level).metric, "loss")

    def sizes(self) -> None:
        """Return None: only the text determines them."""

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Return that the user provides the text."""
        return "ready, reads your own text"

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the text and build the vocabulary of its training part; nothing is downloaded.

        Returns:
            Dataset whose splits are `TokenText`.

        Raises:
            DataError: The text is missing, is not UTF-8, is too short, or has characters outside the vocabulary.
        """
        texts = self._read(self._find(data_dir or default_data_dir()))
        vocabulary = Vocabulary.of(texts["train"][1], self.level, self.min_count, self.max_size)
        splits = {split: self._encoded(vocabulary, name, text) for split, (name, text) in texts.items()}
        return Dataset(
            name="language",
            train=splits["train"],
            validation=splits["valid"],
            test=splits["test"],
            input_size=len(vocabulary),
            output_size=len(vocabulary),
            output="every",
            loss="cross_entropy",
            metrics=self.metrics,
            labels=None,
            preprocessing=vocabulary.preprocessing(),
            licence="that of the text",
            naive=(shares("unigram", splits["train"].tokens[1:].long(), len(vocabulary), every=True),),
        )

    def _find(self, data_dir: Path) -> dict[str, Path]:
        """Return the file of each split, or one file for all under the key ``""``."""
        wanted = expanded(self.path)
        places = [wanted] if wanted.is_absolute() else [wanted, data_dir / wanted]
        place = next((path for path in places if path.exists()), None)
        if place is None:
            raise DataError(
                f"task.path: not found (tried {', '.join(str(path) for path in places)}); give a text file, or a "
                "folder with train.txt, valid.txt and test.txt"
            )
        if place.is_file():
            return {"": place}
        for pattern in _PATTERNS:
            files = {split: place / pattern.format(split) for split in SPLITS}
            if files["train"].is_file():
                missing = [path.name for path in files.values() if not path.is_file()]
                if missing:
                    raise DataError(f"{place}: has {files['train'].name} but no {', '.join(missing)}")
                return files
        single = sorted(place.glob("*.txt"))
        if len(single) != 1:
            raise DataError(
                f"{place}: the folder has no train.txt, valid.txt and test.txt, but {len(single)} files *.txt; "
                "name the file in task.path"
            )
        return {"": single[0]}

    def _read(self, files: dict[str, Path]) -> dict[str, tuple[str, bytes]]:
        """Return the name and text of each split."""
        texts = {}
        for split, path in files.items():
            try:
                content = read_bytes(path)
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
            if self.level != "byte":
                try:
                    content.decode("utf-8")
                except UnicodeDecodeError as error:
                    found = content[error.start : error.start + 1].hex()
                    raise DataError(
                        f"{path}: not UTF-8 text at byte {error.start} (0x{found}); convert it, or use task.level=byte"
                    ) from error
                content = content.removeprefix(codecs.BOM_UTF8)  # no part of the text
            texts[split] = (str(path), content)
        if "" not in texts:
            if (unused := unused_fraction(self, f"where {files['train'].parent} has files of each split")) is not None:
                raise DataError(f"task: {unused}")
            return texts
        name, content = texts[""]
        cuts = [1.0 - self.test_fraction - self.validation_fraction, 1.0 - self.test_fraction]
        first, second = (self._cut(content, round(fraction * len(content))) for fraction in cuts)
        parts = (content[:first], content[first:second], content[second:])
        return {split: (f"{name} ({split})", part) for split, part in zip(SPLITS, parts, strict=True)}

    def _cut(self, content: bytes, at: int) -> int:
        """Return the next place at or after `at` where a token may begin."""
        if self.level == "word":
            return len(content) if (end := content.find(b"\n", max(at - 1, 0))) < 0 else end + 1
        if self.level == "character":
            # Bytes 10xxxxxx continue a character.
            while at < len(content) and content[at] & 0xC0 == 0x80:
                at += 1
        return at

    def _encoded(self, vocabulary: Vocabulary, name: str, text: bytes) -> TokenText:
        import numpy as np
        import torch

        numbers, missing = vocabulary.encode(text)
        if len(numbers) < 2:
            has = counted(len(numbers), "token")
            raise DataError(f"{name}: has {has}, at least 2 are needed: one to read, one to predict")
        if missing and vocabulary.unknown is None:
            shown = " ".join(repr(token) for token in missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
            raise DataError(
                f"{name}: {len(missing)} characters are not in the training text: {shown}; with task.min_count=2 rare "
                "and unseen ones become <unk>, and task.level=byte knows them all"
            )
        size = len(vocabulary)
        dtype: type[np.generic] = np.uint8 if size <= 256 else np.int16 if size <= 2**15 else np.int32
        return TokenText(torch.from_numpy(numbers.astype(dtype)), size)
