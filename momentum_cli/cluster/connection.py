"""The connection to the scheduler of a cluster, and what cannot be done on one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from momentum_cli.cells.plugins import loaded_files
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import Recipe

_CONNECT_SECONDS = 15


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to the scheduler of a cluster.

    Raises:
        RecipeError: The package is missing, no scheduler answers, or a plugin is loaded, which workers do not have.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise RecipeError(
            "--cluster needs the package distributed, which is not installed; install it with: "
            "pip install 'momentumrnn[cluster]'"
        ) from error
    if files := loaded_files():
        raise RecipeError(f"--cluster: workers do not have the plugin {files[0]}; leave out one of them")
    # Its messages about connections do not help the user of a command; their consequences are reported by `Crew`.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(
            f"--cluster {address}: no Dask scheduler answers there ({str(error).splitlines()[0]}); start one with: "
            "dask scheduler"
        ) from error
    try:
        yield client
    finally:
        client.close()


def require_steps(recipe: Recipe) -> None:
    """Refuse a budget in seconds, in which a faster machine makes more steps.

    Raises:
        RecipeError: The recipe has one.
    """
    if recipe.train.max_seconds is not None:
        raise RecipeError(
            f"--cluster: machines differ in speed, so a budget of {recipe.train.max_seconds:g} s is another number of "
            "steps on each; give the budget in steps or epochs, with train.max_seconds=null"
        )


def local_trackers(recipe: Recipe) -> str | None:
    """Return a warning about trackers whose local files would be lost with the folder of a worker; None without any."""
    names = [name for name in recipe.train.loggers if name != "tensorboard"]
    if not names:
        return None
    return (
        f"train.loggers {', '.join(names)}: local files do not come back from the workers of a cluster, only those of "
        "tensorboard; give the workers the address of a server"
    )
