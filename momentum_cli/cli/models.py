"""Commands for a trained model: `momentumrnn export`, `predict` and `generate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import BeamSize, DataDir, Json, LengthPenalty, NoProgress, Quiet, make_ui
from momentum_cli.cli.completion import complete_run
from momentum_cli.tables import table_names
from momentum_cli.ui import results, terminal

_FORMATS = table_names("formats/export.py", "FORMATS")
ExportFormat = StrEnum("ExportFormat", {name: name for name in _FORMATS})  # type: ignore[misc]  # read from the table


class PredictionFormat(StrEnum):
    """Formats that `momentumrnn predict` writes."""

    jsonl = "jsonl"
    csv = "csv"
    npz = "npz"
    parquet = "parquet"
    txt = "txt"


def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder or a checkpoint.", autocompletion=complete_run),
    ],
    *,
    format: Annotated[
        ExportFormat,
        typer.Option(metavar="FORMAT", help=f"Format: {', '.join(_FORMATS)}; see docs/export.md."),
    ],
    stateful: Annotated[
        bool,
        typer.Option(
            "--stateful",
            help="Take and return the state: sequences can be fed in chunks. A translation model's file always does.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file, or a folder for the file and its README.md; by default export/TASK-CELL in the run folder.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Checkpoint of a run: best (the default), last, or the number of a step that was kept.",
            show_default=False,
        ),
    ] = None,
    aoti: Annotated[
        bool, typer.Option("--aoti", help="With pt2: compile by AOTInductor, which needs a C++ compiler.")
    ] = False,
    as_torch_lstm: Annotated[
        bool,
        typer.Option(
            "--as-torch-lstm", help="With safetensors: weights of a plain torch layer and the numbers of the filter."
        ),
    ] = False,
    quantize: Annotated[
        str | None,
        typer.Option(
            "--quantize",
            metavar="int8",
            help="With onnx: int8 weights, a quarter of the size; says what that costs.",
            show_default=False,
        ),
    ] = None,
    no_accuracy: Annotated[
        bool, typer.Option("--no-accuracy", help="Check parity only, without evaluating the whole test set.")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Write a trained model for other programs, and check the file against the checkpoint.

    Exits with 4 when the file does not compute what the checkpoint does; it is then not written.
    """
    from momentum_cli.api.export import export as library_export

    with make_ui(json, quiet, no_progress) as ui:
        result = library_export(
            run,
            format=format.value,
            stateful=stateful,
            out=out,
            checkpoint=checkpoint,
            aoti=aoti,
            as_torch_lstm=as_torch_lstm,
            quantize=quantize,
            data_dir=data_dir,
            no_accuracy=no_accuracy,
            ui=ui,
        ).to_dict()
    if json:
        terminal.print_json(result)
    elif not quiet:
        results.print_export(result)


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A run folder, a checkpoint or an exported file.", autocompletion=complete_run
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Files, folders, globs or -: inputs like those in training; images, NPY, NPZ or CSV for pixel tasks.",
        ),
    ],
    *,
    format: Annotated[
        PredictionFormat | None,
        typer.Option(help="Output format, by default by the ending of --out, else jsonl.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file; by default standard output.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Samples at a time, by default 256.", show_default=False),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Classes, or next tokens, to list for each sample; by default 3.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the first forecasts into this png, svg or pdf.", show_default=False),
    ] = None,
    beam_size: BeamSize = None,
    length_penalty: LengthPenalty = None,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Predict files with a trained or exported model.

    A broken input is reported and skipped, and the rest is predicted; the exit code is then 3.
    """
    from momentum_cli.inference.predict.predict import predict as engine_predict

    # Predictions go to standard output, everything else to standard error.
    with make_ui(True, quiet, no_progress) as ui:
        engine_predict(
            model,
            inputs,
            format=None if format is None else format.value,
            out=out,
            batch_size=batch_size,
            top=top,
            picture=picture,
            beam_size=beam_size,
            length_penalty=length_penalty,
            ui=ui,
        )


def generate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Of a language model a run folder, a checkpoint or a file exported with --stateful; of a translation "
            "model any exported file, too.",
            autocompletion=complete_run,
        ),
    ],
    *,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Beginning of the text, or the sentence to translate.")
    ] = "",
    length: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Characters, bytes or words to add; by default 200.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            min=0.0,
            help="0 takes the most probable, 1 draws from the model as it is; by default 0.8. A translation is "
            "searched for without one.",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Draw from this many most probable tokens.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=2**32 - 1, help="Seed of the draws, by default 0.", show_default=False),
    ] = None,
    beam_size: BeamSize = None,
    length_penalty: LengthPenalty = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue a text with a language model, as it is generated, or translate a sentence with a translation model."""
    from momentum_cli.inference.generate import generate as engine_generate

    # The text goes to standard output, everything else to standard error.
    with make_ui(True, quiet, True) as ui:
        result = engine_generate(
            run,
            prompt=prompt,
            length=length,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            beam_size=beam_size,
            length_penalty=length_penalty,
            write=(lambda text: None) if json else terminal.write_text,
            ui=ui,
        )
    if json:
        terminal.print_json(result)
    else:
        terminal.write_text("\n")
