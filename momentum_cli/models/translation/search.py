"""The search for a translation: token by token, greedily, with a beam, or by drawing.

Sentences are always translated in blocks of a few fixed shapes: a sentence is filled up to a multiple of `_GRAIN`
tokens, and a block to `_BLOCK` sentences. Kernels round differently for different shapes, so otherwise the translation
of a sentence could depend on the sentences around it.

Axes: n sentences, B sentences of a block, K beams, S tokens of a source, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from momentum_cli.data.translation.subwords import END, PADDING, START, UNKNOWN
from momentum_cli.errors import RunError
from momentum_cli.messages import refuse

_BLOCK = 32
_GRAIN = 8
# A translation has at most this many tokens for each of the source, and this many more.
LIMIT = 2, 10
WIDEST = 100
"""Beams at most: each step holds the logits of all beams of a block, 100 MB for each 8,000 tokens of vocabulary."""
LARGEST_PENALTY = 10.0
"""Of the length: (5 + |y|) / 6 to this power is finite for every sentence."""
NOT_FINITE = (
    "the model has logits that are not numbers: its parameters have diverged or are damaged; use an earlier "
    "checkpoint, or train again with a lower learning rate"
)

Tensors = tuple[Tensor, ...]


class Steps(Protocol):
    """A model that writes token by token."""

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensors, Tensors]:
        """Read sentences.

        Args:
            source: (B, S) int64.
            lengths: (B,) int64 on the CPU.

        Returns:
            The context that each step reads, with the batch in dimension 0; and the state before the first step, with
            the batch in dimension 1.
        """

    def step(self, tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        """Advance by one token.

        Args:
            tokens: (B,) int64, the tokens before.
            context: Context from `encode`.
            state: State from `encode`, or from the step before.

        Returns:
            Logits of the next token, (B, V), and the state.
        """


@dataclass(frozen=True)
class Search:
    """Options of the search.

    A sentence y scores ``log p(y) / ((5 + |y|) / 6) ** length_penalty``, where |y| counts its tokens and the end.

    Args:
        beam_size: Partial sentences that are continued at a time, in [1, `WIDEST`]; 1 is greedy.
        length_penalty: In [0, `LARGEST_PENALTY`]; 0 prefers short sentences, as their probability is larger.

    Raises:
        ValueError: An option is outside its range.

    Reference: Wu et al., Google's Neural Machine Translation System, arXiv 1609.08144, equation 14.
    """

    beam_size: int = 1
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.beam_size <= WIDEST:
            raise ValueError(refuse("beam_size", self.beam_size, f"be in [1, {WIDEST}]"))
        if not 0.0 <= self.length_penalty <= LARGEST_PENALTY:
            raise ValueError(refuse("length_penalty", self.length_penalty, f"be in [0, {LARGEST_PENALTY:g}]"))

    def score(self, log_probability: float, tokens: int) -> float:
        """Return the score by which sentences are compared."""
        return float(log_probability / ((5.0 + tokens) / 6.0) ** self.length_penalty)


@dataclass(frozen=True)
class Written:
    """A translation.

    Args:
        tokens: Its tokens, without the end.
        log_probability: Of the tokens and the end, natural logarithm.
    """

    tokens: list[int]
    log_probability: float


def translate(model: Steps, source: Tensor, lengths: Tensor, search: Search) -> list[Written]:
    """Translate sentences.

    The padding, the start of a sentence and ``<unk>`` are never written. A translation is cut off after twice the
    tokens of its source and ten more.

    Args:
        model: The model, in evaluation mode.
        source: (n, S) int64 tokens, each sentence with its end.
        lengths: (n,) int64 on the CPU, each in [1, S].
        search: Options.

    Raises:
        RunError: The model has logits that are not numbers.
    """
    found: list[Written | None] = [None] * len(source)
    with torch.no_grad():
        for places, block, sizes in _blocks(source, lengths):
            written = _beams(model, block, sizes, len(places), search)
            for place, one in zip(places, written, strict=True):
                found[place] = one
    return [one for one in found if one is not None]


def draw(
    model: Steps, source: Tensor, lengths: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> list[Written]:
    """Translate sentences by drawing each token from the distribution of the model.

    Args:
        model, source, lengths: As for `translate`.
        temperature: > 0; logits are divided by it.
        top_k: Draw from this many of the most probable tokens, or None for all.
        generator: Generator of the draws, on the CPU.

    Raises:
        RunError: The model has logits that are not numbers.
    """
    found: list[Written | None] = [None] * len(source)
    with torch.no_grad():
        for places, block, sizes in _blocks(source, lengths):
            context, state = model.encode(block, sizes)
            limits = _limits(sizes)
            tokens = torch.full((len(block),), START)
            rows: list[list[int]] = [[] for _ in places]
            totals = [0.0] * len(places)
            open_rows = set(range(len(places)))
            for number in range(max(limits[: len(places)])):
                logits, state = model.step(tokens.to(block.device), context, state)
                logs = _allowed(logits).double().cpu().log_softmax(1)
                if bool(logs.isnan().any()):
                    raise RunError(NOT_FINITE)
                chosen, columns = logs.topk(min(top_k or logs.shape[1], logs.shape[1]))
                shares = ((chosen - chosen[:, :1]) / temperature).softmax(1)
                picked = torch.multinomial(shares, 1, generator=generator)
                tokens = columns.gather(1, picked).squeeze(1)
                for row in sorted(open_rows):
                    token = END if number + 1 == limits[row] else int(tokens[row])
                    totals[row] += float(logs[row, token])
                    if token == END:
                        open_rows.discard(row)
                    else:
                        rows[row].append(token)
                if not open_rows:
                    break
            for row, place in enumerate(places):
                found[place] = Written(rows[row], totals[row])
    return [one for one in found if one is not None]


def _blocks(source: Tensor, lengths: Tensor) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield the places of some sentences, and a block (B, S) of them with its lengths, both filled up."""
    sizes = (lengths + _GRAIN - 1) // _GRAIN * _GRAIN
    for size in sorted(set(sizes.tolist())):
        same = (sizes == size).nonzero().flatten()
        for places in same.split(_BLOCK):
            # Rows of full length fill a block up, because an empty sentence would be a special case for every kernel.
            rows = torch.cat((places, places[:1].expand(_BLOCK - len(places))))
            block = torch.full((_BLOCK, size), PADDING, dtype=torch.int64, device=source.device)
            width = min(size, source.shape[1])
            block[:, :width] = source[rows.to(source.device), :width]
            beyond = torch.arange(size) >= lengths[rows, None]
            yield places.tolist(), block.masked_fill(beyond.to(block.device), PADDING), lengths[rows]


