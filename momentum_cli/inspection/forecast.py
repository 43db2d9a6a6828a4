"""`momentumrnn inspect --forecast`: the metric of a run at the end of its budget, predicted from its learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.find import find_run
from momentum_cli.training.launch import launch
from momentum_cli.training.trainer import Trainer
from momentum_cli.tuning.laws import FEWEST_POINTS, forecast, plan_of
from momentum_cli.tuning.objective import best_value
from momentum_cli.wording import metric_text


def forecast_runs(
    names: Sequence[str], *, data_dir: Path | None = None, ui: Ui | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Predict the headline metric of runs at the end of their budgets from their evaluations so far.

    Nothing is written, so a run may be in progress.

    Args:
        names: Run folders.
        data_dir: Folder of the data sets, or None for the default.
        ui: Where progress is shown; None shows nothing.

    Returns:
        ``forecasts``, each with ``run``, ``metric``, ``split``, ``step``, ``total_steps``, ``last``, ``best``,
        ``predicted``, and ``low`` and ``high`` of the 80 % interval.

    Raises:
        DataError: A name is not a run, or its data are missing.
        RecipeError: A run has no planned end, or too few evaluations.
    """
    if not names:
        raise RecipeError("--forecast: give one or more runs")
    return {"forecasts": [_forecast(name, data_dir, ui or NullUi()) for name in names]}


def _forecast(name: str, data_dir: Path | None, ui: Ui) -> dict[str, Any]:
    folder = find_run(name)
    recipe = load_recipe(folder / "recipe.yaml")
    rows = read_metrics(folder, "eval") if (folder / "metrics.jsonl").is_file() else []
    if len(rows) < FEWEST_POINTS:
        must = f"have at least {FEWEST_POINTS} evaluations"
        raise RecipeError(refuse(str(folder), Said(str(len(rows))), must, "wait, or set train.eval_every_n_steps"))
    dataset = load_data(recipe, data_dir, ui)
    trainer = Trainer(recipe, dataset, launch(recipe, 1, 1, "cpu"))
    total, metric = trainer.total_steps, dataset.metric
    if total is None:
        raise RecipeError(refuse(str(folder), Said("none"), "have a planned number of steps", "only time limits it"))
    if metric not in rows[-1]:
        raise DataError(f"{folder}: its evaluations have no {metric}")
    curve = [(row["step"], float(row[metric])) for row in rows if metric in row]
    found = forecast(metric, curve, plan_of(recipe, total))
    if found is None:
        must = f"have at least {FEWEST_POINTS} evaluations with a number"
        raise RecipeError(refuse(str(folder), Said("fewer"), must, "it may have diverged"))
    over = curve[-1][0] >= total
    value = curve[-1][1]
    return {
        "run": str(folder),
        "metric": metric,
        "split": trainer.selection_split,
        "step": curve[-1][0],
        "total_steps": total,
        "last": value,
        "best": best_value(metric, [v for _, v in curve]),
        "predicted": value if over else found.value,
        "low": value if over else found.low,
        "high": value if over else found.high,
    }


def forecast_lines(content: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the forecasts in words, two lines for each run."""
    lines = []
    for entry in content["forecasts"]:
        metric, split = entry["metric"], entry["split"]
        last, best, predicted, low, high = (
            metric_text(metric, entry[key]) for key in ("last", "best", "predicted", "low", "high")
        )
        so_far = f"step {entry['step']:,} of {entry['total_steps']:,}, {split} {metric} {last}, best {best}"
        lines.append(f"{entry['run']}: {so_far}")
        if entry["step"] >= entry["total_steps"]:
            lines.append("  the run is at its end")
        else:
            lines.append(f"  at its end {predicted} (80 %: {low} to {high})")
    return lines
