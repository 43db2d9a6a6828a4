"""A run folder, a checkpoint or an exported file as one thing to call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.models.model import Model
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.training.trained import load_model

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Subject:
    """A trained model as a function of inputs and lengths, and its origin.

    Args:
        call: Inputs and lengths to outputs.
        advance: Inputs, and the state of an earlier call or None, to outputs and state; None for an exported program
            that keeps no state.
        stream: From a batch size to a function from inputs to outputs that keeps the state itself, the fastest way for
            short inputs; None as for ``advance``.
        model: The module behind ``call``; None for an exported program.
    """

    call: Callable[[Tensor, Tensor | None], Tensor]
    advance: Step | None
    stream: Callable[[int], Callable[[Tensor], Tensor]] | None
    recipe: Recipe
    trained_on: dict[str, Any]
    path: Path
    step: int
    device: torch.device
    backend: Callable[[], str | None]
    model: Model | None = None


def open_subject(run: Path, which: str = "best") -> Subject:
    """Load a run folder, a checkpoint or an exported file as a function.

    Args:
        run: Its path.
        which: ``"best"`` or ``"last"`` checkpoint of a run folder.

    Raises:
        DataError: It is missing, damaged or something else.
    """
    if run.is_file():
        from momentum_cli.formats.export import is_exported, open_program
        from momentum_cli.formats.score import program_function

        if is_exported(run):
            program = open_program(run)
            data = program.bundle.data
            return Subject(
                program_function(program),
                program.run if program.bundle.stateful else None,
                partial(_carried, program.run) if program.bundle.stateful else None,
                parse_recipe(data["recipe"]),
                data["dataset"],
                run,
                data["metrics"]["step"],
                torch.device("cpu"),
                lambda: str(data["export"]["format"]),
            )
    loaded = load_model(run, which)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.model.to(device)
    return Subject(
        lambda inputs, lengths: model(inputs, lengths)[0],
        lambda inputs, state: model(inputs, None, state),
        model.stream,
        loaded.recipe,
        loaded.checkpoint.data["dataset"],
        loaded.path,
        loaded.checkpoint.data["progress"]["step"],
        device,
        lambda: model.chosen_backend,
        model,
    )


def _carried(step: Step, _: int) -> Callable[[Tensor], Tensor]:
    """Return a step as a function that keeps its state."""
    state: Any = None

    def call(inputs: Tensor) -> Tensor:
        nonlocal state
        outputs, state = step(inputs, state)
        return outputs

    return call
