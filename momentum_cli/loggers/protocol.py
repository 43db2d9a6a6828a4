"""The interface of an experiment tracker, and the facts of the run that it is opened for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from momentum_cli.reading import parse_json, read_text
from momentum_cli.runs.files import write_json

NAMES = "loggers.json"


@dataclass(frozen=True)
class LoggedRun:
    """A run that is tracked.

    Args:
        folder: Its run folder.
        task: Name of its data set, which is the project of a run that belongs to no group.
        recipe: The whole recipe as plain mappings and values.
        step: Optimizer steps made before; above 0 for a run that is continued.
        group: Folder of the benchmark or the search that it belongs to, or None.
    """

    folder: Path
    task: str
    recipe: Mapping[str, Any]
    step: int = 0
    group: Path | None = None

    @property
    def store(self) -> Path:
        """The folder for what several runs share: the one that contains the run, or the group."""
        return (self.group or self.folder).absolute().parent

    @property
    def project(self) -> str:
        """The group or else the task."""
        return self.task if self.group is None else self.group.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the recipe by their dotted keys."""
        return dict(_flat("", self.recipe))

    def name_of(self, tracker: str) -> str | None:
        """Return the name that a tracker has given to this run, None before `keep_name`."""
        found = self._names().get(tracker)
        return None if found is None else str(found)

    def keep_name(self, tracker: str, name: str) -> None:
        """Keep the name that a tracker has given to this run, so that a continued run is the same one there."""
        write_json(self.folder / NAMES, self._names() | {tracker: name})

    def _names(self) -> dict[str, Any]:
        path = self.folder / NAMES
        found = parse_json(read_text(path)) if path.is_file() else {}
        return found if isinstance(found, dict) else {}


def _flat(prefix: str, content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        found += _flat(path, value) if isinstance(value, Mapping) and value else [(path, value)]
    return found


class Logger(Protocol):
    """A tracker opened for one run; any method may raise, which ends the tracking and not the run.

    Attributes:
        package: The module that it needs.
        extra: The extra that installs it.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, run: LoggedRun) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write values of a step or an evaluation, by names such as ``train/loss`` and ``validation/accuracy``."""
        ...

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        """Write the numbers of the result and the files of a run that is over."""
        ...

    def close(self, finished: bool) -> None:
        """Write everything out; a run that is not finished may be continued later."""
        ...
