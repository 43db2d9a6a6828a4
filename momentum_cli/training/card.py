"""The README.md of a trained model: its description, its data, its results and how to load it.

The front matter is that of model hubs: YAML with tags, and the test results in the form ``model-index``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from momentum_cli import __version__
from momentum_cli.messages import counted
from momentum_cli.metrics import better
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.runs.card import MARK
from momentum_cli.wording import metric_text, printable

_MOST_LABELS = 20
# Names of tasks on model hubs, by kind of prediction, kind of preprocessing, or task.
_PIPELINES = {
    "pixels": "image-classification",
    "speech-classify": "audio-classification",
    "language": "text-generation",
    "translation": "translation",
    "forecasting": "time-series-forecasting",
    "classification": "tabular-classification",
    "regression": "tabular-regression",
}


@dataclass(frozen=True)
class Card:
    """Content of the README.md of a model.

    Args:
        recipe: Recipe of the training.
        dataset: Description of the data, see `momentum_cli.training.trained.describe`.
        sizes: Sequences of each split.
        parameters: Number of trainable parameters.
        best: The evaluation that chose the checkpoint, ``{step, epoch, split, metrics}``, or None.
        result: ``test``, ``test_intervals`` and ``baselines`` of `result.json`; {} where they are not known.
        files: Description of each file of the folder.
        others: Lines on loading the model in programs without this package.
    """

    recipe: Recipe
    dataset: Mapping[str, Any]
    sizes: Mapping[str, int]
    parameters: int
    best: Mapping[str, Any] | None
    result: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[str] = ()

    def text(self) -> str:
        """Return the README.md."""
        front = yaml.safe_dump(self._front(), sort_keys=False, allow_unicode=True)
        return "\n".join(["---", front.rstrip(), "---", MARK, "", *self._body()]) + "\n"

    @property
    def _title(self) -> str:
        return f"{self.recipe.model.cell} on {self.dataset['name']}"

    def _front(self) -> dict[str, Any]:
        preprocessing = self.dataset["preprocessing"]
        kinds = (preprocessing.get("schema", {}).get("kind"), self.dataset["name"], preprocessing.get("kind"))
        pipeline = next((_PIPELINES[kind] for kind in kinds if kind in _PIPELINES), None)
        test = self.result.get("test") or {}
        measured = [
            {"type": name, "value": value, "name": f"test {name.replace('_', ' ')}"}
            for name, value in test.items()
            if value is not None and math.isfinite(value)
        ]
        data = {"type": self.dataset["name"], "name": self.dataset["name"], "split": "test"}
        entry = {"task": {"type": pipeline or "other"}, "dataset": data, "metrics": measured}
        return {
            "library_name": "momentumrnn",
            "tags": [*dict.fromkeys(["recurrent-neural-network", "pytorch", self.recipe.model.cell])],
            **({"pipeline_tag": pipeline} if pipeline else {}),
            **({"model-index": [{"name": self._title, "results": [entry]}]} if measured else {}),
        }

    def _body(self) -> Iterator[str]:
        model, data = self.recipe.model, self.dataset
        yield f"# {_plain(self._title)}"
        yield ""
        direction = ", both directions" if model.bidirectional else ""
        options = ", ".join(f"{name} {value}" for name, value in self.recipe.cells.get(model.cell, {}).items())
        yield (
            f"A recurrent model with the cell `{model.cell}`{f' ({options})' if options else ''}: "
            f"{counted(model.num_layers, 'layer')} of {model.hidden_size} units{direction}, "
            f"{self.parameters:,} parameters, seed {self.recipe.train.seed}."
        )
        yield ""
        yield "## Data"
        yield ""
        sizes = ", ".join(f"{count:,} {name}" for name, count in self.sizes.items())
        yield f"Task `{data['name']}`, {sizes} sequences. Licence: {_plain(data['licence'] or 'not stated')}."
        yield from self._columns()
        yield ""
        yield "## Results"
        yield ""
        yield from self._results()
        yield ""
        yield "## Use"
        yield ""
        yield "```python"
        yield "from momentum_cli import load"
        yield ""
        yield 'model = load("FOLDER")        # this folder: a torch.nn.Module'
        yield "model.predict(samples)        # raw samples; the preparation is part of the model"
        yield "```"
        yield ""
        yield "On the command line `momentumrnn predict FOLDER INPUT` and `momentumrnn eval FOLDER`."
        yield from self.others
        if self.files:
            yield ""
            yield "| file | |"
            yield "|---|---|"
            for name, about in self.files.items():
                yield f"| `{name}` | {about} |"
        yield ""
        yield "## Limits"
        yield ""
        yield (
            "The results hold for this data, its split and one seed. Inputs that differ from the training data in unit "
            "or spacing get an answer all the same."
        )
        yield ""
        yield f"momentumrnn {__version__}."

    def _columns(self) -> Iterator[str]:
        """Yield sentences on the inputs and predictions of the model."""
        preprocessing, labels = self.dataset["preprocessing"], self.dataset["labels"] or []
        if preprocessing.get("kind") == "files":
            names = ", ".join(map(_plain, preprocessing["features"][:_MOST_LABELS]))
            more = len(preprocessing["features"]) - _MOST_LABELS
            yield f"Inputs: {names}{f' and {more} more' if more > 0 else ''}."
        targets = (preprocessing.get("targets") or {}).get("names") or ()
        if targets:
            window, horizon = preprocessing.get("window"), preprocessing.get("horizon")
            steps = counted(horizon, "step") if isinstance(horizon, int) else f"{horizon} steps"  # a list of them
            ahead = f", {steps} ahead from {window}" if window else ""
            yield f"Predicts: {', '.join(map(_plain, targets))}{ahead}."
        elif labels:
            some = ", ".join(map(_plain, labels[:_MOST_LABELS]))
            yield f"Classes: {some}." if len(labels) <= _MOST_LABELS else f"{len(labels):,} classes: {some}, …"

    def _results(self) -> Iterator[str]:
        test, bars = self.result.get("test") or {}, self.result.get("test_intervals") or {}
        naive = next(iter(self.result.get("baselines") or ()), None)
        best = self.best
        if not test and best is None:
            yield "The model has not been evaluated."
            return
        if not test and best is not None:
            yield from _table(
                ["metric", str(best["split"])], [[n, metric_text(n, v)] for n, v in best["metrics"].items()]
            )
            return
        rows = []
        for name, value in test.items():
            ends = bars.get(name)
            row = [name, metric_text(name, value), " to ".join(metric_text(name, end) for end in ends) if ends else "–"]
            rows.append(row + ([] if naive is None else [metric_text(name, naive["metrics"].get(name))]))
        yield from _table(["metric", "test", "95 %", *([] if naive is None else [f"naive: {naive['name']}"])], rows)
        yield ""
        if best is not None:
            where = f"epoch {best['epoch']}, step {best['step']:,}"
            if best["split"] == "test":
                yield f"The checkpoint ({where}) was chosen on the test split, so these values flatter it."
            else:
                yield f"The checkpoint ({where}) was chosen on the {best['split']} split."
            if bars:
                yield "95 %: range of 95 % of bootstrap resamples of the test sequences."
            metric = str(best.get("metric", "loss"))
            if naive is not None and metric in test and not better(metric, test[metric], naive["metrics"][metric]):
                yield f"**The model is no better than the naive predictor: {naive['name']}.**"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heading, ["---"] * len(heading), *rows):
        yield f"| {' | '.join(cells)} |"


def _plain(text: Any) -> str:
    """Return text without any markup of Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(printable(str(text)).split()))
