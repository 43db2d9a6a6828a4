"""Recipes of the task `language`: defaults of a language model and its windows, and values that contradict them."""

from __future__ import annotations

from momentum_cli.cells.catalogue import LAYERS
from momentum_cli.cells.find import parse_cell
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.messages import refuse
from momentum_cli.options import Problem
from momentum_cli.recipe.sections import BpttOptions, LanguageModelOptions, ModelOptions, TaskOptions, TrainOptions

# Windows of variable length have a standard deviation of 5 steps, so shorter ones could be empty.
_SHORTEST_VARIABLE = 20


def complete_language(model: ModelOptions, train: TrainOptions) -> tuple[ModelOptions, TrainOptions]:
    """Return the sections with the defaults of a language model filled in."""
    model = model.model_copy(update={"language": model.language or LanguageModelOptions()})
    # One stream, because each of several parallel ones would start without context.
    streams = train.eval_batch_size if "eval_batch_size" in train.model_fields_set else 1
    return model, train.model_copy(update={"bptt": train.bptt or BpttOptions(), "eval_batch_size": streams})


def language_contradictions(task: TaskOptions, model: ModelOptions | None, train: TrainOptions | None) -> list[Problem]:
    """Return the values that contradict a language model or its windows."""
    found = []
    bptt = train and train.bptt
    if bptt and bptt.variable and bptt.length < _SHORTEST_VARIABLE:
        must = f"be >= {_SHORTEST_VARIABLE} where train.bptt.variable is true"
        message = refuse("", bptt.length, must, "windows of variable length have a standard deviation of 5")
        found.append(Problem(("train", "bptt", "length"), message))
    if model is None:
        return found
    language = model.language or LanguageModelOptions()

    def refused(key: str, must: str, remedy: str = "") -> Problem:
        return Problem(("model", "language", key), refuse("", getattr(language, key), must, remedy))

    found += [
        refused(name, "be < 1")
        for name in LanguageModelOptions.model_fields
        if name.endswith("dropout") and getattr(language, name) == 1.0
    ]
    if model.bidirectional:
        found.append(Problem(("model", "bidirectional"), "must be false: a token must not be predicted from itself"))
    if model.dropout > 0:
        message = refuse("", model.dropout, "be 0", "a language model has model.language.hidden_dropout instead")
        found.append(Problem(("model", "dropout"), message))
    if language.hidden_dropout > 0 and model.num_layers == 1:
        found.append(refused("hidden_dropout", "be 0 with one layer", "it acts between layers; see output_dropout"))
    if language.weight_dropout > 0 and LAYERS[parse_cell(model.cell).layer].build is OrthogonalRNN:
        remedy = "dropping entries of a recurrent matrix breaks its orthogonality"
        found.append(refused("weight_dropout", f"be 0 for the orthogonal cell {model.cell}", remedy))
    if not language.cutoffs and language.div_value != LanguageModelOptions.model_fields["div_value"].default:
        found.append(refused("div_value", "be left out without cutoffs"))
    if language.tied and language.cutoffs:
        message = "an adaptive softmax has no matrix of the embedding's shape; leave out tied or cutoffs"
        found.append(Problem(("model", "language", "cutoffs"), message))
    if language.cutoffs != sorted(set(language.cutoffs)):
        message = f"must be ascending numbers, got {language.cutoffs}"
        found.append(Problem(("model", "language", "cutoffs"), message))
    return found
