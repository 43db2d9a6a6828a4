"""Trial runs of a plugin's recurrences and dynamics, so that mistakes show when it is loaded, not during training.

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

from momentum_cli.dynamics.filter import Decay, Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.recurrence.protocol import Recurrence

_BATCH, _HIDDEN, _STEPS = 2, 3, 4
_PARTS = ("equation", "form", "state_names", "init", "step", "scan")
_BASES = "derive it from momentum_cli.dynamics.FormDynamics or StepDynamics"


def located(where: str, module: ModuleType, key: Any) -> str:
    """Return FILE:LINE of the entry `key` of a module's tables, or only the file where the line is unknown."""
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
        RecipeError: It is not a `Recurrence`, or its step is invalid; the message begins with ``where``.
    """
    if not isinstance(recurrence, Recurrence):
        raise RecipeError(f"{where}: {refuse(key, recurrence, 'be a momentum_cli.Recurrence')}")
    if recurrence.name != key:
        raise RecipeError(f"{where}: the recurrence is called {recurrence.name!r} and listed as {key!r}")
    gates = recurrence.gates
    if isinstance(gates, bool) or not isinstance(gates, int) or gates < 1:
        raise RecipeError(f"{where}: {refuse('gates', gates, 'be an integer >= 1')}")
    if not recurrence.state_names:
        raise RecipeError(
            f"{where}: {refuse('state_names', Said('none'), 'name one state or more; the first is the output h')}"
        )
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
                f"{place}: one step {given} raised {type(error).__name__}: {error}; the signature is "
                f"step(d (B, {gates}H), state, weight_hh ({gates}H, H), bias_hh ({gates}H,) | None) -> next state"
            ) from error
        _check_state(f"{_line_of(recurrence.step) or where}: one step {given}", recurrence.state_names, after, before)


def check_dynamics(where: str, key: str, cls: Any) -> None:
    """Run a dynamics step by step and as a whole, and compare both, and its form if it has one.

    Raises:
        RecipeError: It is not a dynamics, or it contradicts itself.
    """
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise RecipeError(f"{where}: {refuse(key, cls, 'be a frozen dataclass derived from a base of dynamics')}")
    lacking = [name for name in _PARTS if not hasattr(cls, name)]
    if lacking:
        raise RecipeError(f"{where}: {cls.__name__} has no {', '.join(lacking)}; {_BASES}")
    try:
        dynamics: Any = cls()
    except Exception as error:
        raise RecipeError(f"{where}: {cls.__name__}() failed with {error}; every option needs a default") from error
    form = dynamics.form
    if form is not None and not isinstance(form, Filter | Moments):
        raise RecipeError(f"{where}: {refuse('form', form, 'be a Filter, Moments or None')}")
    names = tuple(dynamics.state_names)
    one = torch.randn(_STEPS, _BATCH, _HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        state = start = dynamics.init(one[0])
        outputs = []
        for u in one:
            d, state = dynamics.step(u, state)
            _check_state(f"{where}: one step of {cls.__name__}", names, state, start)
            outputs.append(d)
        whole, last = dynamics.scan(one)
        by_form = whole if form is None else form.scan(one)[0]
    except RecipeError:
        raise
    except Exception as error:
        place = _line_of(dynamics.step) or where
        raise RecipeError(f"{place}: {cls.__name__} raised {type(error).__name__}: {error}") from error
    stepped = torch.stack(outputs)
    if stepped.shape != one.shape or whole.shape != one.shape:
        raise RecipeError(
            f"{where}: {cls.__name__} must return d in the shape of u, (B, C) for a step and (T, B, C) for a scan"
        )
    if not torch.allclose(stepped, whole) or not all(map(torch.allclose, state, last)):
        raise RecipeError(f"{where}: scan and step of {cls.__name__} disagree")
    if not torch.allclose(by_form, whole) or (form is not None and names != form.state_names):
        raise RecipeError(f"{where}: form and step of {cls.__name__} disagree")
    if form is None and any(tensor.shape != one[0].shape for tensor in start):
        shapes = [tuple(tensor.shape) for tensor in start]
        raise RecipeError(f"{where}: {refuse(f'the states of {cls.__name__}', shapes, 'have the shape of u')}")
    if isinstance(form, Filter) and callable(form.decay):
        _check_decay(f"{where}: the decay of {cls.__name__}", form.decay)


def _check_decay(what: str, decay: Decay) -> None:
    k = torch.arange(1.0, 7.0, dtype=torch.float64)
    one_by_one = torch.stack([decay(step.view(1)).view(()) for step in k])
    whole = decay(k.view(2, 3))
    if whole.dtype != torch.float64 or whole.shape != (2, 3) or not torch.equal(whole.flatten(), one_by_one):
        got = Said(f"{whole.dtype} {tuple(whole.shape)} for step numbers (2, 3)")
        raise RecipeError(refuse(what, got, "be one float64 number for each step number, whatever the others are"))


def _check_state(what: str, names: tuple[str, ...], after: Any, before: tuple[Tensor, ...]) -> None:
    if not isinstance(after, tuple) or len(after) != len(names):
        got = f"{len(after)} tensors" if isinstance(after, tuple) else type(after).__name__
        raise RecipeError(f"{what} must return a tuple of {len(names)} ({', '.join(names)}), got {got}")
    for name, new, old in zip(names, after, before, strict=True):
        if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype != old.dtype:
            got = f"{tuple(new.shape)} {new.dtype}" if isinstance(new, Tensor) else type(new).__name__
            raise RecipeError(f"{what} must return {name} as {tuple(old.shape)} {old.dtype}, got {got}")


def _line_of(function: Any) -> str:
    """Return FILE:LINE of a function, or "" for other objects."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
