"""Keys of overrides without their section: ``epochs=3`` is ``train.epochs=3`` where no other section has such a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from momentum_cli.cells.catalogue import cell_options
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS
from momentum_cli.errors import RecipeError
from momentum_cli.messages import nearest
from momentum_cli.optim import resolve
from momentum_cli.options import dataclass_options, signature_options
from momentum_cli.recipe.checks import NOT_OPTIONS
from momentum_cli.recipe.sections import ModelOptions, ScheduleOptions, TargetOptions, TrainOptions

_FIXED: dict[str, type[BaseModel]] = {
    "model": ModelOptions,
    "train": TrainOptions,
    "schedule": ScheduleOptions,
    "target": TargetOptions,
}


def full_key(key: str, content: Mapping[str, Any]) -> str:
    """Return the path of a key that was written without its section.

    Args:
        key: One part, not the name of a section.
        content: The recipe so far; its task, optimizer and cell have keys of their own.

    Raises:
        ValueError: No section has it, or several have.
    """
    paths = list(dict.fromkeys(_paths(content)))
    found = [path for path in paths if path.rpartition(".")[2] == key]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"could be {' or '.join(found)}; write which")
    close = nearest(key, [path.rpartition(".")[2] for path in paths])
    meant = [path for path in paths if path.rpartition(".")[2] == close]
    raise ValueError(f"no section has such a key{f'; did you mean {meant[0]}?' if meant else ''}")


def _paths(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of all keys; mistakes of the recipe are reported elsewhere."""
    yield from ("task.name", "optimizer.name")
    for section, options in _FIXED.items():
        yield from (f"{section}.{key}" for key in options.model_fields)
    task, optimizer, cell = (
        inner.get(key) if isinstance(inner := content.get(section), Mapping) else None
        for section, key in (("task", "name"), ("optimizer", "name"), ("model", "cell"))
    )
    if isinstance(task, str) and task in TASKS:
        yield from (f"task.{option.name}" for option in dataclass_options(TASKS[task]))
    if isinstance(optimizer, str):
        try:
            yield from (f"optimizer.{option.name}" for option in signature_options(resolve(optimizer), NOT_OPTIONS))
        except ValueError:
            yield "optimizer.lr"
    try:
        parsed = parse_cell(str(cell or ModelOptions.model_fields["cell"].default))
    except RecipeError:
        return
    yield from (f"cells.{parsed.name}.{option.name}" for option in cell_options(parsed))
