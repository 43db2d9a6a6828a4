"""The search: against trying every sentence, and independent of what else is translated."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from momentum_cli.data.translation.subwords import END, PADDING, START, UNKNOWN
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.layers.lstm_gru_rnn import LSTM
from momentum_cli.models.translation import search as module
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import (
    LARGEST_PENALTY,
    LIMIT,
    WIDEST,
    Search,
    Tensors,
    draw,
    translate,
)
from momentum_cli.recipe.sections import TranslationModelOptions

V = 8


@dataclass(frozen=True)
class Markov:
    """Logits of the next token depend on the one before, the first of the source, and the number of tokens so far."""

    table: Tensor  # (steps, V, V)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensors, Tensors]:
        return (source[:, :1],), (torch.zeros(1, len(source), dtype=torch.int64),)

    def step(self, tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        place = state[0][0].clamp(max=len(self.table) - 1)
        return self.table[place, tokens].roll(1, 1) + context[0], (state[0] + 1,)


def markov(seed: int, steps: int = 3) -> Markov:
    return Markov(2 * torch.randn(steps, V, V, generator=torch.Generator().manual_seed(seed)))


def log_probability(model: Markov, tokens: list[int]) -> float:
    context, state = model.encode(torch.tensor([[5]]), torch.tensor([1]))
    total, before = 0.0, START
    for token in [*tokens, END]:
        logits, state = model.step(torch.tensor([before]), context, state)
        logits[:, [PADDING, UNKNOWN, START]] = -math.inf
        total += float(logits.log_softmax(1)[0, token])
        before = token
    return total


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_of_all_sentences(
    seed: int, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 85 sentences of up to three tokens fit into the beam; of four steps the last one must end the sentence."""
    monkeypatch.setattr(module, "LIMIT", (0, 4))
    model, search = markov(seed), Search(beam_size=100, length_penalty=penalty)
    words = [token for token in range(V) if token not in (PADDING, UNKNOWN, START, END)]
    every = [list(s) for n in range(4) for s in itertools.product(words, repeat=n)]
    best = max(every, key=lambda tokens: search.score(log_probability(model, tokens), len(tokens) + 1))
    (found,) = translate(model, torch.tensor([[5, END]]), torch.tensor([2]), search)
    assert found.tokens == best
    assert found.log_probability == pytest.approx(log_probability(model, best), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_one_beam_takes_the_most_probable_token_each_time(seed: int) -> None:
    model = markov(seed, 30)
    context, state = model.encode(torch.tensor([[5]]), torch.tensor([1]))
    wanted, before = [], START
    for _ in range(2 * 2 + 10):
        logits, state = model.step(torch.tensor([before]), context, state)
        logits[:, [PADDING, UNKNOWN, START]] = -math.inf
        before = int(logits.argmax())
        if before == END:
            break
        wanted.append(before)
    (found,) = translate(model, torch.tensor([[5, END]]), torch.tensor([2]), Search())
    assert found.tokens == wanted[:13]


def test_a_longer_beam_never_has_a_worse_probability_here_and_a_penalty_makes_longer_sentences() -> None:
    model = markov(1)
    sources, lengths = torch.tensor([[5, END]]), torch.tensor([2])
    narrow, wide = (translate(model, sources, lengths, Search(k, 0.0))[0] for k in (1, 50))
    assert wide.log_probability >= narrow.log_probability
    assert len(translate(model, sources, lengths, Search(50, 3.0))[0].tokens) >= len(wide.tokens)


@pytest.fixture(scope="module")
def network() -> TranslationModel:
    torch.manual_seed(2)
    dynamics = HeavyBall(0.5, 0.8)
    made = TranslationModel(
        LSTM(16, 32, bidirectional=True, dynamics=dynamics), LSTM(48, 32, dynamics=dynamics), 50, 50, 32
    )
    made.reset_parameters()
    for parameter in made.parameters():
        parameter.data *= 3
    return made.eval().requires_grad_(False)


def sentences(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 20, (count,), generator=generator)
    source = torch.randint(4, 50, (count, 19), generator=generator)
    source[torch.arange(19) >= lengths[:, None]] = PADDING
    return source, lengths


@pytest.mark.parametrize("beam", [1, 4])
def test_a_translation_does_not_depend_on_the_batch(network: TranslationModel, beam: int) -> None:
    """Bit for bit: alone, in another order, with other sentences and with more padding."""
    source, lengths = sentences(45)
    search = Search(beam)
    together = translate(network, source, lengths, search)
    assert len({tuple(one.tokens) for one in together}) > 30
    for place in (0, 7, 31, 44):
        n = int(lengths[place])
        (alone,) = translate(network, source[place : place + 1, :n], lengths[place : place + 1], search)
        assert alone == together[place]
    order = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.pad(source, (0, 13))
    mixed = translate(network, wide[order], lengths[order], search)
    assert mixed == [together[number] for number in order.tolist()]


def test_what_fills_a_sentence_up_does_not_matter(network: TranslationModel) -> None:
    source, lengths = sentences(5)
    dirty = source.clone()
    dirty[torch.arange(19) >= lengths[:, None]] = 7
    assert translate(network, source, lengths, Search(2)) == translate(network, dirty, lengths, Search(2))


def test_draws_repeat_with_their_seed_and_are_probable_ones_at_a_low_temperature(network: TranslationModel) -> None:
    source, lengths = sentences(4)

    def drawn(temperature: float, top_k: int | None, seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [one.tokens for one in draw(network, source, lengths, temperature, top_k, generator)]

    assert drawn(1.0, None, 3) == drawn(1.0, None, 3) != drawn(1.0, None, 4)
    greedy = [one.tokens for one in translate(network, source, lengths, Search())]
    assert drawn(1.0, 1, 0) == greedy == drawn(1e-4, None, 0)


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("beam_size", 0, "1, 100"),
        ("beam_size", 101, "1, 100"),
        ("beam_size", 10**30, "1, 100"),
        ("length_penalty", -1.0, "0, 10"),
        ("length_penalty", 10.5, "0, 10"),
        ("length_penalty", math.inf, "0, 10"),
        ("length_penalty", math.nan, "0, 10"),
    ],
)
def test_options_outside_their_range(name: str, value: float, must: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be in \[{must}\], got "):
        Search(**{name: value})  # type: ignore[arg-type]


def test_every_length_has_a_finite_score_and_a_recipe_the_same_ranges() -> None:
    longest = LIMIT[0] * 2001 + LIMIT[1]
    assert math.isfinite(Search(WIDEST, LARGEST_PENALTY).score(-1e4, longest))
    ranges = TranslationModelOptions.model_json_schema()["properties"]
    assert (ranges["beam_size"]["minimum"], ranges["beam_size"]["maximum"]) == (1, WIDEST)
    assert (ranges["length_penalty"]["minimum"], ranges["length_penalty"]["maximum"]) == (0, LARGEST_PENALTY)
