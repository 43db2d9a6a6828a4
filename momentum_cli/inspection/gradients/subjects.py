"""The subjects of an inspection: models with names and stages of training, and the batch they are run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from momentum_cli.cells.find import canonical_name
from momentum_cli.data import Batch, Dataset
from momentum_cli.data.batching import epoch_order
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.gradients.passes import KINDS
from momentum_cli.messages import refuse
from momentum_cli.models.model import Model
from momentum_cli.progress import DownloadProgress
from momentum_cli.reading import expanded
from momentum_cli.recipe.building import build_model, load_data, model_section
from momentum_cli.recipe.recipe import Recipe, full_overrides, load_recipe
from momentum_cli.recipe.sections import TaskOptions
from momentum_cli.recipe.shipped import find_recipe
from momentum_cli.training.trained import describe, load_model

INITIAL, TRAINED = "initial", "trained"


@dataclass(frozen=True)
class Subject:
    """One model.

    Args:
        label: Its name in tables and pictures: its cell, or its run if two runs have the same cell.
        stage: ``"initial"`` or ``"trained"``.
        model: The model, on the CPU.
        recipe: Its recipe.
    """

    label: str
    stage: str
    model: Model
    recipe: Recipe


def is_run(name: str) -> bool:
    """Return True if a name on the command line is a run: an existing folder or checkpoint."""
    path = expanded(name)
    return path.is_dir() or (path.is_file() and path.suffix == ".safetensors")


def open_recipe(
    name: str,
    cells: Sequence[str],
    overrides: Sequence[str],
    seed: int | None,
    data_dir: Path | None,
    progress: DownloadProgress,
) -> tuple[list[Subject], Dataset]:
    """Build the cells of a recipe as in training at step 0.

    Args:
        name: A recipe.
        cells: Names of cells; none: that of the recipe.
        overrides: Changes to the recipe.
        seed: Seed of the initial parameters, or None for ``train.seed``.
        data_dir: Folder of the data sets.
        progress: Receives the progress of downloads.

    Raises:
        RecipeError: The recipe or cell does not exist, or has mistakes.
        DataError: The data are missing.
    """
    try:
        path = find_recipe(name)
    except RecipeError as error:
        raise RecipeError(f"{error}; nor is it a run, which is a folder or a .safetensors checkpoint") from None
    given = full_overrides(path, overrides)
    for key, flag, used in (("model.cell", "--cells", bool(cells)), ("train.seed", "--seed", seed is not None)):
        if used and any(text.startswith(f"{key}=") for text in given):
            raise RecipeError(f"{key} is given twice, as an override and with {flag}; remove one")
    changes = given if seed is None else [*given, f"train.seed={seed}"]
    # Each cell is another override, so that a conflict with the cell is reported like any other mistake.
    named = list(dict.fromkeys(canonical_name(cell) for cell in cells))
    recipes = [load_recipe(path, [*changes, f"model.cell={cell}"]) for cell in named]
    recipes = recipes or [load_recipe(path, changes)]
    _check_inspectable(recipes[0])
    dataset = load_data(recipes[0], data_dir, progress)
    return [Subject(recipe.model.cell, INITIAL, initial_model(recipe, dataset), recipe) for recipe in recipes], dataset


def open_runs(names: Sequence[str], data_dir: Path | None, progress: DownloadProgress) -> tuple[list[Subject], Dataset]:
    """Open runs of one task, each as initialised and at its best checkpoint.

    Args:
        names: Run folders or checkpoints.
        data_dir: Folder of the data sets.
        progress: Receives the progress of downloads.

    Raises:
        DataError: A run is damaged, was trained with other preprocessing, or data are missing.
        RecipeError: The runs are of different tasks.
    """
    loaded = [load_model(expanded(name)) for name in names]
    tasks = [run.recipe.task for run in loaded]
    for name, task in zip(names, tasks, strict=True):
        if task != tasks[0]:
            raise RecipeError(
                f"{name}: {_difference(task, tasks[0])} in {names[0]}; runs are compared on one batch, so inspect "
                "these separately"
            )
    _check_inspectable(loaded[0].recipe)
    dataset = load_data(loaded[0].recipe, data_dir, progress)
    cells = [run.recipe.model.cell for run in loaded]
    subjects = []
    for name, run in zip(names, loaded, strict=True):
        if run.checkpoint.data["dataset"]["preprocessing"] != describe(dataset)["preprocessing"]:
            raise DataError(f"{run.path}: the preprocessing of {dataset.name} differs from that of the training")
        cell = run.recipe.model.cell
        label = cell if cells.count(cell) == 1 else Path(name).name
        subjects += [
            Subject(label, INITIAL, initial_model(run.recipe, dataset), run.recipe),
            Subject(label, TRAINED, run.model, run.recipe),
        ]
    return subjects, dataset


def _difference(task: TaskOptions, other: TaskOptions) -> str:
    """Return how a task differs from `other`; the value of `other` comes last."""
    if task.name != other.name:
        return f"its task is {task.name}, but {other.name}"
    keys = [key for key in {**task.options, **other.options} if task.options.get(key) != other.options.get(key)]
    own, theirs = (", ".join(f"task.{key} {given.options.get(key)}" for key in keys) for given in (task, other))
    return f"it has {own}, but {theirs}"


def _check_inspectable(recipe: Recipe) -> None:
    if (section := model_section(recipe)) not in KINDS:
        raise RecipeError(
            f"inspect does not support model.{section}: tokens have no gradient; inspect the cell on another task"
        )


def initial_model(recipe: Recipe, dataset: Dataset) -> Model:
    """Return the initial model of a training with this recipe, without changing torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        return build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)


def real_batch(dataset: Dataset, size: int, seed: int, length: int | None) -> Batch:
    """Return the first sequences of the first epoch.

    Args:
        dataset: The data set.
        size: B; all training sequences if there are fewer.
        seed: Seed of the order.
        length: Cut sequences after this many steps, or None for all of them. Shorter sequences stay whole; the target
            of a sequence is kept, targets of steps are cut.

    Raises:
        RecipeError: The length is larger than the sequences.
    """
    if length is not None and dataset.train.batch_unit == "tokens":
        remedy = "half a sentence has no translation"
        raise RecipeError(refuse("--length", length, "be left out for a model that translates", remedy))
    batch = dataset.train.batch(epoch_order(len(dataset.train), seed, 0)[:size])
    longest = batch.inputs.shape[1]
    if length is None or length == longest:
        return batch
    if length > longest:
        must = f"be in [1, {longest}], the steps of the sequences of {dataset.name}"
        raise RecipeError(refuse("--length", length, must))
    targets = batch.targets[:, :length] if dataset.output == "every" else batch.targets
    lengths = None if batch.lengths is None else batch.lengths.clamp(max=length)
    return replace(batch, inputs=batch.inputs[:, :length], targets=targets, lengths=lengths)
