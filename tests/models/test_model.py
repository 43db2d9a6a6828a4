"""What all models have in common: inputs, outputs, state, backends, and a loss."""

from __future__ import annotations

import pytest
import torch

from momentum_cli.data import Batch
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.inputs import Numbers, Tokens
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.model import Model
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.training.objective import Objective


def models() -> list[Model]:
    torch.manual_seed(0)
    stack = RecurrentStack([LSTM(4, 6, dynamics=HeavyBall(0.6, 0.5)), LSTM(6, 5, dynamics=HeavyBall(0.6, 0.5))])
    made: list[Model] = [
        SequenceModel(GRU(3, 5, 2, dynamics=Adam(0.5, 0.9, 1.0, 1e-6)), 4, "every"),
        SequenceModel(LSTM(3, 5, bidirectional=True), 4, "last"),
        SequenceModel(OrthogonalRNN(3, 5), 4, "last"),
        LanguageModel(stack, 7),
    ]
    for model in made:
        model.reset_parameters()
    return made


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_model_takes_the_inputs_it_names_and_gives_outputs_and_state_as_it_says(model: Model) -> None:
    for x in (model.inputs.zeros(2, 3), model.inputs.random(2, 3, torch.Generator().manual_seed(0))):
        assert str(x.dtype) == f"torch.{model.inputs.dtype}"
        named = {"batch": 2, "time": 3}
        assert list(x.shape) == [named.get(str(size), size) for size in model.inputs.shape]
        outputs, state = model(x)
        assert outputs.shape == ((2, 3) if model.output == "every" else (2,)) + (model.output_size,)
        assert len(state) == len(model.state_names)
        assert [t.shape for t in state] == [t.shape for t in model.zero_state(2)]
        torch.testing.assert_close(model(x, None, model.zero_state(2))[0], outputs)


def test_random_inputs_cover_their_range() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = Numbers(5).random(200, 10, generator)
    assert 0.0 <= float(numbers.min()) < 0.01
    assert 0.99 < float(numbers.max()) < 1.0
    assert Tokens(5).random(200, 10, generator).unique().tolist() == [0, 1, 2, 3, 4]
    assert (Numbers(5).dtype, Tokens(5).dtype) == ("float32", "int64")


def test_the_loss_of_a_sequence_model_is_that_of_its_outputs() -> None:
    model = models()[0]
    batch = Batch(torch.randn(2, 6, 3), torch.randint(4, (2, 6)), torch.tensor([6, 4]))
    loss_sum = Objective("cross_entropy", "every").loss_sum
    before = tuple(torch.rand_like(t) if t.is_floating_point() else t for t in model.zero_state(2))
    summed, penalty, state = model.training_loss(batch, before, loss_sum)
    outputs, after = model(batch.inputs, batch.lengths, before)
    expected = -outputs.log_softmax(2).gather(2, batch.targets.unsqueeze(2)).sum()
    torch.testing.assert_close(summed, expected)
    assert penalty is None
    torch.testing.assert_close(state, after)


def test_the_layers_of_a_model_are_asked_together() -> None:
    gru, both_ways, orthogonal, language = models()
    assert [len(model.recurrent_layers()) for model in (gru, both_ways, orthogonal, language)] == [1, 1, 1, 2]
    assert [model.bidirectional for model in (gru, both_ways, language)] == [False, True, False]
    assert language.chosen_backend is None
    language(language.inputs.zeros(1, 2))
    assert language.chosen_backend == language.backend_for(2, 1, training=False)
    language.use_backend("reference")
    assert language.backend_for(2, 1, training=True) == "reference"
    first = language.recurrent_layers()[0]
    first.backend = "native"
    assert language.backend_for(2, 1, training=True) == "native+reference"


def test_every_layer_is_asked_after_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    model = models()[3]
    for number, layer in enumerate(model.recurrent_layers()):
        monkeypatch.setattr(layer, "after_step", lambda number=number: seen.append(number))
    model.after_step()
    assert seen == [0, 1]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_stream_gives_what_the_model_gives(model: Model) -> None:
    model.eval()
    x = model.inputs.random(2, 6, torch.Generator().manual_seed(0))
    if model.bidirectional:
        with pytest.raises(ValueError, match="bidirectional"):
            model.stream(2)
        return
    with torch.no_grad():
        outputs, state = model(x)
    stream = model.stream(2)
    model.train()
    got = [stream(piece) for piece in x.split([1, 3, 2], 1)]
    torch.testing.assert_close(torch.cat(got, 1) if model.output == "every" else got[-1], outputs)
    for left, right in zip(stream.state, state, strict=True):
        torch.testing.assert_close(left, right)
    stream.reset()
    torch.testing.assert_close(stream(x), outputs)
