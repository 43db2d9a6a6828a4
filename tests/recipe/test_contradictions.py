"""Values of a recipe that are valid alone but not together, and values that no recipe can have."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe


@pytest.mark.parametrize(
    ("overrides", "path", "message"),
    [
        (["train.epochs=null"], "train", "no budget"),
        (["target={metric: mse, value: 1}"], "target.metric", "unknown metric 'mse' of task digits"),
        (["metrics=[mae]"], "metrics", "unknown metric 'mae' of task digits"),
        (["metrics=[auroc, auroc]"], "metrics", "'auroc' is there twice"),
        (["metrics=auroc"], "metrics", "must be a list of names of metrics"),
        (
            ["target={metric: auroc, value: 0.9}"],
            "target.metric",
            "is not evaluated; add it to the list metrics: [auroc]",
        ),
        (
            ["train.early_stopping={patience: 2, metric: auroc}"],
            "train.early_stopping.metric",
            "unknown metric 'auroc'",
        ),
        (["target={metric: accuracy, value: 95}"], "target.value", "did you mean 0.95?"),
        (["target={metric: loss, value: 0}"], "target.value", "must be > 0, got 0.0"),
        (["model.cell=gru", "model.forget_bias=1"], "model.forget_bias", "no forget gate"),
        (["model.cell=adam-rnn", "model.forget_bias=1"], "model.forget_bias", "no forget gate"),
        (["model.bias=false", "model.forget_bias=1"], "model.forget_bias", "bias is false"),
        (["model.dropout=0.1"], "model.dropout", "between layers"),
        (["train.stop_at_target=true"], "train.stop_at_target", "no target"),
        (["model.bidirectional=true", "train.recompute=8"], "train.recompute", "reads the whole sequence"),
        (["schedule.name=cosine", "train={max_seconds: 3}"], "schedule.name", "planned length"),
        (["schedule.name=step"], "schedule.every_n_steps", "missing"),
        (["schedule.name=exponential"], "schedule.every_n_steps", "missing"),
        (["schedule.every_n_steps=3"], "schedule.every_n_steps", "does not use it"),
        (["schedule={name: cosine, patience: 3}"], "schedule.patience", "does not use it; plateau does"),
        (["schedule={name: plateau, gamma: 2}"], "schedule.gamma", "must be <= 1"),
        (["schedule={name: onecycle}", "train={max_seconds: 3}"], "schedule.name", "planned length"),
        (["schedule={name: cosine, gamma: 0.5}"], "schedule.gamma", "does not use it"),
        (["schedule={min_lr: 0.001}"], "schedule.min_lr", "does not use it"),
        (["schedule={name: linear, min_lr: 1}"], "schedule.min_lr", "above optimizer.lr"),
        (
            ["train.max_steps=5", "schedule.warmup_steps=5"],
            "schedule.warmup_steps",
            "must be less than train.max_steps = 5, got 5",
        ),
        (["optimizer.lr=0"], "optimizer.lr", "> 0"),
        (["optimizer.lr=.nan"], "optimizer.lr", "a number"),
        (["optimizer.lr=.inf"], "optimizer.lr", "a number"),
        (["optimizer.alpha=0.9"], "optimizer.alpha", "optimizer adam"),
        (["optimizer.maximize=true"], "optimizer.maximize", "unknown key"),
        (["optimizer.betas=[0.1]"], "optimizer.betas", "a list [a number, a number]"),
        (["optimizer={lr: 1}"], "optimizer.name", "missing"),
        (["task.pixels_per_step=3"], "task.pixels_per_step", "a divisor of 64 (1, 2, 4"),
        (["task.validation=some"], "task.validation", "an integer or 'none'"),
        (["task.name=3"], "task.name", "unknown task '3'"),
        (["model.cell=3"], "model.cell", "must be text, got 3"),
        (["model.hidden_size=true"], "model.hidden_size", "must be a number, got True"),
        (["model=3"], "model", "must be a mapping, got 3"),
        (["cells.adam=3"], "cells.adam", "must be a mapping of options, got 3"),
        (["cells.sr.restart_every=0"], "cells.sr.restart_every", "integer >= 1"),
        (["train.early_stopping=3"], "train.early_stopping", "a mapping"),
        (["train.label_smoothing=1"], "train.label_smoothing", "< 1"),
        (["train.class_weights=even"], "train.class_weights", "must be 'balanced', or a mapping of labels"),
        (["train.class_weights={a: 0}"], "train.class_weights", "to numbers > 0, got"),
        (["task={name: adding}", "train.class_weights={1: 2}"], "train.class_weights", "predicts no classes"),
        (["train.early_stopping={patience: 1, metric: mse}"], "train.early_stopping.metric", "unknown metric 'mse'"),
        (["train.early_stopping={patience: 1, mode: max}"], "train.early_stopping.mode", "'min' for the metric loss"),
        (
            ["train.early_stopping={patience: 1, metric: accuracy, mode: min}"],
            "train.early_stopping.mode",
            "'max' for the metric accuracy",
        ),
        (["train.adversarial={attack: pgd}"], "train.adversarial.epsilon", "missing; this key is required"),
        (["train.adversarial={epsilon: 0}"], "train.adversarial.epsilon", "must be > 0, got 0"),
        (["train.adversarial={epsilon: .inf}"], "train.adversarial.epsilon", "a finite number, got inf"),
        (["train.adversarial={epsilon: 0.1, steps: 0}"], "train.adversarial.steps", "must be >= 1, got 0"),
        (["train.adversarial={epsilon: 0.1, step_size: -1}"], "train.adversarial.step_size", "must be > 0, got -1"),
        (["train.adversarial={epsilon: 0.1, attack: pdg}"], "train.adversarial.attack", "'fgsm', 'pgd' or 'learned'"),
        (["train.adversarial={epsilon: 0.1, step: 3}"], "train.adversarial.step", "did you mean 'steps'"),
        (
            ["train.adversarial={attack: fgsm, epsilon: 0.1, steps: 2}"],
            "train.adversarial.steps",
            "must be 1 for fgsm, got 2; use train.adversarial.attack=pgd",
        ),
        (
            ["train.adversarial={epsilon: 0.1}", "train.recompute=8"],
            "train.recompute",
            "must be left out with train.adversarial, got 8",
        ),
        (
            ["task={name: language, path: a.txt}", "train.adversarial={epsilon: 0.1}"],
            "train.adversarial",
            "must be left out for inputs that are not numbers",
        ),
        (
            ["task={name: translation, path: a.tsv}", "train.adversarial={epsilon: 0.1}"],
            "train.adversarial",
            "must be left out for inputs that are not numbers",
        ),
        (["train.batch_size.x=3", "train.batch_size=3", "train.batch_size.y=1"], "train.batch_size.y", "has no keys"),
        (["nonsense"], "", "must be key.path=value"),
        ([".a=1"], "", "must be key.path=value"),
        (["train.seed=[1"], "train.seed", "not valid YAML"),
    ],
)
def test_contradictions_and_wrong_values(tmp_path: Path, overrides: list[str], path: str, message: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL), *overrides)
    assert found.keys() == {path}
    where, text = found[path]
    assert message in text
    if path != "train":  # the missing budget is the section's, not an override's
        assert where.startswith("override ")


@pytest.mark.parametrize(
    ("name", "metric", "limit", "possible"), [("multi30k", "bleu", "100", 35), ("digits", "matthews", "1", 0.9)]
)
def test_a_target_above_the_best_value_of_its_metric_is_refused(
    name: str, metric: str, limit: str, possible: float
) -> None:
    load_recipe(name, [f"metrics=[{metric}]", f"target={{metric: {metric}, value: {possible}}}"])
    with pytest.raises(RecipeError, match=rf"target\.value: must be in \(0, {limit}\], got 101"):
        load_recipe(name, [f"metrics=[{metric}]", f"target={{metric: {metric}, value: 101}}"])