def _limits(lengths: Tensor) -> list[int]:
    """Return the largest number of steps for each sentence."""
    ratio, more = LIMIT
    return [ratio * length + more for length in lengths.tolist()]


def _allowed(logits: Tensor) -> Tensor:
    """Return logits without the tokens that are never written."""
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits.clone()
    logits[:, [PADDING, UNKNOWN, START]] = -torch.inf
    return logits


def _beams(model: Steps, block: Tensor, lengths: Tensor, count: int, search: Search) -> list[Written]:
    """Translate the first `count` sentences of a block."""
    width, rows, device = search.beam_size, len(block), block.device
    context, state = model.encode(block, lengths)
    context = tuple(tensor.repeat_interleave(width, 0) for tensor in context)
    state = tuple(tensor.repeat_interleave(width, 1) for tensor in state)
    limits = _limits(lengths)
    live = torch.full((rows, width), -torch.inf, device=device)
    live[:, 0] = 0.0
    tokens = torch.full((rows * width,), START, device=device)
    prefixes: list[list[list[int]]] = [[[]] * width for _ in range(rows)]
    finished: list[list[tuple[float, Written]]] = [[] for _ in range(rows)]
    going = set(range(count))
    first_rows = (torch.arange(rows) * width)[:, None]
    for number in range(max(limits[:count])):
        logits, state = model.step(tokens, context, state)
        logs = _allowed(logits).log_softmax(1)
        forced = torch.tensor([number + 1 >= limit for limit in limits]).repeat_interleave(width).to(device)
        ended = torch.full_like(logs, -torch.inf)
        ended[:, END] = logs[:, END]
        logs = torch.where(forced[:, None], ended, logs)
        size = logs.shape[1]
        best, places = (live[:, :, None] + logs.view(rows, width, size)).view(rows, -1).topk(2 * width)
        values, parents, chosen = best.tolist(), (places // size).tolist(), (places % size).tolist()
        # topk puts what is not a number first.
        if any(math.isnan(values[row][0]) for row in going):
            raise RunError(NOT_FINITE)
        next_live, next_tokens, next_parents, next_prefixes = [], [], [], []
        for row in range(rows):
            kept: list[tuple[float, int, int]] = []
            for rank, (value, parent, token) in enumerate(zip(values[row], parents[row], chosen[row], strict=True)):
                if token != END:
                    kept.append((value, token, parent))
                elif rank < width and row in going and value > -torch.inf:
                    written = Written(prefixes[row][parent], value)
                    finished[row].append((search.score(value, number + 1), written))
            kept = [*kept[:width], *[(-torch.inf, END, 0)] * (width - len(kept))]
            next_live.append([value for value, _, _ in kept])
            next_tokens.append([token for _, token, _ in kept])
            next_parents.append([parent for _, _, parent in kept])
            next_prefixes.append([[*prefixes[row][parent], token] for _, token, parent in kept])
            if len(finished[row]) >= width or number + 1 >= limits[row]:
                going.discard(row)
        if not going:
            break
        live, prefixes = torch.tensor(next_live, device=device), next_prefixes
        tokens = torch.tensor(next_tokens, device=device).flatten()
        order = (first_rows + torch.tensor(next_parents)).flatten().to(device)
        state = tuple(tensor.index_select(1, order) for tensor in state)
    if not all(finished[:count]):
        raise RunError(NOT_FINITE)
    # The first of equals, which max gives.
    return [max(finished[row], key=lambda one: one[0])[1] for row in range(count)]


@dataclass(frozen=True)
class Translator:
    """A model with its search.

    Args:
        steps: The model, in evaluation mode.
        search: Options.
        device: Device of the model.
    """

    steps: Steps
    search: Search
    device: torch.device

    def translate(self, source: Tensor, lengths: Tensor) -> list[Written]:
        """See `translate`."""
        return translate(self.steps, source.to(self.device), lengths, self.search)

    def draw(
        self, source: Tensor, lengths: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
    ) -> list[Written]:
        """See `draw`."""
        return draw(self.steps, source.to(self.device), lengths, temperature, top_k, generator)
