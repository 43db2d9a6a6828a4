"""`evaluate` of the library."""

from __future__ import annotations

import os
from collections.abc import Sequence

from momentum_cli.api.callbacks import Callback, run_display
from momentum_cli.api.paths import given_path, optional_path
from momentum_cli.api.results import EvaluateResult
from momentum_cli.inference import evaluate as engine
from momentum_cli.progress import Ui


def evaluate(
    run: str | os.PathLike[str],
    *,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    attack: str | None = None,
    epsilon: float | None = None,
    attack_steps: int | None = None,
    attack_step_size: float | None = None,
    restarts: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: Ui | None = None,
) -> EvaluateResult:
    """Evaluate a trained model on a split, as ``momentumrnn eval``.

    Args:
        run: A run folder, a checkpoint or an exported file; or the result of `train` or `export`.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        data_dir: Folder of the data sets; None: ``momentumrnn`` in the user's cache folder.
        batch_size: Sequences (for translation tokens) at a time, >= 1; None: that of the run.
        beam_size, length_penalty: Options of the beam search of a translation model; None: those of the recipe.
        attack: Key of `momentum_cli.attacks.ATTACKS`: also evaluate the worst inputs that it finds; None: do not.
        epsilon: Largest change that an attack may make to each input, > 0, in the units of the model's inputs.
        attack_steps: Steps of an iterated attack, >= 1; None: 50.
        attack_step_size: Their size, > 0, in the same unit; None: 1.25 epsilon for one step, else 2.5 epsilon / steps.
        restarts: Random starting points of an iterated attack, >= 1; None: 1.
        out: Folder for the result and the pictures; None: the run folder.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Raises:
        RecipeError: The split is unknown, an option of an attack is wrong, or ``out`` cannot be written to.
        DataError: Model or data are missing, damaged, or do not belong together.
    """
    with ui or run_display(progress, callbacks) as shown:
        result = engine.evaluate(
            given_path(run),
            split=split,
            data_dir=optional_path(data_dir),
            batch_size=batch_size,
            beam_size=beam_size,
            length_penalty=length_penalty,
            attack=attack,
            epsilon=epsilon,
            attack_steps=attack_steps,
            attack_step_size=attack_step_size,
            restarts=restarts,
            ui=shown,
            out=optional_path(out),
        )
    return EvaluateResult(result)
