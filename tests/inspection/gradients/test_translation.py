"""Inspection of translation models: attention and gradients against independent computations, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_text import content, write_corpus

from momentum_cli.data import NOT_SCORED, Batch, Dataset
from momentum_cli.errors import RecipeError
from momentum_cli.inspection.gradients.attention import draw_attention
from momentum_cli.inspection.gradients.gradient_flow import gradient_flow
from momentum_cli.inspection.gradients.inspect import inspect
from momentum_cli.inspection.gradients.passes import attention_maps, translation_pass
from momentum_cli.inspection.gradients.subjects import initial_model
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.objective import Objective
from momentum_cli.training.train import train

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 60, 8)


def made(corpus: Path, **translation: Any) -> tuple[TranslationModel, Dataset, Batch]:
    recipe = parse_recipe(content(corpus, **translation))
    dataset = load_data(recipe)
    model = initial_model(recipe, dataset)
    assert isinstance(model, TranslationModel)
    return model.double().eval(), dataset, dataset.train.batch(torch.arange(5))


@pytest.mark.parametrize("feeding", [False, True])
def test_attention_is_the_softmax_of_state_and_memory(corpus: Path, feeding: bool) -> None:
    model, dataset, batch = made(corpus, tied="none", input_feeding=feeding)
    assert batch.lengths is not None
    with torch.no_grad():
        found = model.attention(batch)
        read, state = model.read(batch.inputs, batch.lengths)
        tokens = torch.full((5,), 2)
        for t in range(batch.targets.shape[1]):
            # One call for a token, whose output is the first tensor of the state; so attention is that of this output.
            _, state = model.write(tokens[:, None], read, state)
            scores = torch.einsum("bh,bsm,hm->bs", state[0][-1], read.values, model.key.weight)
            for row, length in enumerate(batch.lengths.tolist()):
                wanted = scores[row, :length].exp() / scores[row, :length].exp().sum()
                torch.testing.assert_close(found[row, t, :length], wanted)
                assert not found[row, t, length:].any()
            tokens = batch.targets[:, t].masked_fill(batch.targets[:, t] == NOT_SCORED, 2)
    maps = attention_maps(model, dataset, batch)
    assert len(maps) == 4
    for row, each in enumerate(maps):
        assert "".join(each["source"]) == "▁" + dataset.train.place(row)["source"].replace(" ", "▁") + "</s>"
        assert "".join(each["target"]) == "▁" + dataset.train.place(row)["reference"].replace(" ", "▁") + "</s>"
        assert [len(line) for line in each["weights"]] == [len(each["source"])] * len(each["target"])
        assert all(math.isclose(sum(line), 1.0, abs_tol=0.01) for line in each["weights"])


def test_the_gradient_of_an_embedded_token_is_that_of_its_row(corpus: Path) -> None:
    """A row of the table that a sentence reads once has the gradient of that input, times √E."""
    model, dataset, batch = made(corpus, tied="none")
    objective = Objective.of(dataset)
    flow = gradient_flow(model, batch, objective, translation_pass)
    assert flow.x.shape == (batch.inputs.shape[1], 5)
    assert [layer.direction for layer in flow.layers] == ["forward", "reverse"]
    assert batch.lengths is not None
    scored = (batch.targets != NOT_SCORED).sum()
    loss = objective.loss_sum(model.forced(batch), batch.targets) / scored
    assert float(loss.detach()) == pytest.approx(flow.loss, rel=1e-12)
    for row in range(2):
        one = Batch(batch.inputs[row : row + 1], batch.targets[row : row + 1], batch.lengths[row : row + 1])
        alone = objective.loss_sum(model.forced(one), one.targets) * 5 / scored
        (table,) = torch.autograd.grad(alone, [model.source_embedding.weight])
        tokens = one.inputs[0, : int(batch.lengths[row])].tolist()
        once = [t for t, token in enumerate(tokens) if tokens.count(token) == 1]
        assert len(once) > 3
        for t in once:
            wanted = table[tokens[t]].norm() / math.sqrt(table.shape[1])
            assert float(flow.x[t, row]) == pytest.approx(float(wanted), rel=1e-9)
        assert not flow.x[len(tokens) :, row].any()


def test_runs_are_inspected_as_initialised_and_as_trained(corpus: Path, tmp_path: Path) -> None:
    recipe = content(corpus)
    recipe["train"] |= {"max_steps": 1, "eval_every_n_steps": 1000}
    train(parse_recipe(recipe), out=tmp_path / "run")
    result = inspect([str(tmp_path / "run")], batch_size=6, out=tmp_path / "looked")
    names = [Path(path).name for path in result["pictures"]]
    assert names == [
        "attention-momentum-initial.png",
        "gradients-initial.png",
        "attention-momentum-trained.png",
        "gradients-trained.png",
        "jacobian.png",
        "impulse.png",
    ]
    assert all(Path(path).stat().st_size > 5000 for path in result["pictures"])
    written = json.loads((tmp_path / "looked" / "inspect.json").read_text(encoding="utf-8"))
    assert [entry["stage"] for entry in written["subjects"]] == ["initial", "trained"]
    assert written["subjects"][0]["attention"] != written["subjects"][1]["attention"]
    with pytest.raises(RecipeError, match="--length must be left out for a model that translates, got 5"):
        inspect([str(tmp_path / "run")], length=5, out=tmp_path / "cut")


def test_a_picture_says_what_it_leaves_out(tmp_path: Path) -> None:
    lengths = (33, 32)
    source, target = ([f"piece{number}" for number in range(length)] for length in lengths)
    weights = [[1.0 / lengths[0]] * lengths[0]] * lengths[1]
    entry = {"attention": [{"source": source, "target": target, "weights": weights}], "stage": "trained", "label": "a"}
    draw_attention(entry, tmp_path / "cut.svg")
    drawn = (tmp_path / "cut.svg").read_text(encoding="utf-8")
    assert "the first 32 of 33 pieces" in drawn
    assert "of 32 pieces" not in drawn
