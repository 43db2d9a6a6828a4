"""The robust accuracy of an adversarial training: its value, what chooses by it, and that it disturbs nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from toy_trainer import dataset, parameters, trainer

from momentum_cli.attacks import ATTACKS
from momentum_cli.data import Dataset, Split
from momentum_cli.data.batching import stream
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.metrics import METRICS
from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe
from momentum_cli.training.objective import Objective, Scores
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

ROBUST = "robust_accuracy"


def data() -> Dataset:
    """Sequences whose class is which third of all the sum of their last two steps is in."""
    plain = dataset(60)
    sums = plain.train.inputs[:, -2:].sum((1, 2))  # type: ignore[attr-defined]
    split = Split(plain.train.inputs, sums.argsort().argsort() // 20)  # type: ignore[attr-defined]
    return replace(plain, train=split, validation=split, test=split)


def attacked(attack: str = "pgd", metrics: tuple[str, ...] = (ROBUST,), **train: Any) -> Trainer:
    adversarial = {"attack": attack, "epsilon": 0.1, **train.pop("adversarial", {})}
    one = replace(data(), metrics=(*metrics, "accuracy"))
    return trainer(one, metrics, optimizer={"name": "adam", "lr": 0.03}, train={"adversarial": adversarial, **train})


def test_it_is_the_share_that_is_right_before_and_after_the_attack() -> None:
    """The attack computed anew, a sequence at a time: two signed steps from a random place, each clipped."""
    one = attacked(adversarial={"steps": 2, "step_size": 0.08})
    for _ in range(40):
        one.step()
    split = one.dataset.test
    model = one.module.eval()
    clean = robust = 0
    for place in range(len(split)):
        batch = split.batch(torch.tensor([place]))
        start = 2 * torch.rand(5, 2, generator=stream("attack", place, 0)) - 1
        at = batch.inputs + 0.1 * start
        for _ in range(2):
            at.requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy(model(at)[0], batch.targets), at)
            at = torch.max(torch.min(at.detach() + 0.08 * slope.sign(), batch.inputs + 0.1), batch.inputs - 0.1)
        right = [bool(model(inputs)[0].argmax() == batch.targets) for inputs in (batch.inputs, at)]
        clean, robust = clean + right[0], robust + all(right)
        answers = [model(inputs)[0].detach() for inputs in (batch.inputs, at)]
        losses = [float(cross_entropy(answer, batch.targets)) for answer in answers]
        worse = (right[1], -losses[1]) < (right[0], -losses[0])
        judged = one.adversary.worst(batch, torch.tensor([place]), one.objective)
        torch.testing.assert_close(judged, answers[int(worse)], rtol=1e-4, atol=1e-5)
    found = one.evaluate("test")
    assert found["accuracy"] == clean / len(split)
    assert found[ROBUST] == robust / len(split)
    assert 0 < robust < clean


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_does_not_depend_on_the_batch_and_disturbs_nothing(attack: str) -> None:
    one, two = attacked(attack), attacked(attack, eval_batch_size=7)
    plain = attacked(attack, ())
    outside = torch.get_rng_state()
    for each in (one, two, plain):
        for step in range(15):
            each.step()
            if step % 10 == 0:
                each.evaluate("validation")
    assert one.evaluate("test")[ROBUST] == two.evaluate("test")[ROBUST] < one.evaluate("test")["accuracy"]
    assert one.evaluate("test")["accuracy"] == plain.evaluate("test")["accuracy"]
    assert torch.equal(parameters(one), parameters(plain))
    assert all(parameter.grad is None for parameter in one.module.parameters())
    assert torch.equal(torch.get_rng_state(), outside)
    for name, tensor in plain.adversary.tensors.items():
        assert torch.equal(one.adversary.tensors[name], tensor), name


def test_the_best_checkpoint_and_early_stopping_go_by_it() -> None:
    one = attacked(early_stopping={"patience": 2, "metric": ROBUST})
    assert one.dataset.metric == ROBUST
    for step, (robust, clean) in enumerate([(0.3, 0.9), (0.5, 0.7), (0.4, 0.99), (0.4, 0.99)], start=1):
        one.progress.step = step
        one.record({"loss": 1.0 - clean, ROBUST: robust, "accuracy": clean}, "validation")
    best = one.progress.best
    assert best is not None
    assert (best["metric"], best["value"], best["step"]) == (ROBUST, 0.5, 2)
    assert one.progress.stop_reason(one.recipe.train) == "early_stopping"


def test_labels_of_steps_are_judged_by_the_worse_answer_to_a_sequence() -> None:
    """Of two sequences of three steps: one has more wrong under the attack, of the other an earlier answer is kept."""
    targets = torch.tensor([[0, 0, 1], [1, 1, 1]])
    outputs = torch.tensor([[[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3])
    worse = torch.tensor([[[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0]] * 3])
    scores = Scores(Objective("cross_entropy", "every", metrics=(ROBUST,)), outputs, targets, attacked=worse)
    totals = scores.totals().sum(0)
    assert METRICS[ROBUST].of_totals(totals.tolist()) == 4 / 6
    with pytest.raises(ValueError, match="`attacked` must be given for robust_accuracy"):
        replace(scores, attacked=None).totals()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust") / "run"
    changes = ["train.max_steps=60", "train.epochs=null", "train.eval_every_n_steps=20", "model.hidden_size=12"]
    adversarial = "train.adversarial={attack: pgd, epsilon: 0.05, steps: 3}"
    target = "target={metric: robust_accuracy, value: 0.2}"
    train(load_recipe("digits", [*changes, adversarial, target, "metrics=[robust_accuracy]"]), out=folder)
    return folder


def test_the_numbers_of_a_run_are_those_of_eval(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    for split in ("validation", "test"):
        found = evaluate(run, split=split, attack="pgd", epsilon=0.05, attack_steps=3)
        assert result[split][ROBUST] == pytest.approx(found["attack"]["metrics"]["accuracy"], abs=1e-6)
        assert result[split]["accuracy"] == pytest.approx(found["metrics"]["accuracy"], abs=1e-6)
    low, high = result["test_intervals"][ROBUST]
    assert low < result["test"][ROBUST] < high
    assert result["best"]["metric"] == result["target"]["metric"] == ROBUST
    assert result["target"]["reached"]
    assert result["signatures"] == {ROBUST: "pgd, epsilon 0.05, 3 steps of 0.0417"}
    # A constant answer withstands every attack.
    (naive,) = result["baselines"]
    assert naive["metrics"][ROBUST] == naive["metrics"]["accuracy"]


def test_an_evaluation_or_export_without_the_attack_does_not_have_it(run: Path, tmp_path: Path) -> None:
    assert set(evaluate(run)["metrics"]) == {"loss", "accuracy"}
    tested = export(run, format="torchscript", out=tmp_path / "model.pt")["test"]
    assert tested["metric"] == "accuracy"
    assert evaluate(tmp_path / "model.pt")["accuracy"] == pytest.approx(tested["checkpoint"])


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("digits", ["metrics=[robust_accuracy]"], "robust_accuracy is measured under the attack of train.adversarial"),
        (
            "digits",
            ["train.adversarial={epsilon: 0.1}", "target={metric: robust_accuracy, value: 0.9}"],
            "robust_accuracy is not evaluated; add it to the list metrics: [robust_accuracy]",
        ),
        ("adding", ["train.adversarial={epsilon: 0.1}", "metrics=[robust_accuracy]"], "unknown metric"),
    ],
)
def test_it_is_refused_without_an_attack_or_classes(recipe: str, changes: list[str], message: str) -> None:
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe(recipe, changes)
    assert message in str(caught.value)
