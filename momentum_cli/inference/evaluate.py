"""`momentumrnn eval`: metrics of a trained model on a split, next to those of naive predictors."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.attacks.ball import check_epsilon
from momentum_cli.data import Batch, Dataset, Naive, Sequences
from momentum_cli.errors import DataError, MomentumError, RecipeError
from momentum_cli.inference.by_target import ByTarget
from momentum_cli.inference.closer import WORST, Looked, draw, shown_forecasts, worst_rows
from momentum_cli.inference.opened import Subject, open_subject, with_search
from momentum_cli.inference.robust import Attacked, armed, check_attackable, chosen_attack
from momentum_cli.messages import refuse
from momentum_cli.metrics import signatures
from momentum_cli.models.model import Answered
from momentum_cli.pictures.confusion import confusion
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import load_data
from momentum_cli.runs.files import write_json
from momentum_cli.runs.folder import is_run_folder
from momentum_cli.runs.output import make_output_folder
from momentum_cli.training.evaluation import baselines, tally
from momentum_cli.training.objective import Objective
from momentum_cli.training.trained import describe

SPLITS = ("train", "validation", "test")
# TorchScript profiles the first pass and compiles at the second.
_WARM_UP_PASSES = 2


def evaluate(
    run: Path,
    *,
    split: str = "test",
    data_dir: Path | None = None,
    batch_size: int | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    attack: str | None = None,
    epsilon: float | None = None,
    attack_steps: int | None = None,
    attack_step_size: float | None = None,
    restarts: int | None = None,
    ui: Ui | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a trained model on a split.

    Args:
        run: A run folder (for its best checkpoint), a checkpoint, or a file of `momentum_cli.formats`.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        data_dir: Folder of the data sets, or None for the default.
        batch_size: Sequences (for translation tokens) at a time, or None for the recipe's ``eval_batch_size``.
        beam_size, length_penalty: Options of the beam search of a translation model; None: those of the recipe.
        attack: Key of `momentum_cli.attacks.ATTACKS`: also evaluate the worst inputs that it finds; None: do not.
        epsilon: Largest change that an attack may make to each input, > 0, in the units of the model's inputs.
        attack_steps: Steps of an iterated attack, >= 1; None: 50.
        attack_step_size: Their size, > 0, in the same unit; None: 1.25 epsilon for one step, else 2.5 epsilon / steps.
        restarts: Random starting points of an iterated attack, >= 1; None: 1.
        ui: Where progress is shown; None shows nothing.
        out: Folder of ``eval-SPLIT.json`` and the pictures; None: the run folder, or nowhere for a checkpoint outside
            one.

    Returns:
        ``run``, ``checkpoint``, ``step``, ``cell``, ``task``, ``split``, ``samples``, ``seconds``,
        ``samples_per_second``, ``device``, ``backend``; and

        - ``metrics``, and each of them by its name;
        - ``intervals``, in which each metric lies in 95 % of bootstrap resamples;
        - ``baselines``, name and metrics of the naive predictors, the best one first;
        - ``classes``, one row per class: label, support, precision, recall, f1; None without classes;
        - ``confusion``, rows are true classes; None without classes;
        - ``search``, options of the search of a translation model; None for others;
        - ``signatures``, descriptions of the metrics that can be computed in more than one way;
        - ``coverage``, for each predicted interval its level, the share of targets inside it and its mean width;
        - ``targets``, errors of each value, and step by step, in the units of the data; None without values;
        - ``worst``, the sequences with the largest loss; [] for a text;
        - ``forecasts``, those of the picture; None without any;
        - ``attack``, an attack and its effect; None without one.

        Of an attack: ``name``, ``epsilon``, ``steps``, ``step_size`` and ``restarts``, and for the worst inputs that it
        found ``metrics``, ``intervals``, ``classes`` and ``confusion``.

    Raises:
        RecipeError: The split is unknown, an option of an attack is wrong, or `out` cannot be written to.
        DataError: Model or data are missing, damaged, or do not belong together.
    """
    shown: Ui = ui or NullUi()
    if split not in SPLITS:
        raise RecipeError(refuse("--split", split, f"be one of {', '.join(SPLITS)}"))
    if batch_size is not None and batch_size < 1:
        raise RecipeError(refuse("--batch-size", batch_size, "be at least 1"))
    attacked = chosen_attack(attack, epsilon, attack_steps, attack_step_size, restarts)
    subject = with_search(open_subject(run), beam_size, length_penalty)
    dataset = load_data(subject.recipe, data_dir, shown).unattacked
    data = _split_of(dataset, split)
    if subject.trained_on["preprocessing"] != describe(dataset)["preprocessing"]:
        raise DataError(f"{subject.path}: the preprocessing of {dataset.name} differs from that of the training")
    if attacked is not None:
        check_attackable(subject, data)
        check_epsilon("--epsilon", attacked.epsilon, dataset.input_range)
        attacked = armed(attacked, subject)
    if out is not None:
        make_output_folder(out)
    device = subject.device
    data = data.to(device)
    calibration = subject.trained_on.get("calibration")
    objective = Objective.of(dataset).calibrated(calibration)
    with_classes = objective.loss == "cross_entropy" and objective.output == "last"
    size = batch_size or subject.recipe.train.eval_batch_size
    if data.carried and subject.advance is None:
        raise RecipeError(
            f"{run}: exported without --stateful, so it cannot carry its state through a text; export it with "
            "--stateful, or evaluate the checkpoint"
        )
    matrix = torch.zeros(dataset.output_size, dataset.output_size, dtype=torch.int64)
    with_values = objective.loss != "cross_entropy" and objective.output == "last"
    by_target = ByTarget(dataset, objective)

    def answer(batch: Batch, index: Tensor, state: Any) -> Answered:
        nonlocal matrix
        if data.carried and subject.advance is not None:
            return Answered(*subject.advance(batch.inputs, state))
        found = subject.answer(batch)
        if with_classes:
            matrix += _confusion(found.outputs.argmax(1), batch.targets, dataset.output_size)
        if with_values:
            by_target.add(found.outputs, batch)
        return found

    _warm_up(subject, data, size)
    start = time.perf_counter()
    found = tally(
        answer, data, objective, size=size, device=device, keep=True, split=split, on_progress=shown.evaluation_progress
    )
    # Reading the totals waits for the device.
    metrics = found.metrics()
    seconds = time.perf_counter() - start
    naive = baselines(dataset, data, size, device)
    best = next((one for one in dataset.naive if naive and one.name == naive[0]["name"]), None)
    looked = Looked(subject.call, dataset, objective, data, split, best)
    if with_values:
        looked = replace(looked, rows=by_target.rows(), naive_rows=_naive_rows(best, dataset, data, size))
    worst = [] if data.carried else worst_rows(looked, found.worst(WORST, dataset.neighbours))
    forecast = shown_forecasts(looked, worst)
    labels = list(dataset.labels) if dataset.labels else [str(k) for k in range(dataset.output_size)]
    robust = None if attacked is None else _robust(attacked, subject, dataset, objective, data, size, split, shown)
    result = {
        "run": str(run),
        "checkpoint": str(subject.path),
        "step": subject.step,
        "cell": subject.recipe.model.cell,
        "task": dataset.name,
        "split": split,
        "samples": len(data),
        "metrics": metrics,
        **metrics,
        "intervals": found.intervals(dataset.neighbours),
        "baselines": naive,
        "coverage": found.coverage(),
        "search": None if subject.translator is None else asdict(subject.translator.search),
        "signatures": signatures(objective.metrics),
        "targets": _beside(looked) if with_values else None,
        "worst": worst,
        "labels": labels if with_classes else None,
        "forecasts": forecast,
        "attack": robust,
        "seconds": seconds,
        "samples_per_second": len(data) / seconds,
        "device": str(device),
        "backend": subject.backend(),
        "classes": class_table(matrix, labels) if with_classes else None,
        "confusion": matrix.tolist() if with_classes else None,
    }
    folder = out or (run if is_run_folder(run) else None)
    if folder is not None:
        write_json(folder / f"eval-{split}.json", result)
        try:
            if with_classes:
                confusion(matrix.tolist(), labels, folder / f"confusion-{split}.png")
            if worst:
                draw(looked, worst, folder, forecast)
        except MomentumError as error:
            shown.note(f"a picture is missing: {error}", "warning")
    return result


