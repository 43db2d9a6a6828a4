"""`momentumrnn generate`: the continuation of a prompt, token by token, with the state carried."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.errors import RecipeError
from momentum_cli.inference.opened import Subject, open_subject
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NullUi, Ui

_SHOWN = 20


def generate(
    run: Path,
    *,
    prompt: str = "",
    length: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 0,
    write: Callable[[str], None] = lambda text: None,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Continue a prompt with a language model.

    ``p(x_{t+1}) ∝ exp(logits / temperature)`` over the `top_k` most probable tokens; temperature 0 takes the most
    probable one (the first of equals).

    Args:
        run: A run folder (for its best checkpoint), a checkpoint, or a file exported with ``--stateful``.
        prompt: Beginning of the text; if empty, the text begins as after a line break.
        length: Tokens to add, >= 1: characters, bytes or words.
        temperature: >= 0.
        top_k: >= 1, or None for the whole vocabulary.
        seed: Of the draws, in [0, 2**32): the same seed, prompt and model give the same text.
        write: Receives the prompt, then the text piece by piece as it is generated.
        ui: Where notes are shown.

    Returns:
        ``prompt``, ``text`` (the added text), ``tokens`` (their number), ``level``, ``unknown`` (tokens of the prompt
        that were read as ``<unk>``), ``temperature``, ``top_k``, ``seed``, ``checkpoint``, ``step``.

    Raises:
        RecipeError: An option is outside its range, the prompt has characters that the model does not know, or the file
            keeps no state.
        DataError: The model does not exist or is not a language model.
    """
    shown: Ui = ui or NullUi()
    for name, value, least in (("--length", length, 1), ("--top-k", top_k, 1), ("--temperature", temperature, 0.0)):
        if value is not None and not value >= least:
            raise RecipeError(refuse(name, value, f"be >= {least:g}"))
    if not 0 <= seed < 2**32:
        raise RecipeError(refuse("--seed", seed, f"be in [0, {2**32 - 1}]"))
    subject = open_subject(run)
    vocabulary = Vocabulary.from_preprocessing(subject.trained_on["preprocessing"])
    if subject.stream is None:
        raise RecipeError(f"{run}: exported without --stateful, so it keeps no state between tokens; export it again")
    numbers, unknown = encode_prompt(vocabulary, prompt)
    if unknown:
        shown.note(f"not in the vocabulary, read as <unk>: {' '.join(unknown[:_SHOWN])}", "warning")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    # A word of the prompt is followed by a space, as every generated one is.
    write(prompt + (" " if vocabulary.level == "word" and prompt and not prompt[-1].isspace() else ""))
    pieces = []
    for number in _continue(subject, numbers, length, temperature, top_k, seed):
        piece = decoder.decode(vocabulary.text(number))
        pieces.append(piece)
        write(piece)
    pieces.append(decoder.decode(b"", final=True))
    write(pieces[-1])
    return {
        "prompt": prompt,
        "text": "".join(pieces),
        "tokens": length,
        "level": vocabulary.level,
        "unknown": unknown,
        "temperature": temperature,
        "top_k": top_k,
        "seed": seed,
        "checkpoint": str(subject.path),
        "step": subject.step,
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
    """
    if temperature == 0.0:
        return int(logits.argmax())
    chosen, places = logits.topk(min(top_k or len(logits), len(logits)))
    # Relative to the largest, so that a small temperature does not overflow.
    shares = ((chosen - chosen[0]) / temperature).softmax(0)
    return int(places[torch.multinomial(shares, 1, generator=generator)])
