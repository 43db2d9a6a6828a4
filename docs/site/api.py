"""The reference of the library: the public names, page by page.

mkdocstrings adds signatures, docstrings and source.
"""

from __future__ import annotations

from typing import Any

import momentum_cli
from momentum_cli.data import TASKS
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.optim import OPTIMIZERS

LAYERS_INTRO = """# Layers

Import them from `momentum_cli`. Their arguments, shapes and `state_dict` are those of `torch.nn`; the state that they
return carries the dynamics, too. The methods of all layers are those of
[`RecurrentLayer`][momentum_cli.layers.recurrent.RecurrentLayer].
"""
DYNAMICS_INTRO = """# Dynamics and recurrences

A dynamics is the filter in front of a recurrence, the argument `dynamics` of every layer. Import them from
`momentum_cli`.
"""
OPTIMIZERS_INTRO = """# Optimizers

Import them from `momentum_cli.optim`. `OPTIMIZERS` has them by the names of recipes, with those of `torch.optim`.
[Optimizers](../optimizers.md) compares them.
"""
DATA_INTRO = """# Data

`TASKS[name](**options).load(data_dir)` of `momentum_cli.data` returns a `Dataset`.
[Data](../data.md) describes the tasks.
"""
LIBRARY_INTRO = """# Commands as functions

Import them from `momentum_cli`. [From Python](../python.md) shows them.
"""
VERBS_INTRO = """# Functions behind the commands

The engines of [the command line](commands.md) and of [its functions](commands-as-functions.md).
"""
RECIPES_INTRO = """# Recipes from Python

A recipe is data; the functions below build what it names.
"""
LAYERS = (
    "layers.lstm_gru_rnn.LSTM",
    "layers.lstm_gru_rnn.GRU",
    "layers.lstm_gru_rnn.RNN",
    "layers.orthogonal.OrthogonalRNN",
    "layers.coupled.CoupledLSTM",
    "layers.custom.CustomRNN",
    "layers.recurrent_state.RecurrentState",
    "layers.recurrent.RecurrentLayer",
)
DATA = ("Dataset", "Split", "Sequences", "Batch", "Task", "default_data_dir")
LIBRARY = (
    "api.train.train",
    "api.train.dry_run",
    "api.evaluate.evaluate",
    "api.bench.bench",
    "api.tune.tune",
    "api.export.export",
    "api.predict.predict",
    "inference.trained_model.load",
    "inference.trained_model.TrainedModel",
    "inference.trained_model.Predictions",
    "api.callbacks.Callback",
    *(f"api.results.{kind}Result" for kind in ("Train", "DryRun", "Evaluate", "Bench", "Tune", "Export", "Predict")),
    *(f"api.results.{part}" for part in ("Result", "Best", "Target", "Arm")),
    *(f"progress.{event}" for event in ("RunStart", "StepInfo", "Evaluation", "RunState", "TrialState")),
)
VERBS = (
    "training.train.train",
    "training.train.dry_run",
    "training.trained.load_model",
    "inference.evaluate.evaluate",
    "inference.predict.predict.predict",
    "inference.generate.generate",
    "formats.export.export",
    "formats.export.open_program",
    "benchmark.bench.bench",
    "inspection.gradients.inspect.inspect",
    "inspection.model.summary.summary",
    "inspection.data.describe_data",
    "inspection.data.check_data",
    "inspection.doctor.examine",
)
RECIPES = (
    "recipe.recipe.load_recipe",
    "recipe.recipe.parse_recipe",
    "recipe.recipe.Recipe",
    "recipe.shipped.find_recipe",
    "recipe.shipped.shipped_recipes",
    "recipe.shipped.copy_recipe",
    "recipe.building.build_task",
    "recipe.building.build_dynamics",
    "recipe.building.build_layer",
    "recipe.building.build_model",
    "recipe.building.build_optimizer",
)
ERRORS = ("MomentumError", "RecipeError", "DataError", "RunError", "TargetError", "Interrupted")


def pages() -> dict[str, str]:
    """Return the pages of the library, by their file names."""
    made = {name: getattr(momentum_cli, name) for name in momentum_cli.__all__}
    short_names = [name for name, found in made.items() if found.__module__ == "momentum_cli.layers.short_names"]
    tasks = {cls.__name__: cls for cls in TASKS.values()}
    optimizers = [cls for cls in OPTIMIZERS.values() if cls.__module__.startswith("momentum_cli")]
    return {
        "layers.md": _page(LAYERS_INTRO, [f"momentum_cli.{name}" for name in LAYERS]) + _short_names(short_names),
        "dynamics.md": _page(
            DYNAMICS_INTRO,
            [
                *map(path_of, DYNAMICS.values()),
                "momentum_cli.dynamics.filter.Filter",
                "momentum_cli.dynamics.moments.Moments",
                *(f"momentum_cli.dynamics.protocol.{name}" for name in ("Dynamics", "FormDynamics", "StepDynamics")),
                "momentum_cli.recurrence.protocol.Recurrence",
            ],
        ),
        "optimizers.md": _page(OPTIMIZERS_INTRO, [*map(path_of, optimizers), "momentum_cli.optim.resolve"]),
        "data.md": _page(
            DATA_INTRO, [*map(path_of, tasks.values()), *(f"momentum_cli.data.dataset.{name}" for name in DATA)]
        ),
        "commands-as-functions.md": _page(LIBRARY_INTRO, [f"momentum_cli.{name}" for name in LIBRARY]),
        "functions.md": _page(VERBS_INTRO, [f"momentum_cli.{name}" for name in VERBS]),
        "recipes.md": _page(
            RECIPES_INTRO,
            [*(f"momentum_cli.{name}" for name in RECIPES), *(f"momentum_cli.errors.{name}" for name in ERRORS)],
        ),
    }


def path_of(cls: Any) -> str:
    """Return the full name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _page(intro: str, names: list[str]) -> str:
    return "\n".join([intro, *(f"::: {name}\n" for name in names)])


def _short_names(names: list[str]) -> str:
    rows = [f"| `{name}` | {getattr(momentum_cli, name).__doc__} |" for name in names]
    return "\n".join(["", "## Short names", "", "| function | |", "|---|---|", *rows, ""])
