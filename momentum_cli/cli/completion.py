"""Shell completion of recipe names, run folders and overrides; nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from momentum_cli.cells.names import built_in_names

if TYPE_CHECKING:
    from pydantic import BaseModel


def complete_recipe(incomplete: str) -> list[str]:
    """Return the shipped recipes, the folders and the YAML files that begin with `incomplete`."""
    from momentum_cli.recipe.shipped import shipped_recipes

    names = [name for name in shipped_recipes() if name.startswith(incomplete)]
    return [*names, *_paths(incomplete, (".yaml", ".yml"))]


def complete_run(incomplete: str) -> list[str]:
    """Return the folders that begin with `incomplete`, and those below `runs`."""
    runs = [] if incomplete else [str(path) for path in sorted(Path("runs").glob("*")) if path.is_dir()]
    return [*runs, *_paths(incomplete, ())]


def complete_override(incomplete: str) -> list[str]:
    """Return ``key.path=`` texts that begin with `incomplete`, and the values of keys that have few."""
    from momentum_cli.recipe.sections import ModelOptions, ScheduleOptions, TargetOptions, TrainOptions

    sections: dict[str, type[BaseModel]] = {
        "model": ModelOptions,
        "schedule": ScheduleOptions,
        "train": TrainOptions,
        "target": TargetOptions,
    }
    if incomplete.startswith("model.cell="):
        texts = [f"model.cell={cell}" for cell in built_in_names()]
    else:
        texts = [f"{name}.{key}=" for name, section in sections.items() for key in section.model_fields]
        texts += ["task.", "optimizer.lr=", "optimizer.", *(f"cells.{cell}." for cell in built_in_names())]
    return [text for text in texts if text.startswith(incomplete)]


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    found = []
    for path in sorted(Path().glob(f"{incomplete}*")) if not Path(incomplete).is_absolute() else []:
        if path.is_dir():
            found.append(f"{path}/")
        elif path.suffix in suffixes:
            found.append(str(path))
    return found
