"""The archive of a translation model: a zip file, which any language can open with its standard library.

encoder.onnx, step.onnx     or .pt2: the two programs
source.model, target.model  SentencePiece models; with a joint vocabulary there is only the first
momentumrnn.json            the description, see `momentum_cli.formats.bundle`
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from momentum_cli import __version__
from momentum_cli.data import NOT_SCORED, Batch
from momentum_cli.data.translation.subwords import END, PADDING, START, UNKNOWN
from momentum_cli.data.translation.task import vocabularies
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.archive import Content, check_zip
from momentum_cli.formats.bundle import FORMAT, FORMAT_VERSION, Bundle, decode_bundle
from momentum_cli.formats.description import state_entries
from momentum_cli.formats.translation import onnx, pt2
from momentum_cli.messages import Said, refuse
from momentum_cli.models.model import Answered
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import LIMIT, Search, Steps, Tensors, Translator, translate
from momentum_cli.training.trained import Loaded

PROGRAMS: dict[str, Any] = {"onnx": onnx, "pt2": pt2}
"""Formats of the two programs: modules with ``write(model)`` and ``load(encoder, step, states)``."""
DESCRIPTION = "momentumrnn.json"
SUFFIX = ".zip"
# The date of every member, so that the same model gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class TranslationProgram:
    """A loaded archive; it writes token by token as `momentum_cli.models.translation.search.Steps` do.

    Args:
        bundle: Its description.
        encoder: Maps sentences of one length (B, S) to the values (B, S, M) and keys (B, S, H) of the memory, and the
            first tensor of the state.
        decoder: Maps tokens (B,), memory and state to logits (B, V) and the next state.
        search: Its search for translations.
    """

    bundle: Bundle
    encoder: Any
    decoder: Any
    search: Search

    @property
    def translator(self) -> Translator:
        """The program with its search."""
        return Translator(cast(Steps, self), self.search, torch.device("cpu"))

    def search_with(self, **options: Any) -> TranslationProgram:
        """Return the program with other options of the search."""
        return replace(self, search=replace(self.search, **options))

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensors, Tensors]:
        """See `Steps`: sentences of equal length are read together, as the encoder takes no lengths."""
        parts: dict[int, tuple[Tensor, Tensors]] = {}
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().flatten()
            parts[length] = rows, self.encoder(source[rows, :length].contiguous())
        _, (values, keys, start) = next(iter(parts.values()))
        count, steps = source.shape
        memory = [tensor.new_zeros(count, steps, tensor.shape[2]) for tensor in (values, keys)]
        begin = start.new_zeros(start.shape[0], count, start.shape[2])
        for length, (rows, (values, keys, start)) in parts.items():
            memory[0][rows, :length], memory[1][rows, :length] = values, keys
            begin[:, rows] = start
        there = torch.arange(steps) < lengths[:, None]
        zeros = self.bundle.zero_state(count)
        names = self.bundle.state_names
        return (*memory, there), (begin, *(zeros[name] for name in names[1:]))

    def step(self, tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        """See `Steps`."""
        return cast("tuple[Tensor, Tensors]", self.decoder(tokens, context, state))

    def forced(self, batch: Batch) -> Tensor:
        """Return the logits of each token of the references given the tokens before it, (B, T, V)."""
        assert batch.lengths is not None
        context, state = self.encode(batch.inputs, batch.lengths)
        before = torch.full((len(batch.inputs),), START)
        found = []
        for tokens in batch.targets.unbind(1):
            logits, state = self.step(before, context, state)
            found.append(logits)
            before = tokens.masked_fill(tokens == NOT_SCORED, START)
        return torch.stack(found, 1)

    def answer(self, batch: Batch) -> Answered:
        """See `Model.answer`."""
        assert batch.lengths is not None
        written = translate(self, batch.inputs, batch.lengths, self.search)
        return Answered(self.forced(batch), None, [one.tokens for one in written])


def describe(source: Loaded, format: str) -> Bundle:
    """Return the description of a translation model."""
    model = cast(TranslationModel, source.model)
    progress = source.checkpoint.data["progress"]
    ratio, more = LIMIT
    return Bundle(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "export": {"format": format, "stateful": True},
            "model": {"cell": source.recipe.model.cell, "output_size": model.output_size},
            "inputs": {"name": "source", "shape": ["batch", "steps"], "dtype": "int64"},
            "outputs": {"name": "logits", "shape": ["batch", model.output_size], "dtype": "float32"},
            "state": state_entries(model),
            "translation": {
                "beam_size": model.search.beam_size,
                "length_penalty": model.search.length_penalty,
                "limit": {"for_each_token": ratio, "more": more},
                "tokens": {"padding": PADDING, "unknown": UNKNOWN, "start": START, "end": END},
            },
            "dataset": source.checkpoint.data["dataset"],
            "metrics": {"step": progress["step"], "best": progress.get("best"), "last": progress.get("last")},
            "recipe": source.recipe.dump(),
            "versions": {"momentumrnn": __version__, "torch": torch.__version__},
        }
    )


def check_format(format: str) -> None:
    """Refuse a format that translation models do not have.

    Raises:
        RecipeError: It is not among `PROGRAMS`.
    """
    if format not in PROGRAMS:
        raise RecipeError(refuse("--format", format, f"be {' or '.join(PROGRAMS)} for a model that translates"))


def write(model: TranslationModel, bundle: Bundle, path: Path) -> None:
    """Write the archive to ``path``.

    Raises:
        RecipeError: A package is missing.
    """
    format = bundle.data["export"]["format"]
    encoder, step = PROGRAMS[format].write(model)
    source, target = vocabularies(bundle.dataset["preprocessing"])
    members = {f"encoder.{format}": encoder, f"step.{format}": step, "source.model": source.model}
    members |= {} if target is source else {"target.model": target.model}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | {DESCRIPTION: bundle.encode().encode()}).items():
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def recognised(content: Content) -> str | None:
    """Return the format of the programs in an archive of a translation model; None for another file."""
    names = set(content.members)
    return next((name for name in PROGRAMS if {f"encoder.{name}", f"step.{name}", DESCRIPTION} <= names), None)


def load(path: Path, format: str) -> TranslationProgram:
    """Load an archive that `write` wrote.

    Raises:
        DataError: It is damaged, not ours, or holds something that could run code.
        RecipeError: A package is missing.
    """
    with zipfile.ZipFile(io.BytesIO(check_zip(path))) as archive:
        encoder, step, text = (archive.read(name) for name in (f"encoder.{format}", f"step.{format}", DESCRIPTION))
    bundle = decode_bundle(text, path, format)
    try:
        options = bundle.data["translation"]
        search = Search(int(options["beam_size"]), float(options["length_penalty"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its description of the search is not one ({error!r})") from error
    names = bundle.state_names
    if not names or bundle.data["inputs"]["name"] != "source":
        raise DataError(f"{path}: {refuse('the state', Said('none'), 'have one tensor at least')}; export it again")
    vocabularies(bundle.dataset["preprocessing"])
    try:
        encode, advance = PROGRAMS[format].load(encoder, step, names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return TranslationProgram(bundle, encode, advance, search)
