"""The encoder-decoder: against a plain computation of its equations, and independent of padding and batch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from momentum_cli.data import NOT_SCORED, Batch
from momentum_cli.data.translation.subwords import END, PADDING, START
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.models.translation.model import TranslationModel

E, H, V = 5, 6, 11


def model(
    layer: Any = LSTM, dynamics: Any = HeavyBall(0.5, 0.8), layers: int = 1, feeding: bool = True, **options: Any
) -> TranslationModel:
    torch.manual_seed(0)
    readout = E if options.get("tied", "none") != "none" else H
    encoder = layer(E, H, layers, bidirectional=True, dynamics=dynamics)
    decoder = layer(E + (readout if feeding else 0), H, layers, dynamics=dynamics)
    made = TranslationModel(encoder, decoder, V, V, readout, input_feeding=feeding, **options)
    made.reset_parameters()
    for parameter in made.parameters():  # an initial embedding is so small that mistakes would not show
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made.double().eval()


def batch(lengths: list[tuple[int, int]], extra: int = 0) -> Batch:
    """Return pairs of some lengths, with `extra` columns of padding."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.tensor(lengths)
    inputs = torch.randint(4, V, (len(lengths), int(sizes[:, 0].max()) + extra), generator=generator)
    targets = torch.randint(4, V, (len(lengths), int(sizes[:, 1].max()) + extra), generator=generator)
    inputs[torch.arange(inputs.shape[1]) >= sizes[:, :1]] = PADDING
    targets[torch.arange(targets.shape[1]) >= sizes[:, 1:]] = NOT_SCORED
    return Batch(inputs, targets, sizes[:, 0])


def by_hand(one: TranslationModel, source: list[int], target: list[int]) -> Tensor:
    """Logits (T, V) of one sentence, step by step, from torch's own LSTM."""
    encoder = torch.nn.LSTM(E, H, bidirectional=True).double()
    encoder.load_state_dict(one.encoder.state_dict())
    decoder = torch.nn.LSTMCell(one.layer.input_size, H).double()
    decoder.load_state_dict({name.removesuffix("_l0"): value for name, value in one.layer.state_dict().items()})
    scale = math.sqrt(E)
    memory, (last, _) = encoder(scale * one.source_embedding.weight[source][:, None])
    h, c = torch.tanh(one.start(torch.cat((last[0], last[1]), 1))), torch.zeros(1, H).double()
    fed = torch.zeros(1, one.readout.out_features).double()
    found = []
    for token in [START, *target[:-1]]:
        x = scale * one.target_embedding.weight[token][None]
        h, c = decoder(torch.cat((x, fed), 1) if one.input_feeding else x, (h, c))
        scores = torch.stack([(h[0] * one.key(m[0])).sum() for m in memory])
        shares = scores.exp() / scores.exp().sum()
        context = sum(share * m for share, m in zip(shares, memory, strict=True))
        fed = torch.tanh(one.readout(torch.cat((context, h), 1)))  # type: ignore[arg-type]
        found.append(one.head(fed)[0])
    return torch.stack(found)


@pytest.mark.parametrize("feeding", [True, False])
def test_it_computes_its_equations_for_every_sentence_of_a_padded_batch(feeding: bool) -> None:
    one = model(dynamics=Identity(), feeding=feeding)
    pairs = batch([(4, 3), (2, 5), (1, 1)], extra=2)
    logits = one.answer(pairs, None).outputs
    for row, (source, target) in enumerate(((4, 3), (2, 5), (1, 1))):
        wanted = by_hand(one, pairs.inputs[row, :source].tolist(), pairs.targets[row, :target].tolist())
        torch.testing.assert_close(logits[row, :target], wanted, rtol=1e-9, atol=1e-11)


CELLS = [(LSTM, HeavyBall(0.5, 0.8)), (GRU, Adam(0.5, 0.9, 1.0, 1e-6)), (OrthogonalRNN, HeavyBall(0.3, 0.3))]


