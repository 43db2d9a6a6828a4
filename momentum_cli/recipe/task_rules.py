"""Sections of a recipe that belong to one task: a table with an entry for each task that has some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from momentum_cli.options import Problem
from momentum_cli.recipe.language import complete_language, language_contradictions
from momentum_cli.recipe.sections import ModelOptions, TaskOptions, TrainOptions
from momentum_cli.recipe.translation import complete_translation, translation_contradictions


@dataclass(frozen=True)
class TaskRules:
    """Additions of a task to the sections ``model`` and ``train``.

    Args:
        sections: Paths of the sections that other tasks do not have, ``(("model", "language"), …)``.
        complete: Fills in the defaults of those sections.
        contradictions: Returns the values that the task does not allow; sections with mistakes are None.
    """

    sections: tuple[tuple[str, str], ...]
    complete: Callable[[ModelOptions, TrainOptions], tuple[ModelOptions, TrainOptions]]
    contradictions: Callable[[TaskOptions, ModelOptions | None, TrainOptions | None], list[Problem]]


RULES: dict[str, TaskRules] = {
    "language": TaskRules((("model", "language"), ("train", "bptt")), complete_language, language_contradictions),
    "translation": TaskRules((("model", "translation"),), complete_translation, translation_contradictions),
}


def complete_for_task(task: str, model: ModelOptions, train: TrainOptions) -> tuple[ModelOptions, TrainOptions]:
    """Return the sections with the defaults of a task filled in."""
    return RULES[task].complete(model, train) if task in RULES else (model, train)


def task_contradictions(task: TaskOptions, model: ModelOptions | None, train: TrainOptions | None) -> list[Problem]:
    """Return sections that belong to other tasks, and values that this one does not allow."""
    given = {"model": model, "train": train}
    name = task.name
    own = RULES[name].sections if name in RULES else ()
    found = []
    for path in dict.fromkeys(path for rules in RULES.values() for path in rules.sections):
        if path not in own and getattr(given[path[0]], path[1], None) is not None:
            owners = " and ".join(owner for owner, rules in RULES.items() if path in rules.sections)
            found.append(Problem(path, f"belongs to the task {owners}, but the task is {name}; leave it out"))
    return found + (RULES[name].contradictions(task, model, train) if name in RULES else [])
