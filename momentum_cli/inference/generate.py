"""`momentumrnn generate`: the continuation of a prompt, token by token with the state carried, or its translation."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.data.translation.subwords import END, LONGEST
from momentum_cli.data.translation.task import vocabularies
from momentum_cli.errors import RecipeError, RunError
from momentum_cli.inference.opened import Subject, open_subject, with_search
from momentum_cli.inference.translator import padded
from momentum_cli.messages import Said, refuse
from momentum_cli.models.translation.search import NOT_FINITE
from momentum_cli.progress import NullUi, Ui

_SHOWN = 20


@dataclass(frozen=True)
class Asked:
    """Arguments of `generate`."""

    prompt: str
    length: int | None
    temperature: float | None
    top_k: int | None
    seed: int | None


def generate(
    run: Path,
    *,
    prompt: str = "",
    length: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    write: Callable[[str], None] = lambda text: None,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Continue a prompt with a language model, or translate it with a translation model.

    ``p(x_{t+1}) ∝ exp(logits / temperature)`` over the `top_k` most probable tokens; temperature 0 takes the most
    probable one (the first of equals).

    Args:
        run: A run folder (for its best checkpoint), a checkpoint, or a file exported with ``--stateful``.
        prompt: Beginning of the text; if it is empty, the text begins as if after a line break.
        length: Tokens to add, >= 1: characters, bytes or words; None: 200. A translation ends by itself.
        temperature: >= 0; None: 0.8 for a text, and a translation comes from the beam search. Of a translation > 0.
        top_k: >= 1, or None for the whole vocabulary; only with a temperature above 0.
        seed: Seed of the draws, in [0, 2**32); None: 0. The same seed, prompt and model give the same text.
        beam_size, length_penalty: Options of the beam search of a translation model; None: those of the recipe. Only
            without a temperature, as nothing is searched for with one.
        write: Receives the prompt, then the text piece by piece as it is generated.
        ui: Where notes are shown.

    Returns:
        ``prompt``, ``text`` (the added text), ``tokens`` (their number), ``level``, ``unknown`` (tokens of the prompt
        that were read as ``<unk>``), ``temperature``, ``top_k``, ``seed`` (None if nothing is drawn), ``checkpoint``,
        ``step``; of a translation ``log_probability`` and ``search`` (None if it is drawn) in place of ``level``, and a
        ``temperature`` of None if it is searched for.

    Raises:
        RecipeError: An option is outside its range or contradicts another one, the prompt has characters that the model
            does not know, or the file keeps no state.
        DataError: The model does not exist or is not a language model.
        RunError: The model has logits that are not numbers.
    """
    shown: Ui = ui or NullUi()
    for name, value, least in (("--length", length, 1), ("--top-k", top_k, 1), ("--temperature", temperature, 0.0)):
        if value is not None and not least <= value < math.inf:
            raise RecipeError(refuse(name, value, f"be >= {least:g} and finite"))
    if seed is not None and not 0 <= seed < 2**32:
        raise RecipeError(refuse("--seed", seed, f"be in [0, {2**32 - 1}]"))
    if temperature == 0.0:
        _leave_out(
            {"--top-k": top_k, "--seed": seed}, "with --temperature 0", "the most probable token is taken each time"
        )
    if temperature:
        given = {"--beam-size": beam_size, "--length-penalty": length_penalty}
        _leave_out(given, f"with --temperature {temperature:g}", "tokens are then drawn, not searched for")
    subject = with_search(open_subject(run), beam_size, length_penalty)
    asked = Asked(prompt, length, temperature, top_k, seed)
    kind = subject.trained_on["preprocessing"].get("kind", "none")
    found = GENERATORS.get(kind, _continued)(subject, asked, write, shown)
    drawn = {"top_k": top_k, "seed": (seed or 0) if found["temperature"] else None}
    return {"prompt": prompt, **found, **drawn, "checkpoint": str(subject.path), "step": subject.step}


def _leave_out(given: Mapping[str, Any], where: str, why: str) -> None:
    """Refuse options without effect.

    Raises:
        RecipeError: One of them has a value.
    """
    for name, value in given.items():
        if value is not None:
            raise RecipeError(refuse(name, value, f"be left out {where}", why))


def _continued(subject: Subject, asked: Asked, write: Callable[[str], None], shown: Ui) -> dict[str, Any]:
    """Continue a text."""
    prompt, length = asked.prompt, asked.length or 200
    temperature = 0.8 if asked.temperature is None else asked.temperature
    vocabulary = Vocabulary.from_preprocessing(subject.trained_on["preprocessing"])
    if subject.stream is None:
        raise RecipeError(
            f"{subject.path}: exported without --stateful, so it keeps no state between tokens; export it again"
        )
    numbers, unknown = encode_prompt(vocabulary, prompt)
    if unknown:
        shown.note(f"not in the vocabulary, read as <unk>: {' '.join(unknown[:_SHOWN])}", "warning")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    # A word of the prompt is followed by a space, as every generated one is.
    write(prompt + (" " if vocabulary.level == "word" and prompt and not prompt[-1].isspace() else ""))
    pieces = []
    for number in _continue(subject, numbers, length, temperature, asked.top_k, asked.seed or 0):
        piece = decoder.decode(vocabulary.text(number))
        pieces.append(piece)
        write(piece)
    pieces.append(decoder.decode(b"", final=True))
    write(pieces[-1])
    return {
        "text": "".join(pieces),
        "tokens": length,
        "level": vocabulary.level,
        "unknown": unknown,
        "temperature": temperature,
    }


