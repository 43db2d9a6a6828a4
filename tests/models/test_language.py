"""`momentum_cli.models.language`, `stack` and `averaging`: dropouts, tied weights, adaptive softmax, penalties."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from momentum_cli.data import NOT_SCORED, Batch
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.layers.stack import RecurrentStack, locked_dropout
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.model import TrainingLoss
from momentum_cli.training.averaging import ParameterAverage, stopped_improving, swapped


def model(dynamics: str = "momentum", *, layers: int = 2, **options: object) -> LanguageModel:
    torch.manual_seed(0)
    sizes = [6, 10, 6][: layers + 1] if layers == 2 else [6, 6]
    kind = DYNAMICS[dynamics]
    stack = {key: options.pop(key) for key in ("dropout", "weight_dropout") if key in options}
    made = [LSTM(sizes[i], sizes[i + 1], dynamics=kind()) for i in range(layers)]
    built = LanguageModel(RecurrentStack(made, **stack), 17, **options)  # type: ignore[arg-type]
    built.reset_parameters()
    return built


def training_loss(one: LanguageModel, tokens: torch.Tensor, targets: torch.Tensor) -> TrainingLoss:
    return one.training_loss(Batch(tokens, targets, None), None, lambda outputs, wanted: outputs.new_zeros(()))


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_windows_with_carried_state_equal_the_whole_text(dynamics: str) -> None:
    one = model(dynamics).double().eval()
    tokens = torch.randint(17, (3, 23))
    whole, end = one(tokens)
    state, pieces = None, []
    for piece in tokens.split([1, 7, 2, 13], 1):
        outputs, state = one(piece, None, state)
        pieces.append(outputs)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    assert len(end) == len(one.layer.state_names)
    for left, right in zip(state, end, strict=True):
        torch.testing.assert_close(left, right)


def test_a_stack_of_one_size_is_the_stacked_layer() -> None:
    torch.manual_seed(1)
    layer = GRU(5, 5, 2, dynamics=HeavyBall(0.6, 0.5))
    stack = RecurrentStack([GRU(5, 5, dynamics=HeavyBall(0.6, 0.5)) for _ in range(2)])
    for number in range(2):
        own = {name.replace(f"l{number}", "l0"): p for name, p in layer.state_dict().items() if f"l{number}" in name}
        stack[number].load_state_dict(own)
    x = torch.randn(7, 3, 5)
    torch.testing.assert_close(stack(x)[0], layer(x)[0])
    assert stack.state_names == ("h_l0", "velocity_l0", "h_l1", "velocity_l1")
    zeros = stack.zero_tensors(3)
    torch.testing.assert_close(stack(x, zeros)[0], stack(x)[0])
    with pytest.raises(ValueError, match="got 3 tensors"):
        stack(x, zeros[:3])


def test_the_loss_is_the_cross_entropy_and_the_penalties_are_their_formulas() -> None:
    one = model()
    tokens, targets = torch.randint(17, (3, 9)), torch.randint(17, (3, 9))
    targets[1, 4:] = NOT_SCORED
    summed, penalty, _ = training_loss(one, tokens, targets)
    assert penalty is None
    logits, _ = one(tokens)
    expected = sum(
        -logits[b, t].log_softmax(0)[targets[b, t]] for b in range(3) for t in range(9) if targets[b, t] != NOT_SCORED
    )
    torch.testing.assert_close(summed, expected)
    hidden = one.layer(one.embedding(tokens.t()))[0].detach()
    total = sum(float(h) ** 2 for h in hidden.flatten())
    change = [(hidden[t + 1] - hidden[t]).flatten().tolist() for t in range(8)]
    squares = [value**2 for step in change for value in step]
    activation, slowness = total / hidden.numel(), sum(squares) / len(squares)
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0)):
        penalised = model(activation_penalty=alpha, slowness_penalty=beta)
        again, penalty, _ = training_loss(penalised, tokens, targets)
        assert torch.equal(again, summed)
        assert penalty is not None
        assert penalty.item() == pytest.approx(alpha * activation + beta * slowness, rel=1e-5)
    penalty = training_loss(model(slowness_penalty=1.0), tokens[:, :1], targets[:, :1]).penalty
    assert penalty is not None
    assert penalty.item() == 0.0


def test_the_activation_penalty_sees_the_output_after_dropout() -> None:
    tokens = torch.randint(17, (4, 9))
    for options, same in (({"activation_penalty": 1.0}, False), ({"slowness_penalty": 1.0}, True)):
        one = model(output_dropout=0.5, **options)
        dropped, plain = (training_loss(each, tokens, tokens).penalty for each in (one, copy.deepcopy(one).eval()))
        assert dropped is not None
        assert plain is not None
        assert (dropped.item() == pytest.approx(plain.item())) is same


def test_locked_dropout_has_one_mask_a_sequence() -> None:
    torch.manual_seed(0)
    x = torch.full((11, 5, 400), 3.0)
    y = locked_dropout(x, 0.25, training=True)
    scale = y / x
    assert torch.equal(scale, scale[:1].expand_as(scale))
    assert scale.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float((scale[0] == 0).double().mean()) == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(scale[0, 0], scale[0, 1])
    assert locked_dropout(x, 0.25, training=False) is x


def test_weight_dropout_zeroes_recurrent_weights_in_training_only() -> None:
    one = model(weight_dropout=0.5)
    weight = one.layer[0].weight_hh_l0
    seen = one.layer[0].weights("_l0", torch.float32).w_hh
    gone = seen == 0
    assert 0.3 < float(gone.double().mean()) < 0.7
    torch.testing.assert_close(seen[~gone], 2 * weight[~gone])
    assert torch.equal(one.layer[0].weights("_l0", torch.float32).w_ih, one.layer[0].weight_ih_l0)
    assert torch.equal(one.eval().layer[0].weights("_l0", torch.float32).w_hh, weight)
    with pytest.raises(ValueError, match="orthogonal"):
        RecurrentStack([OrthogonalRNN(4, 4)], weight_dropout=0.1)


def test_embedding_dropout_leaves_out_whole_tokens() -> None:
    one = model(embedding_dropout=0.5)
    tokens = torch.arange(17).repeat(2).unsqueeze(1)
    embedded = one._embedded(tokens)[:, 0]
    assert torch.equal(embedded[:17], embedded[17:])
    gone = (embedded[:17] == 0).all(1)
    assert 2 <= int(gone.sum()) <= 15
    torch.testing.assert_close(embedded[:17][~gone], 2 * one.embedding.weight[~gone])


def test_tied_weights_are_one_parameter() -> None:
    tied, free = model(tied=True), model()
    assert tied.head.weight is tied.embedding.weight
    count = [sum(p.numel() for p in one.parameters()) for one in (tied, free)]
    assert count[1] - count[0] == 17 * 6
    with pytest.raises(
        ValueError, match="sizes of the last layer and of the embedding must be equal with tied=True, got 10 and 6"
    ):
        LanguageModel(RecurrentStack([LSTM(6, 10)]), 17, tied=True)


def test_an_adaptive_softmax_is_a_distribution_and_its_loss_is_that_of_the_targets() -> None:
    one = model(cutoffs=[4, 9], div_value=2.0)
    tokens, targets = torch.randint(17, (3, 9)), torch.randint(17, (3, 9))
    targets[0, 0] = NOT_SCORED
    outputs, _ = one(tokens)
    assert outputs.shape == (3, 9, 17)
    torch.testing.assert_close(outputs.exp().sum(2), torch.ones(3, 9))
    summed = training_loss(one, tokens, targets).summed
    expected = cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum")
    torch.testing.assert_close(summed, expected)
    with pytest.raises(ValueError, match="cutoffs"):
        model(cutoffs=[9, 4])
    with pytest.raises(ValueError, match="div_value"):
        model(cutoffs=[4, 9], div_value=4.0)
    with pytest.raises(ValueError, match="tied"):
        model(cutoffs=[4], tied=True)


def test_the_average_is_the_mean_of_the_parameters_since_it_began() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    average = ParameterAverage(layer)
    for value in (1.0, 2.0, 6.0):
        layer.weight.data.fill_(value)
        average.update()
    torch.testing.assert_close(average.mean["weight"], torch.full((1, 2), 3.0))
    with swapped(layer, average.mean):
        assert layer.weight.tolist() == [[3.0, 3.0]]
    assert layer.weight.tolist() == [[6.0, 6.0]]


def test_averaging_begins_when_the_newest_is_worse_than_one_of_long_ago() -> None:
    falling = [9.0, 8.0, 7.0, 6.0]
    assert not stopped_improving("perplexity", falling, 2)
    assert not stopped_improving("perplexity", [5.0, 6.0, 7.0], 2)
    assert not stopped_improving("perplexity", [9.0, 5.0, 7.0, 6.0], 2)
    assert stopped_improving("perplexity", [5.0, 9.0, 7.0, 6.0], 2)
    assert stopped_improving("accuracy", [0.9, 0.5, 0.7], 1)
    assert not stopped_improving("perplexity", [math.nan, 9.0, 7.0, 6.0], 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adaptive_softmax_takes_what_mixed_precision_gives(dtype: torch.dtype) -> None:
    """A layer may give either type there; the log-probabilities of clusters had to have the same one."""
    torch.manual_seed(0)
    layers = RecurrentStack([LSTM(6, 8, dynamics=HeavyBall(0.6, 1.0))])
    model = LanguageModel(layers, 20, cutoffs=[4, 9], div_value=2.0)
    read, targets = torch.randn(12, 8).to(dtype), torch.arange(12) + 5
    expected, whole = model._loss_sum(read.float(), targets), model.distribution(read.float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model._loss_sum(read, targets), expected)
        torch.testing.assert_close(model.distribution(read), whole)
