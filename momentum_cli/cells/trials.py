"""Trials of what a plugin offers, so that a mistake shows when it is loaded and not in the middle of a training.

Axes: T time, B batch, H hidden, C channels.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from momentum_cli.errors import RecipeError
from momentum_cli.recurrence.protocol import Recurrence

_BATCH, _HIDDEN, _STEPS = 2, 3, 4


def located(where: str, module: ModuleType, key: Any) -> str:
    """Return FILE:LINE of the entry `key` of a module's tables, or only the file where it cannot be told."""
    file = getattr(module, "__file__", None)
    if file is None:
        return where
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        for name in node.keys if isinstance(node, ast.Dict) else ():
            if isinstance(name, ast.Constant) and name.value == key:
                return f"{file}:{name.lineno}"
    return str(file)


def check_recurrence(where: str, key: str, recurrence: Any) -> None:
    """Run one step of a recurrence, with and without bias.

    Raises:
        RecipeError: It is not a `Recurrence`, or its step does not do what one has to; `where` it is comes first.
    """
    if not isinstance(recurrence, Recurrence):
        raise RecipeError(f"{where}: got {type(recurrence).__name__}, allowed is momentum_cli.Recurrence")
    if recurrence.name != key:
        raise RecipeError(f"{where}: the recurrence is called {recurrence.name!r} and listed as {key!r}")
    gates = recurrence.gates
    if isinstance(gates, bool) or not isinstance(gates, int) or gates < 1:
        raise RecipeError(f"{where}: gates: got {gates!r}, allowed is an integer >= 1")
    if not recurrence.state_names:
        raise RecipeError(f"{where}: state_names: got none; the first one is the output h")
    channels = gates * _HIDDEN
    d, weight = torch.zeros(_BATCH, channels), torch.zeros(channels, _HIDDEN)
    before = recurrence.init(d, _HIDDEN)
    for bias in (torch.zeros(channels), None):
        given = "with bias" if bias is not None else "with bias_hh None (model.bias false)"
        try:
            after = recurrence.step(d, before, weight, bias)
        except Exception as error:
            place = _line_of(recurrence.step) or where
            raise RecipeError(
                f"{place}: one step {given} ended with {type(error).__name__}: {error}; allowed is "
                f"step(d (B, {gates}H), state, weight_hh ({gates}H, H), bias_hh ({gates}H,) | None) -> next state"
            ) from error
        _check_state(f"{_line_of(recurrence.step) or where}: one step {given}", recurrence.state_names, after, before)


def check_dynamics(where: str, key: str, cls: Any) -> None:
    """Run a dynamics step by step and as a whole, and compare; a linear one must be linear.

    Raises:
        RecipeError: It is not a dynamics, or it contradicts itself.
    """
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise RecipeError(f"{where}: got {cls!r}, allowed is a frozen dataclass with the methods of a dynamics")
    lacking = [name for name in ("linear", "state_names", "init", "step", "scan") if not hasattr(cls, name)]
    if lacking:
        raise RecipeError(f"{where}: {cls.__name__} has no {', '.join(lacking)}; see momentum_cli.dynamics.Dynamics")
    try:
        dynamics: Any = cls()
    except Exception as error:
        raise RecipeError(f"{where}: {cls.__name__}() ended with {error}; every option needs a default") from error
    names = tuple(dynamics.state_names)
    if dynamics.linear and names not in ((), names[:1], (*names[:1], "k")):
        raise RecipeError(f"{where}: a linear dynamics keeps one tensor and perhaps the step number k, got {names}")
    if not dynamics.linear and "k" in names:
        raise RecipeError(f"{where}: only a linear dynamics may keep the step number k, got {names}")
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, _STEPS, _BATCH, _HIDDEN, dtype=torch.float64, generator=generator)
    try:
        state = start = dynamics.init(one[0])
        outputs = []
        for u in one:
            d, state = dynamics.step(u, state)
            _check_state(f"{where}: one step of {cls.__name__}", names, state, start)
            outputs.append(d)
        whole, last = dynamics.scan(one)
        both = dynamics.scan(one + 2.0 * other)[0] if dynamics.linear else whole
        apart = whole + 2.0 * dynamics.scan(other)[0] if dynamics.linear else whole
    except RecipeError:
        raise
    except Exception as error:
        place = _line_of(dynamics.step) or where
        raise RecipeError(f"{place}: {cls.__name__} ended with {type(error).__name__}: {error}") from error
    stepped = torch.stack(outputs)
    if stepped.shape != one.shape or whole.shape != one.shape:
        raise RecipeError(
            f"{where}: {cls.__name__} must return d in the shape of u, (B, C) a step and (T, B, C) a scan"
        )
    if not torch.allclose(stepped, whole) or not all(map(torch.allclose, state, last)):
        raise RecipeError(f"{where}: {cls.__name__}.scan does not compute what its step does; use stepwise_scan")
    if not torch.allclose(both, apart):
        raise RecipeError(f"{where}: {cls.__name__} says linear = True and is not a linear function of u")


def _check_state(what: str, names: tuple[str, ...], after: Any, before: tuple[Tensor, ...]) -> None:
    if not isinstance(after, tuple) or len(after) != len(names):
        got = f"{len(after)} tensors" if isinstance(after, tuple) else type(after).__name__
        raise RecipeError(f"{what} returned {got}, allowed is a tuple of {len(names)} ({', '.join(names)})")
    for name, new, old in zip(names, after, before, strict=True):
        if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype != old.dtype:
            got = f"{tuple(new.shape)} {new.dtype}" if isinstance(new, Tensor) else type(new).__name__
            raise RecipeError(f"{what} returned {name} as {got}, allowed is {tuple(old.shape)} {old.dtype}")


def _line_of(function: Any) -> str:
    """Return FILE:LINE of a function, or "" of something else."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
