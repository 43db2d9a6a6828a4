"""`momentumrnn inspect`: the effect of momentum on gradients through time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.errors import RecipeError
from momentum_cli.inspection.gradients.attention import draw_attention
from momentum_cli.inspection.gradients.measurement import measure, measure_impulses
from momentum_cli.inspection.gradients.pictures import draw_gradients, draw_impulses, draw_spectra
from momentum_cli.inspection.gradients.subjects import is_run, open_recipe, open_runs, real_batch
from momentum_cli.machine import environment
from momentum_cli.messages import counted
from momentum_cli.progress import NullUi, Ui
from momentum_cli.runs.files import write_json
from momentum_cli.runs.numbered import numbered
from momentum_cli.runs.output import make_output_folder

RESULT = "inspect.json"


def inspect(
    names: Sequence[str],
    *,
    cells: Sequence[str] = (),
    length: int | None = None,
    batch_size: int = 32,
    seed: int | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
    overrides: Sequence[str] = (),
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Measure and draw gradients through time, the recurrent Jacobian and the impulse response.

    Args:
        names: One recipe, for its cells as initialised; or one or more runs of one task, as initialised and as trained
            (their best checkpoint).
        cells: For a recipe: names of cells, or none for its own.
        length: Cut sequences after this many steps, or None for all.
        batch_size: B, training sequences in the batch, >= 1.
        seed: Seed of the batch and, for a recipe, of the initial parameters; None: that of the recipe.
        out: Folder for ``inspect.json`` and the pictures; None: a new ``runs/inspect-NAME-NNN``.
        data_dir: Folder of the data sets, or None for the default.
        overrides: Changes to the recipe.
        ui: Where progress is shown; None shows nothing.

    Returns:
        The content of ``inspect.json``: ``task``, ``length``, ``batch``, ``seed``, ``folder``, ``pictures``,
        ``subjects`` (see `measurement.measure`), ``impulses`` (see `measurement.measure_impulses`), ``environment``.

    Raises:
        RecipeError: A name, a cell, an override or a length is wrong, or options contradict each other.
        DataError: A run or the data are missing or damaged.
        RunError: A picture could not be drawn.
    """
    shown: Ui = ui or NullUi()
    runs = [is_run(name) for name in names]
    if not names or (len(names) > 1 and not all(runs)):
        wrong = [name for name, known in zip(names, runs, strict=True) if not known]
        raise RecipeError(
            f"give one recipe, or one or more runs (folders or checkpoints), got {', '.join(wrong) or 'nothing'}"
        )
    if all(runs):
        given = {"--cells": cells, "changes": overrides}
        for what, values in given.items():
            if values:
                raise RecipeError(
                    f"{what} {','.join(values)}: a run has its own cell and recipe; use this with a recipe, or give "
                    "several runs to compare them"
                )
        subjects, dataset = open_runs(names, data_dir, shown)
    else:
        subjects, dataset = open_recipe(names[0], cells, overrides, seed, data_dir, shown)
    chosen = subjects[0].recipe.train.seed if seed is None else seed
    batch = real_batch(dataset, batch_size, chosen, length)
    folder = _folder(out, names)
    measured = []
    for subject in subjects:
        shown.note(f"{subject.label}, {subject.stage}: {counted(batch.inputs.shape[1], 'step')} forward and back")
        measured.append(measure(subject, dataset, batch))
    impulses = measure_impulses(subjects, batch.inputs.shape[1])
    pictures = []
    for stage in dict.fromkeys(entry["stage"] for entry in measured):
        for entry in measured:
            if entry["stage"] == stage and "attention" in entry:
                pictures.append(folder / f"attention-{entry['label']}-{stage}.png")
                draw_attention(entry, pictures[-1])
        pictures.append(folder / f"gradients-{stage}.png")
        draw_gradients([entry for entry in measured if entry["stage"] == stage], stage, pictures[-1])
    pictures.append(folder / "jacobian.png")
    draw_spectra(measured, pictures[-1])
    pictures.append(folder / "impulse.png")
    draw_impulses(impulses, pictures[-1])
    result = {
        "format": "momentumrnn inspection",
        "format_version": 1,
        "names": list(names),
        "task": dataset.name,
        "length": batch.inputs.shape[1],
        "batch": len(batch.inputs),
        "seed": chosen,
        "folder": str(folder),
        "pictures": [str(path) for path in pictures],
        "subjects": measured,
        "impulses": impulses,
        "recipes": {subject.label: subject.recipe.dump() for subject in subjects},
        "environment": environment(),
    }
    write_json(folder / RESULT, result)
    return result


def _folder(out: Path | None, names: Sequence[str]) -> Path:
    """Make the given folder, or a new numbered one."""
    if out is not None:
        make_output_folder(out)
        return out
    try:
        return numbered(Path("runs"), f"inspect-{Path(names[0]).stem if len(names) == 1 else 'runs'}")
    except OSError as error:
        raise RecipeError(f"runs: cannot be made: {error.strerror or error}; name a folder with --out") from error