@pytest.mark.parametrize(("feeding", "layers"), list(itertools.product((True, False), (1, 2))))
@pytest.mark.parametrize(("layer", "dynamics"), CELLS, ids=["lstm", "gru", "dtriv"])
def test_one_token_at_a_time_is_the_same_as_all_at_once(layer: Any, dynamics: Any, feeding: bool, layers: int) -> None:
    one = model(layer, dynamics, layers, feeding)
    pairs = batch([(4, 5), (2, 5)])
    logits = one.answer(pairs, None).outputs
    context, state = one.encode(pairs.inputs, pairs.lengths)  # type: ignore[arg-type]
    tokens = torch.full((2,), START)
    for step in range(5):
        found, state = one.step(tokens, context, state)
        torch.testing.assert_close(found, logits[:, step], rtol=1e-9, atol=1e-11)
        tokens = pairs.targets[:, step]
    assert len(state) == len(one.state_names) == len(one.zero_state(2))
    assert [s.shape for s in state] == [s.shape for s in one.zero_state(2)]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("tied", ["none", "target", "all"])
def test_the_loss_is_that_of_the_logits_and_every_parameter_has_a_gradient(tied: str, smoothing: float) -> None:
    one = model(tied=tied, label_smoothing=smoothing).train()
    pairs = batch([(4, 3), (2, 5)])
    loss = one.training_loss(pairs, None, lambda outputs, targets: outputs.sum()).summed
    logits = one.eval().answer(pairs, None).outputs
    wanted = cross_entropy(
        logits.flatten(0, 1),
        pairs.targets.flatten(),
        ignore_index=NOT_SCORED,
        reduction="sum",
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in one.parameters())
    matrices = {one.head.weight, one.target_embedding.weight, one.source_embedding.weight}
    assert len(matrices) == {"none": 3, "target": 2, "all": 1}[tied]


def test_a_later_token_does_not_change_an_earlier_answer() -> None:
    one, pairs = model(), batch([(4, 5)])
    before = one.answer(pairs, None).outputs
    pairs.targets[0, 3] = 4 if pairs.targets[0, 3] != 4 else 5
    after = one.answer(pairs, None).outputs
    assert torch.equal(before[0, :4], after[0, :4])
    assert not torch.equal(before[0, 4], after[0, 4])


@pytest.mark.parametrize("name", ["embedding_dropout", "input_dropout", "memory_dropout", "output_dropout"])
def test_each_dropout_acts_in_training_only(name: str) -> None:
    one, pairs = model(**{name: 0.5}), batch([(4, 5), (3, 3)])

    def loss() -> Tensor:
        return one.training_loss(pairs, None, lambda outputs, targets: outputs.sum()).summed

    assert torch.equal(loss(), loss())
    one.train()
    assert not torch.equal(loss(), loss())
    torch.manual_seed(3)
    first = loss()
    torch.manual_seed(3)
    assert torch.equal(first, loss())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tied": "some"}, "`tied` must be 'none', 'target' or 'all'"),
        ({"memory_dropout": 1.0}, r"`memory_dropout` must be in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"`label_smoothing` must be in \[0, 1\)"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**options)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="input size of the decoder must be 11, got 5"):
        TranslationModel(LSTM(E, H), LSTM(E, H), V, V, H)
    with pytest.raises(ValueError, match="`readout_size` must be 5"):
        TranslationModel(LSTM(E, H), LSTM(E + H, H), V, V, H, tied="target")
    with pytest.raises(ValueError, match="vocabularies must be equal with tied='all', got 11 and 12"):
        TranslationModel(LSTM(E, H), LSTM(E + E, H), V, V + 1, E, tied="all")
    with pytest.raises(ValueError, match="decoder must have one direction"):
        TranslationModel(LSTM(E, H), LSTM(E + H, H, bidirectional=True), V, V, H)
    assert END != START
