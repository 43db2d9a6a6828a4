"""Shell completion of recipe names, run folders and overrides; nothing here imports torch."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from momentum_cli.cells.names import built_in_names
from momentum_cli.tables import table_names

if TYPE_CHECKING:
    from pydantic import BaseModel


def complete_recipe(incomplete: str) -> list[str]:
    """Return the shipped recipes, the folders and the YAML files that begin with `incomplete`."""
    from momentum_cli.recipe.shipped import shipped_recipes

    names = [name for name in shipped_recipes() if name.startswith(incomplete)]
    return [*names, *_paths(incomplete, (".yaml", ".yml"))]


def complete_run(incomplete: str) -> list[str]:
    """Return the folders that begin with `incomplete`, and those in `runs`."""
    runs = [] if incomplete else [str(path) for path in sorted(Path("runs").glob("*")) if path.is_dir()]
    return [*runs, *_paths(incomplete, ())]


def complete_override(incomplete: str) -> list[str]:
    """Return ``key.path=`` texts that begin with `incomplete`, and the values of keys with few values."""
    from momentum_cli.recipe.sections import ModelOptions, ScheduleOptions, TargetOptions, TrainOptions

    sections: dict[str, type[BaseModel]] = {
        "model": ModelOptions,
        "schedule": ScheduleOptions,
        "train": TrainOptions,
        "target": TargetOptions,
    }
    key, equals, _ = incomplete.partition("=")
    if equals:
        section, _, name = key.partition(".")
        field = sections[section].model_fields.get(name) if section in sections else None
        texts = [f"{key}={value}" for value in _VALUES.get(key, lambda: _few_values(field and field.annotation))()]
    else:
        texts = [f"{name}.{key}=" for name, section in sections.items() for key in section.model_fields]
        texts += ["task.name=", "task.", "optimizer.name=", "optimizer.lr=", "optimizer."]
        texts += [f"cells.{cell}." for cell in built_in_names()]
    found = [text for text in texts if text.startswith(incomplete)]
    if len(found) == 1 and found[0].endswith("="):
        # A shell adds a space after a single word, so its values are listed at once.
        return complete_override(found[0]) or found
    return found


def complete_cells(incomplete: str) -> list[str]:
    """Return lists of cells, separated by commas, whose last name is completed."""
    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    texts = [f"{before}{comma}{cell}" for cell in built_in_names() if cell not in given]
    return [text for text in texts if text.startswith(incomplete)]


_VALUES: dict[str, Callable[[], Iterable[str]]] = {
    "model.cell": built_in_names,
    "task.name": lambda: table_names("data/__init__.py", "TASKS"),
    "optimizer.name": lambda: table_names("optim/__init__.py", "OPTIMIZERS"),
    "model.backend": lambda: ("auto", *table_names("kernels/__init__.py", "BACKENDS")),
    "target.metric": lambda: table_names("metrics.py", "METRICS"),
}


def _few_values(annotation: Any) -> Iterable[str]:
    """Return the values of a type that has few, as YAML writes them."""
    if annotation is bool:
        return ("true", "false")
    return (str(value) for value in get_args(annotation)) if get_origin(annotation) is Literal else ()


class Words(NamedTuple):
    """The words of a bash command line; bash breaks them at ``=`` and ``:`` as well as at spaces.

    Args:
        words: The words, put together again.
        current: Index of the word that is being completed.
        typed: The beginning of that word which bash takes for a separate word and does not replace.
    """

    words: list[str]
    current: int
    typed: str


def bash_words(broken: list[str], current: int) -> Words:
    """Put together the words that bash broke.

    Args:
        broken: COMP_WORDS.
        current: COMP_CWORD.
    """
    words: list[str] = []
    place, typed = 0, ""
    for number, word in enumerate(broken):
        glued = bool(words) and (word in _BREAKS or (number > 0 and broken[number - 1] in _BREAKS))
        before = words[-1] if glued else ""
        if glued:
            words[-1] += word
        else:
            words.append(word)
        if number == current:
            place = len(words) - 1
            typed = before + word if word in _BREAKS else before
    return Words(words, place if current < len(broken) else len(words), typed)


_BREAKS = ("=", ":")


@contextmanager
def in_bash() -> Iterator[None]:
    """Complete words that bash broke; do nothing in other shells, or when nothing is being completed."""
    if os.environ.get("_MOMENTUMRNN_COMPLETE") != "complete_bash":
        yield
        return
    words, current, typed = bash_words(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(current)
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            yield
    finally:
        for line in found.getvalue().splitlines():
            print(line.removeprefix(typed))


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    found = []
    for path in sorted(Path().glob(f"{incomplete}*")) if not Path(incomplete).is_absolute() else []:
        if path.is_dir():
            found.append(f"{path}/")
        elif path.suffix in suffixes:
            found.append(str(path))
    return found
