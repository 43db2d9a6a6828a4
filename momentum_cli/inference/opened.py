"""A run folder, a checkpoint or an exported file as one thing to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data import Batch
from momentum_cli.errors import RecipeError
from momentum_cli.formats.translation.package import TranslationProgram
from momentum_cli.messages import refuse
from momentum_cli.models.model import Answered, Model
from momentum_cli.models.translation.search import Translator
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.training.trained import load_model

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Subject:
    """A trained model as a function of inputs and lengths, and its origin.

    Args:
        call: Maps inputs and lengths to outputs.
        answer: Maps a batch to the answer that an evaluation judges.
        advance: Maps inputs, and the state of an earlier call or None, to outputs and state; None for an exported
            program that keeps no state.
        stream: Takes a batch size and returns a function from inputs to outputs that keeps the state itself, the
            fastest way for short inputs; None as for ``advance``.
        model: The module behind ``call``; None for an exported program of another format than safetensors.
        translator: The model with its search, if it translates.
        search_with: Returns a model that translates with other options of the search; None for other models.
        attack: Parameters of the attack that was trained along with the model; {} where none was.
    """

    call: Callable[[Tensor, Tensor | None], Tensor]
    answer: Callable[[Batch], Answered]
    advance: Step | None
    stream: Callable[[int], Callable[[Tensor], Tensor]] | None
    recipe: Recipe
    trained_on: dict[str, Any]
    path: Path
    step: int
    device: torch.device
    backend: Callable[[], str | None]
    model: Model | None = None
    translator: Translator | None = None
    search_with: Callable[..., Subject] | None = None
    attack: Mapping[str, Tensor] = field(default_factory=dict)


def open_subject(run: Path, which: str = "best") -> Subject:
    """Load a run folder, a checkpoint or an exported file as a function.

    Args:
        run: Its path, or that of a folder that `export` made.
        which: ``"best"`` or ``"last"`` checkpoint of a run folder.

    Raises:
        DataError: It is missing, damaged or something else.
    """
    if run.is_file() or (run.is_dir() and not (run / "recipe.yaml").is_file()):
        from momentum_cli.formats.export import exported_in, is_exported, open_program, open_translation
        from momentum_cli.formats.safetensors import EagerProgram
        from momentum_cli.formats.score import program_function

        run = (exported_in(run) or run) if run.is_dir() else run
        packed = open_translation(run) if run.is_file() else None
        if packed is not None:
            return _packed_subject(packed, run)
        if run.is_file() and is_exported(run):
            program = open_program(run)
            data = program.bundle.data
            call = program_function(program)
            return Subject(
                call,
                lambda batch: Answered(call(batch.inputs, batch.lengths), None),
                program.run if program.bundle.stateful else None,
                partial(_carried, program.run) if program.bundle.stateful else None,
                parse_recipe(data["recipe"]),
                data["dataset"],
                run,
                data["metrics"]["step"],
                torch.device("cpu"),
                lambda: str(data["export"]["format"]),
                program.model if isinstance(program, EagerProgram) else None,
            )
    loaded = load_model(run, which)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.model.to(device)

    def search_with(**options: Any) -> Subject:
        model.search_with(**options)
        return replace(subject, translator=model.translator)

    subject = Subject(
        lambda inputs, lengths: model(inputs, lengths)[0],
        lambda batch: model.answer(batch, None),
        lambda inputs, state: model(inputs, None, state),
        model.stream,
        loaded.recipe,
        loaded.checkpoint.data["dataset"],
        loaded.path,
        loaded.checkpoint.data["progress"]["step"],
        device,
        lambda: model.chosen_backend,
        model,
        model.translator,
        search_with,
        loaded.checkpoint.group("attack.network"),
    )
    return subject


def _packed_subject(packed: TranslationProgram, path: Path) -> Subject:
    """Return the archive of a translation model as a function."""
    data = packed.bundle.data

    def call(inputs: Tensor, lengths: Tensor | None) -> Tensor:
        steps = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else lengths
        return packed.encode(inputs, steps)[0][0]

    return Subject(
        call,
        packed.answer,
        None,
        None,
        parse_recipe(data["recipe"]),
        data["dataset"],
        path,
        data["metrics"]["step"],
        torch.device("cpu"),
        lambda: str(data["export"]["format"]),
        None,
        packed.translator,
        lambda **options: _packed_subject(packed.search_with(**options), path),
    )


def with_search(subject: Subject, beam_size: int | None = None, length_penalty: float | None = None) -> Subject:
    """Return a translation model with other options of its search.

    Args:
        subject: The opened model.
        beam_size, length_penalty: See `momentum_cli.models.translation.search.Search`; None: unchanged.

    Raises:
        RecipeError: The model does not translate, or an option is outside its range or has no effect.
    """
    given = {"beam_size": beam_size, "length_penalty": length_penalty}
    options = {name: value for name, value in given.items() if value is not None}
    if not options:
        return subject
    name, value = next(iter(options.items()))
    if subject.translator is None or subject.search_with is None:
        raise RecipeError(refuse(f"--{name.replace('_', '-')}", value, "be left out: the model does not translate"))
    if length_penalty is not None and (beam_size or subject.translator.search.beam_size) == 1:
        must, remedy = "be left out with a beam of 1", "the first translation found is the only one; add --beam-size"
        raise RecipeError(refuse("--length-penalty", length_penalty, must, remedy))
    try:
        return subject.search_with(**options)
    except ValueError as error:
        raise RecipeError(str(error)) from error


def _carried(step: Step, _: int) -> Callable[[Tensor], Tensor]:
    """Return a step as a function that keeps its state."""
    state: Any = None

    def call(inputs: Tensor) -> Tensor:
        nonlocal state
        outputs, state = step(inputs, state)
        return outputs

    return call
