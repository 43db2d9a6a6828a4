"""Recipes of the task `translation`: defaults of its model and batches, and values that contradict them."""

from __future__ import annotations

from momentum_cli.messages import refuse
from momentum_cli.options import Problem
from momentum_cli.recipe.sections import ModelOptions, TaskOptions, TrainOptions, TranslationModelOptions

# Tokens of a batch where a recipe names none.
_TOKENS = 4096


def complete_translation(model: ModelOptions, train: TrainOptions) -> tuple[ModelOptions, TrainOptions]:
    """Return the sections with the defaults of a translation model filled in."""
    both = model.bidirectional if "bidirectional" in model.model_fields_set else True
    model = model.model_copy(
        update={"translation": model.translation or TranslationModelOptions(), "bidirectional": both}
    )
    names = [name for name in ("batch_size", "eval_batch_size") if name not in train.model_fields_set]
    return model, train.model_copy(update=dict.fromkeys(names, _TOKENS))


def translation_contradictions(
    task: TaskOptions, model: ModelOptions | None, train: TrainOptions | None
) -> list[Problem]:
    """Return the values that contradict a translation model."""
    found = []
    if train and train.recompute is not None:
        message = refuse("", train.recompute, "be left out", "a sentence is too short for it to save memory")
        found.append(Problem(("train", "recompute"), message))
    if model is None:
        return found
    translation = model.translation or TranslationModelOptions()

    def refused(key: str, must: str, remedy: str = "") -> Problem:
        return Problem(("model", "translation", key), refuse("", getattr(translation, key), must, remedy))

    found += [
        refused(name, "be < 1")
        for name in TranslationModelOptions.model_fields
        if name.endswith("dropout") and getattr(translation, name) == 1.0
    ]
    if translation.tied == "all" and not task.options.get("joint", True):
        found.append(refused("tied", "be target or none where task.joint is false", "there are two vocabularies"))
    return found