def _robust(
    attacked: Attacked,
    subject: Subject,
    dataset: Dataset,
    objective: Objective,
    data: Sequences,
    size: int,
    split: str,
    shown: Ui,
) -> dict[str, Any]:
    """Return the settings of an attack and the metrics under it."""
    matrix = torch.zeros(dataset.output_size, dataset.output_size, dtype=torch.int64)
    with_classes = objective.loss == "cross_entropy" and objective.output == "last"

    def heard(batch: Batch, outputs: Tensor) -> None:
        if with_classes:
            matrix.add_(_confusion(outputs.argmax(1), batch.targets, dataset.output_size))

    found = tally(
        attacked.answers(subject, dataset, objective, heard),
        data,
        objective,
        size=size,
        device=subject.device,
        keep=True,
        split=split,
        on_progress=shown.evaluation_progress,
    )
    labels = list(dataset.labels) if dataset.labels else [str(k) for k in range(dataset.output_size)]
    return {
        **attacked.facts(),
        "metrics": found.metrics(),
        "intervals": found.intervals(dataset.neighbours),
        "classes": class_table(matrix, labels) if with_classes else None,
        "confusion": matrix.tolist() if with_classes else None,
    }


def _naive_rows(naive: Naive | None, dataset: Dataset, data: Sequences, size: int) -> list[dict[str, Any]]:
    """Return the errors of a naive predictor target by target; [] without one."""
    if naive is None:
        return []
    found = ByTarget(dataset, Objective.of(dataset))
    for group in data.evaluation_groups(size):
        batch = data.batch(group)
        found.add(naive.outputs(data, group, batch), batch)
    return found.rows()


