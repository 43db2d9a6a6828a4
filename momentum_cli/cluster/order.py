"""What goes out to a worker of a cluster, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from momentum_cli import __version__
from momentum_cli.data import Dataset
from momentum_cli.recipe.recipe import Recipe

_SHOW_EVERY_SECONDS = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class Channel:
    """The connection of a running job to the process that asked for it.

    Args:
        tell: Sends a report: a mapping of texts, numbers and lists.
        ask: Sends a report and waits for the answer to it; None if the job is to stop.
        stopped: True if the job is to stop: it was cancelled, or the process that asked for it is gone.
    """

    tell: Callable[[dict[str, Any]], None]
    ask: Callable[[dict[str, Any]], Any]
    stopped: Callable[[], bool]


class Job(Protocol):
    """The work of a worker; it is sent by pickle, so its class must be in a module that workers have."""

    def __call__(self, dataset: Dataset, folder: Path, channel: Channel) -> Any:
        """Train a run in a folder, which does not exist yet; return facts that go back with it, or None."""


@dataclass(frozen=True)
class Order:
    """A run that a worker is to train.

    Args:
        name: Name of the run, unique in its group.
        group: Name of the folder of the benchmark or search, for trackers.
        label: Name of the data, for messages.
        recipe: The whole recipe.
        fingerprint: Fingerprint of the data on the machine that asks; see `momentum_cli.cluster.fingerprint`.
        data_dir: Folder of the data sets there, which is used where it exists.
        job: Trains the run.
        version: Versions of momentumrnn and torch there; see `versions`.
    """

    name: str
    group: str
    label: str
    recipe: Recipe
    fingerprint: str
    data_dir: Path | None
    job: Job
    version: str


@dataclass(frozen=True)
class Delivery:
    """The answer of a worker.

    Args:
        worker: Its address and name; "" if it was lost.
        folder: The run folder as a tar archive; None if the worker did not train the run to its end.
        facts: What the job returned.
        refusal: The reason why the worker cannot train the run; "" if it can.
        failure: The error outside the run that ended it; "" without one.
    """

    worker: str
    folder: bytes | None = None
    facts: Any = None
    refusal: str = ""
    failure: str = ""


def versions() -> str:
    """Return the versions that have to be the same everywhere for equal results."""
    return f"momentumrnn {__version__}, torch {torch.__version__}"


def seldom(show: Callable[[_T], None]) -> Callable[[_T], None]:
    """Return a function that passes on what it is called with at most about once per second."""
    shown_at = 0.0

    def shown(state: _T) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= _SHOW_EVERY_SECONDS:
            shown_at = time.monotonic()
            show(state)

    return shown
