"""The report of one training: its metrics next to those of naive predictors, its course, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.report.sources import machine_of, read_result
from momentum_cli.benchmark.results.files import read_numbers
from momentum_cli.errors import DataError, MomentumError
from momentum_cli.messages import counted
from momentum_cli.metrics import better
from momentum_cli.pages.document import document, facts_list, table_of, where_and_how
from momentum_cli.pages.table import Table
from momentum_cli.pictures.curves import curves
from momentum_cli.pictures.forecasts import errors_by_step, forecasts, read_forecasts
from momentum_cli.pictures.page import drawn_for_page
from momentum_cli.reading import read_text
from momentum_cli.recipe.recipe import to_yaml
from momentum_cli.ui.summary import summary_rows
from momentum_cli.wording import NOTHING, coverage_text, metric_text, number_text, target_text

# Classes of a confusion matrix that fit a page; with more of them the most frequent confusions are listed.
_MOST_CLASSES, _MOST_CONFUSIONS = 20, 12
_SPLITS = ("test", "validation", "train")
_DEFINITIONS = {
    "best": "The checkpoint with the best headline metric on the validation split, of equals that with the lower loss. "
    "Every number on the test split is of this checkpoint.",
    "naive": "The best of the predictors that need no model: majority class, training mean, last value, the value of a "
    "season ago, unigrams. A model that is no better has learned nothing that is worth its cost.",
    "95 %": "The range of the metric in 95 % of the bootstrap resamples of the split: what other sequences of the same "
    "kind would have given, not what other seeds would.",
    "interval": "Predicted quantiles, calibrated on the validation split; covered is the share of the values of this "
    "split that are inside.",
    "training seconds": "Data, forward, backward and optimizer step; evaluations, logging and checkpoints are not "
    "among them.",
}


@dataclass(frozen=True)
class Training:
    """A finished run, read from its folder.

    Args:
        folder: The run folder.
        result: Content of result.json.
        evaluations: Content of each eval-SPLIT.json that exists, by split.
    """

    folder: Path
    result: dict[str, Any]
    evaluations: dict[str, dict[str, Any]]


def read_training(folder: Path) -> Training:
    """Read a finished run.

    Raises:
        DataError: It is not finished, or a file is damaged.
    """
    found = {}
    for split in _SPLITS:
        path = folder / f"eval-{split}.json"
        if path.is_file():
            try:
                content = read_numbers(read_text(path))
            except ValueError as error:
                raise DataError(f"{path} is damaged ({error}); momentumrnn eval writes it again") from error
            # An older version wrote less.
            if isinstance(content, dict) and "baselines" in content:
                found[split] = content
    return Training(folder, read_result(folder), found)


def training_page(training: Training) -> str:
    """Return the page on a training."""
    result = training.result
    title = f"{result['cell']} on {result['task']}"
    return document(f"momentumrnn report: {title}", _body(training, title))


def _body(training: Training, title: str) -> Iterator[str]:
    result = training.result
    yield f"<h1>{escape(title)}</h1>"
    environment = result.get("environment") or {}
    machine = machine_of(environment, result["threads"])
    device = ", ".join(machine.get("devices") or []) or machine.get("cpu") or ""
    facts = [training.folder.name, f"{result['parameters']:,} parameters", f"seed {result['seed']}", device]
    yield f'<p class="sub">{escape(" · ".join(str(fact) for fact in facts if fact))}</p>'
    notes = list(_notes(training))
    if notes:
        yield f'<div class="note">{"".join(f"<p>{escape(text)}</p>" for text in notes)}</div>'
    yield "<h2>Result</h2>"
    yield table_of(_metrics_table(result))
    rows = {row.label: row.value for row in summary_rows(result) if row.label in ("target", "time", "speed", "stopped")}
    covered = {f"{100 * one['level']:.4g} % interval": coverage_text(one) for one in result.get("coverage") or ()}
    yield facts_list(covered | rows)
    yield "<h2>Learning curves</h2>"
    yield _curves(training)
    for split, evaluation in training.evaluations.items():
        yield from _evaluation(split, evaluation)
    if not training.evaluations:
        command = f"momentumrnn eval {training.folder}"
        yield f"<p>Pictures of the answers, classes and errors come here after <code>{escape(command)}</code>.</p>"
    yield "<h2>Where and how</h2>"
    yield facts_list(where_and_how(environment, machine) | {"backend": f"{result['backend']}, {result['precision']}"})
    recipe = to_yaml(result["recipe"]).rstrip()
    yield f"<details><summary>Recipe</summary><pre>{escape(recipe)}</pre></details>"
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _DEFINITIONS.items())
    yield f"<h2>What the numbers mean</h2><dl>{items}</dl>"


def _notes(training: Training) -> Iterator[str]:
    result = training.result
    metric, test = str((result["best"] or {}).get("metric")), result.get("test") or {}
    naive = next(iter(result.get("baselines") or ()), None)
    if naive is not None and metric in test and not better(metric, test[metric], naive["metrics"][metric]):
        yield f"The model is no better on the test split than the naive predictor: {naive['name']}."
    if result["selected_on"] == "test":
        yield "The best checkpoint was selected on the test split, so its metrics there are better than on new data."
    yield from result.get("warnings") or ()


def _metrics_table(result: Mapping[str, Any]) -> Table:
    """Return a row for each metric: validation, test with its range, naive predictors."""
    validation, test = result.get("validation"), result.get("test") or {}
    bars, naive = result.get("test_intervals") or {}, result.get("baselines") or []
    columns = ["metric", *(["best validation"] if validation else []), "test", "95 %"]
    columns += [f"naive: {one['name']}" for one in naive]
    rows = []
    for name, value in test.items():
        row = [name, *([metric_text(name, validation.get(name))] if validation else []), metric_text(name, value)]
        ends = bars.get(name)
        row.append(NOTHING if ends is None else " to ".join(metric_text(name, end) for end in ends))
        rows.append(row + [metric_text(name, one["metrics"].get(name)) for one in naive])
    return Table("", columns, rows)


def _curves(training: Training) -> str:
    result = training.result
    target = result["target"] and (result["target"]["metric"], result["target"]["value"])
    metric = (result["best"] or {}).get("metric")
    caption = "Loss of the training steps, and every evaluation."
    if target and target[0] == metric:
        caption += f" Dashed the target, {target_text(*target)}."

    def draw(path: Path, narrow: bool) -> None:
        curves(training.folder, target, path, metric=metric, columns=1 if narrow else 2)

    return _figure(draw, "curves", caption)


def _evaluation(split: str, evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>The {escape(split)} split in detail</h2>"
    yield f'<p class="sub">{counted(evaluation["samples"], "sequence")}, {escape(str(evaluation["backend"]))}</p>'
    if evaluation.get("forecasts"):
        parts = read_forecasts(evaluation["forecasts"])
        caption = "The last forecasts of the split over the truth, and below them the worst ones with their past."
        yield _figure(lambda path, narrow: forecasts(*parts, path, narrow=narrow), f"{split}-forecast", caption)
    yield from _targets(split, evaluation)
    if evaluation.get("classes"):
        yield "<h3>Classes</h3>"
        yield table_of(_classes(evaluation["classes"]))
        yield from _confusion(evaluation["confusion"], evaluation.get("labels") or [])
    if evaluation.get("worst"):
        yield "<h3>The worst sequences</h3>"
        yield table_of(_worst(evaluation["worst"]), words=True)


def _targets(split: str, evaluation: Mapping[str, Any]) -> Iterator[str]:
    targets = evaluation.get("targets")
    if not targets:
        return
    names = [name for name in ("mae", "rmse", "naive_mae", "naive_rmse") if name in targets[0]]
    rows = [[row["target"], *(number_text(row[name]) for name in names)] for row in targets]
    yield "<h3>Errors by target</h3>"
    yield table_of(Table("", ["target", *(name.replace("_", " ") for name in names)], rows))
    if "steps" not in targets[0]:
        return
    naive = [{"steps": [{"step": one["step"], "mae": one["naive_mae"]} for one in row["steps"]]} for row in targets]
    with_naive = naive if "naive_mae" in names else []
    name = evaluation["baselines"][0]["name"] if evaluation["baselines"] else ""
    caption = "Mean absolute error of each step of the horizon."

    def draw(path: Path, narrow: bool) -> None:
        errors_by_step(targets, with_naive, name, path, narrow=narrow)

    yield _figure(draw, f"{split}-horizon", caption)


def _classes(rows: Sequence[Mapping[str, Any]]) -> Table:
    shares = ("precision", "recall", "f1")
    texts = [
        [row["label"], f"{row['support']:,}", *(metric_text("macro_f1", row[name]) for name in shares)] for row in rows
    ]
    return Table("", ["class", "sequences", *shares], texts)


def _confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> Iterator[str]:
    """Return a table in the colour of the pictures, which a dark page can show; with many classes, a list."""
    yield "<h3>Confusions</h3>"
    if len(labels) > _MOST_CLASSES:
        pairs = [(n, a, b) for a, row in enumerate(matrix) for b, n in enumerate(row) if a != b and n]
        most = sorted(pairs, reverse=True)[:_MOST_CONFUSIONS]
        yield table_of(
            Table("", ["true", "taken for", "times"], [[labels[a], labels[b], f"{n:,}"] for n, a, b in most])
        )
        return
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    lines = []
    for label, row in zip(labels, matrix, strict=True):
        total = sum(row) or 1
        cells = "".join(
            # A root scale: confusions of a few percent would be invisible on a linear one.
            f'<td style="background:color-mix(in srgb, var(--cell-0) {60 * (count / total) ** 0.5:.0f}%, transparent)">'
            f"{f'{count:,}' if count else ''}</td>"
            for count in row
        )
        lines.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    table = f"<thead><tr><th>true \\ predicted</th>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    yield f'<div class="scroll"><table class="matrix">{table}</table></div>'


def _worst(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = [name for name in ("sequence", "number", "step", "time", "true", "predicted") if name in rows[0]]
    texts = [[*(str(row[name]) for name in names), number_text(row["loss"])] for row in rows]
    return Table("", [*names, "loss"], texts)


def _figure(draw: Callable[[Path, bool], None], name: str, caption: str) -> str:
    """Return a picture in a wide and a narrow form, one of which a screen shows.

    Args:
        draw: Takes the file, and whether it is for a narrow screen.
        name: Its name.
        caption: The text below it.
    """
    title = name.replace("-", " ")
    try:
        wide = drawn_for_page(lambda path: draw(path, False), f"{name}-wide", title)
        narrow = drawn_for_page(lambda path: draw(path, True), f"{name}-narrow", title)
    except MomentumError as error:
        return f"<p>{escape(str(error))}</p>"
    forms = f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
    return f"<figure>{forms}<figcaption>{escape(caption)}</figcaption></figure>"


def is_training(path: Path) -> bool:
    """Return True if a path is the folder of a finished training, or its result."""
    folder = path.parent if path.name == "result.json" else path
    return (folder / "result.json").is_file() and not (folder / "bench.json").is_file()


def finished_folder(path: Path) -> Path:
    """Return the folder of `is_training`."""
    return path.parent if path.name == "result.json" else path
