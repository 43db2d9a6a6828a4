"""`export` of the library."""

from __future__ import annotations

import os
from collections.abc import Sequence

from momentum_cli.api.callbacks import Callback, run_display
from momentum_cli.api.paths import given_path, optional_path
from momentum_cli.api.results import ExportResult
from momentum_cli.formats import export as engine
from momentum_cli.progress import Ui


def export(
    run: str | os.PathLike[str],
    *,
    format: str,
    stateful: bool = False,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | int | None = None,
    aoti: bool = False,
    as_torch_lstm: bool = False,
    quantize: str | None = None,
    no_accuracy: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: Ui | None = None,
) -> ExportResult:
    """Write a trained model for other programs and check the file against the checkpoint, as ``momentumrnn export``.

    Args:
        run: A run folder or a checkpoint; or the result of `train`.
        format: ``"torchscript"``, ``"onnx"``, ``"pt2"`` or ``"safetensors"``.
        stateful: The exported model takes and returns its state, so that a sequence can be fed in chunks.
        out: The file; None: ``export/TASK-CELL`` in the run folder.
        checkpoint: The checkpoint of a run: ``"best"``, ``"last"``, or the step of one that was kept, such as 400;
            None: the best.
        aoti: With pt2: compile by AOTInductor, which needs a C++ compiler.
        as_torch_lstm: With safetensors: write the weights of a plain torch layer and the coefficients of the filter.
        quantize: With onnx: ``"int8"`` weights.
        no_accuracy: Check parity only, without evaluating the whole test set.
        data_dir: Folder of the data sets; None: ``momentumrnn`` in the user's cache folder.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Raises:
        RecipeError: The options contradict each other or the model, or a package or a compiler is missing.
        DataError: The model or its data are missing or damaged.
        TargetError: The file does not compute what the checkpoint does; it is not written.
    """
    with ui or run_display(progress, callbacks) as shown:
        result = engine.export(
            given_path(run),
            format=format,
            stateful=stateful,
            out=optional_path(out),
            which=None if checkpoint is None else str(checkpoint),
            aoti=aoti,
            as_torch_lstm=as_torch_lstm,
            quantize=quantize,
            data_dir=optional_path(data_dir),
            check_accuracy=not no_accuracy,
            ui=shown,
        )
    return ExportResult(result)
