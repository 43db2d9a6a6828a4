"""Plugins: the user's own recurrences and dynamics, from a file or an installed package.

A plugin is a module with one or both of

    RECURRENCES = {"mgu": Recurrence("mgu", 2, ("h",), mgu_step, "…")}
    DYNAMICS = {"lazy": LazyBall}

Every recurrence becomes a layer, so it gives a cell of its own name and one for each dynamics; every dynamics gives a
cell for each layer. A file is run only if the user names it (``--plugin FILE.py``, `load_plugin`), an installed package
only when an unknown cell is requested (entry point group `GROUP`). Recipes, and with them checkpoints and exported
files, name the plugin of their cell, and never run it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from momentum_cli.cells.catalogue import LAYERS, LayerEntry, all_cells
from momentum_cli.cells.trials import check_dynamics, check_recurrence, located
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import RecipeError
from momentum_cli.layers.custom import CustomRNN
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import expanded
from momentum_cli.recurrence import RECURRENCES

GROUP = "momentumrnn.plugins"
_FAMILIES = ("RECURRENCES", "DYNAMICS")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin.

    Args:
        name: Name of the file or of the entry point, as used in recipes.
        path: The file; None for an installed package.
        names: Names of its recurrences and dynamics.
    """

    name: str
    path: Path | None
    names: tuple[str, ...]


LOADED: dict[str, Plugin] = {}
_searched: list[bool] = []


def load_plugin(path: Path | str) -> Plugin:
    """Run a plugin file and register its recurrences and dynamics; a file already loaded is not run again.

    Raises:
        RecipeError: The file does not exist, fails when run, or defines something invalid; with file and line.
    """
    file = Path(os.path.realpath(expanded(path)))  # `resolve` fails on a loop of links
    known = LOADED.get(file.name)
    if known is not None and known.path == file:
        return known
    if known is not None:
        raise RecipeError(f"--plugin {path}: a plugin called {file.name} is loaded already, from {known.path}")
    if not file.is_file():
        raise RecipeError(f"--plugin {path}: file not found")
    name = f"momentumrnn_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RecipeError(f"--plugin {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their annotations in the module, and pickle its functions.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        return _register(file.name, file, module)
    except RecipeError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise RecipeError(f"{_place(error, file)}: the plugin raised {type(error).__name__}: {error}") from error


def load_plugins(paths: Iterable[Path | str]) -> None:
    """Load several files, see `load_plugin`."""
    for path in paths:
        load_plugin(path)


def load_installed() -> None:
    """Load the plugins of installed packages, once.

    Raises:
        RecipeError: One of them cannot be imported, or defines something invalid.
    """
    if _searched:
        return
    _searched.append(True)
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            module = entry.load()
        except Exception as error:
            raise RecipeError(
                f"the installed plugin {entry.name} ({entry.value}) cannot be imported, {type(error).__name__}: "
                f"{error}; repair or uninstall its package"
            ) from error
        _register(entry.name, None, module)


def loaded_files() -> tuple[str, ...]:
    """Return the loaded plugin files, which other processes have to load too."""
    return tuple(str(plugin.path) for plugin in LOADED.values() if plugin.path is not None)


def plugins_of(cells: Iterable[str]) -> list[str]:
    """Return the sorted names of the plugins that define these cells; built-in and unknown cells have none."""
    known = all_cells()
    parts = {part for cell in cells if cell in known for part in known[cell]}
    return sorted(plugin.name for plugin in LOADED.values() if parts & set(plugin.names))


def is_loaded(name: str) -> bool:
    """Return True if a plugin of that name is loaded, after looking for an installed one."""
    if name not in LOADED:
        load_installed()
    return name in LOADED


def _register(name: str, path: Path | None, module: ModuleType) -> Plugin:
    """Check everything that a plugin defines, then register all of it."""
    where = str(path or name)
    found = {family: getattr(module, family, {}) for family in _FAMILIES}
    for family, entries in found.items():
        if not isinstance(entries, dict):
            got = Said(type(entries).__name__)
            raise RecipeError(f"{where}: {refuse(family, got, 'be a dict of name and object')}")
    recurrences, dynamics = found["RECURRENCES"], found["DYNAMICS"]
    if not recurrences and not dynamics:
        raise RecipeError(f"{where}: defines neither of {' and '.join(_FAMILIES)}; see docs/plugins.md")
    for key in (*recurrences, *dynamics):
        line = located(where, module, key)
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            must = "be lower-case letters, digits and _, with a letter first"
            raise RecipeError(f"{line}: {refuse('the name', key, must)}")
        if _taken(key) or (key in recurrences and key in dynamics):
            raise RecipeError(f"{line}: the name {key!r} is taken; choose another one")
    for key, recurrence in recurrences.items():
        check_recurrence(located(where, module, key), key, recurrence)
    for key, cls in dynamics.items():
        check_dynamics(located(where, module, key), key, cls)
    for key, recurrence in recurrences.items():
        LAYERS[key] = LayerEntry(partial(CustomRNN, recurrence), recurrence)
    DYNAMICS.update(dynamics)
    LOADED[name] = Plugin(name, path, (*recurrences, *dynamics))
    return LOADED[name]


def _taken(key: str) -> bool:
    return key in all_cells() or key in LAYERS or key in DYNAMICS or key in RECURRENCES


def _place(error: BaseException, file: Path) -> str:
    """Return FILE:LINE of an error: the last line run in the plugin, or its syntax error."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)


def missing_plugin(name: Any) -> str:
    """Return the message for a recipe whose plugin is not loaded."""
    return (
        f"needs the plugin {name}, which is not loaded: add --plugin PATH/{name} if it is a file that you trust, or "
        "install its package; recipes and checkpoints never run plugins by themselves"
    )