def _translated(subject: Subject, asked: Asked, write: Callable[[str], None], shown: Ui) -> dict[str, Any]:
    """Translate a prompt."""
    translator = subject.translator
    assert translator is not None
    _leave_out({"--length": asked.length}, "for a translation", "it ends by itself")
    if asked.temperature == 0.0:
        remedy = "without one it is searched for, greedily with --beam-size 1"
        raise RecipeError(refuse("--temperature", asked.temperature, "be > 0 or left out for a translation", remedy))
    if asked.temperature is None:
        drawing = {"--top-k": asked.top_k, "--seed": asked.seed}
        _leave_out(drawing, "without --temperature", "a translation is then searched for, not drawn")
    source, target = vocabularies(subject.trained_on["preprocessing"])
    try:
        asked.prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecipeError("--prompt: not Unicode text; check the encoding of the terminal") from error
    if "\n" in asked.prompt.strip():
        got = Said(f"{asked.prompt.strip().count(chr(10)) + 1} lines")
        raise RecipeError(refuse("--prompt", got, "be one line", "predict translates a file line by line"))
    tokens, unknown = source.encode(asked.prompt), source.unknown(asked.prompt)
    if tokens == [END]:
        raise RecipeError("--prompt is required: the sentence to translate")
    if len(tokens) > LONGEST + 1:
        raise RecipeError(refuse("--prompt", Said(f"{len(tokens) - 1} subwords"), f"have at most {LONGEST}"))
    if unknown:
        shown.note(f"not in the vocabulary, read as <unk>: {' '.join(unknown[:_SHOWN])}", "warning")
    if asked.temperature:
        generator = torch.Generator().manual_seed(asked.seed or 0)
        (written,) = translator.draw(*padded([tokens]), asked.temperature, asked.top_k, generator)
    else:
        (written,) = translator.translate(*padded([tokens]))
    text = target.text(written.tokens)
    write(text)
    return {
        "text": text,
        "tokens": len(written.tokens) + 1,
        "log_probability": written.log_probability,
        "search": None if asked.temperature else asdict(translator.search),
        "unknown": unknown,
        "temperature": asked.temperature,
    }


# By the kind of preprocessing of the model; the first refuses models of other kinds.
GENERATORS: dict[str, Callable[[Subject, Asked, Callable[[str], None], Ui], dict[str, Any]]] = {
    "tokens": _continued,
    "translation": _translated,
}


def encode_prompt(vocabulary: Vocabulary, prompt: str) -> tuple[list[int], list[str]]:
    """Return the tokens of a prompt, and those that are read as ``<unk>``.

    Raises:
        RecipeError: The prompt has characters that the model does not know, or is empty and the model has no line break
            to start from.
    """
    try:
        encoded, unknown = vocabulary.encode(prompt.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RecipeError("--prompt: not Unicode text; check the encoding of the terminal") from error
    if unknown and vocabulary.unknown is None:
        known = "".join(sorted(vocabulary.tokens))
        got = Said(" ".join(map(repr, unknown[:_SHOWN])))
        raise RecipeError(refuse("--prompt", got, "have only characters that the model knows", f"it knows {known!r}"))
    numbers = encoded.tolist()
    if not numbers:
        if vocabulary.line_end is None:
            raise RecipeError("--prompt is required: the training text has no line break to start from")
        numbers = [vocabulary.line_end]
    return numbers, unknown


def _continue(
    subject: Subject, numbers: list[int], length: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[int]:
    """Yield the generated tokens, each as soon as it is drawn."""
    assert subject.stream is not None
    generator = torch.Generator().manual_seed(seed)
    stream = subject.stream(1)
    read = torch.tensor([numbers])
    with torch.inference_mode():
        for _ in range(length):
            outputs = stream(read.to(subject.device))
            number = draw(outputs[0, -1].double().cpu(), temperature, top_k, generator)
            yield number
            read = torch.tensor([[number]])


def draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """Draw a token.

    Args:
        logits: (V,) logits or log-probabilities.
        temperature: >= 0; 0 takes the largest.
        top_k: Draw from this many of the largest, or None for all.
        generator: Generator of the draw.

    Raises:
        RunError: The largest is not a finite number.
    """
    if not bool(logits.max().isfinite()):
        raise RunError(NOT_FINITE)
    if temperature == 0.0:
        return int(logits.argmax())
    chosen, places = logits.topk(min(top_k or len(logits), len(logits)))
    # Relative to the largest, so that a small temperature does not overflow.
    shares = ((chosen - chosen[0]) / temperature).softmax(0)
    return int(places[torch.multinomial(shares, 1, generator=generator)])