def _beside(looked: Looked) -> list[dict[str, Any]]:
    """Return the errors target by target with those of the naive predictor, as ``naive_mae`` and ``naive_rmse``."""

    def joined(row: dict[str, Any], naive: dict[str, Any] | None) -> dict[str, Any]:
        found = dict(row)
        if naive is not None:
            found |= {f"naive_{name}": naive[name] for name in ("mae", "rmse")}
        if "steps" in row:
            theirs = [None] * len(row["steps"]) if naive is None else naive["steps"]
            found["steps"] = [joined(*pair) for pair in zip(row["steps"], theirs, strict=True)]
        return found

    if not looked.naive_rows:
        return [joined(row, None) for row in looked.rows]
    return [joined(*pair) for pair in zip(looked.rows, looked.naive_rows, strict=True)]


def class_table(matrix: Tensor, labels: list[str]) -> list[dict[str, Any]]:
    """Return support, precision, recall and F1 of each class.

    Args:
        matrix: (classes, classes) int64 counts; rows are true classes, columns predicted ones.
        labels: Name of each class.

    Returns:
        One row per class; a ratio whose denominator is 0 is None.
    """
    right = matrix.diagonal().tolist()
    predicted, true = matrix.sum(0).tolist(), matrix.sum(1).tolist()
    rows = []
    for label, hits, guesses, support in zip(labels, right, predicted, true, strict=True):
        rows.append(
            {
                "label": label,
                "support": support,
                "precision": hits / guesses if guesses else None,
                "recall": hits / support if support else None,
                "f1": 2 * hits / (guesses + support) if guesses + support else None,
            }
        )
    return rows


def _warm_up(subject: Subject, data: Sequences, size: int) -> None:
    """Incur one-time costs before the clock starts: thread pools, library handles, TorchScript's compilation."""
    with torch.no_grad():
        for group, _ in zip(data.evaluation_groups(size), range(1), strict=False):
            for _ in range(_WARM_UP_PASSES):
                batch = data.batch(group)
                if data.carried and subject.advance is not None:
                    subject.advance(batch.inputs, None)
                else:
                    subject.answer(batch)
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)


def _confusion(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).cpu()


def _split_of(dataset: Dataset, split: str) -> Sequences:
    chosen: Sequences | None = getattr(dataset, split)
    if chosen is None:
        raise RecipeError(
            f"--split {split}: the run used validation: none, so it has no validation split; use train or test"
        )
    return chosen
