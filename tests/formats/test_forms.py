"""The table of models that can be exported."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.nesterov import Nesterov
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.forms import FORMS, form_of, rebuild
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.model import Model
from momentum_cli.models.sequence import SequenceModel


def models() -> list[Model]:
    def stack() -> RecurrentStack:
        return RecurrentStack([GRU(4, 9, dynamics=Nesterov(0.5)), GRU(9, 4, dynamics=Nesterov(0.5))])

    return [
        SequenceModel(LSTM(3, 5, 2, bidirectional=True, dynamics=HeavyBall(0.6, 0.5)), 4, "every"),
        SequenceModel(OrthogonalRNN(3, 5), 2, "last"),
        LanguageModel(stack(), 17, tied=True),
        LanguageModel(stack(), 17, cutoffs=[5], div_value=2.0),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_description_that_went_through_json_gives_the_model_back(model: Model) -> None:
    model = model.eval()
    again = rebuild(json.loads(json.dumps(form_of(model).describe(model))))
    assert type(again) is type(model)
    again.load_state_dict(model.state_dict())
    x = model.inputs.random(2, 5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x)[0], model(x)[0])
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_each_form_has_a_section_of_its_own() -> None:
    sections = [form.section for form in FORMS.values()]
    assert len(set(sections)) == len(sections)


def test_a_model_outside_the_table_is_refused() -> None:
    class Tagger(SequenceModel):
        pass

    with pytest.raises(RecipeError, match=r"does not support a Tagger; it supports SequenceModel, LanguageModel"):
        form_of(Tagger(LSTM(3, 5), 2))


def test_a_damaged_description_is_refused() -> None:
    described = form_of(models()[0]).describe(models()[0])
    with pytest.raises(DataError, match="not one of momentumrnn's"):
        rebuild({key: value for key, value in described.items() if key != "hidden_size"})


def test_the_plain_form_is_all_of_a_model() -> None:
    for model in models():
        plain = form_of(model).plain
        if plain is not None:
            layer, head = plain(model)
            assert {id(p) for p in nn.ModuleList([layer, head]).parameters()} == {id(p) for p in model.parameters()}
        else:
            assert isinstance(model, LanguageModel)
