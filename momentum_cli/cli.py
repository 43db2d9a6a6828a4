"""The command line: each command reads its arguments and calls one importable function.

torch, pydantic and YAML are imported inside commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from momentum_cli import __version__, terminal
from momentum_cli.command_group import CommandGroup
from momentum_cli.completion import complete_override, complete_recipe, complete_run

TARGET_MISSED = 4
DATA_WRONG = 3

app = typer.Typer(
    name="momentumrnn",
    cls=CommandGroup,
    help="Train, evaluate, benchmark and export recurrent models whose cells carry momentum.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 3 data, 4 target missed, 130/143 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Look at the recipes that come with the package."
)
cells_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Look at the cells.")
data_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Look at the data of a recipe.")
app.add_typer(recipes_app, name="recipes")
app.add_typer(cells_app, name="cells")
app.add_typer(data_app, name="data")


class Accelerator(StrEnum):
    """Where to compute; auto takes CUDA when there is a device."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", autocompletion=complete_recipe
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY.PATH=VALUE",
        help="Changes to the recipe, such as model.cell=adam.",
        autocompletion=complete_override,
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="MOMENTUMRNN_DATA",
        file_okay=False,
        help="Folder of data sets; by default momentumrnn in the user's cache folder.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write exactly one JSON object to stdout, all else to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and errors only.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Show no progress bars.")]


def _version(asked: bool) -> None:
    if asked:
        terminal.print_lines(f"momentumrnn {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Run this file, which adds cells of your own, see docs/plugins.md. May be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Options of the whole program, which may stand anywhere; `CommandGroup` reads ``--debug``."""
    if plugin:
        from momentum_cli.plugins import load_plugins

        load_plugins(plugin)


@app.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe file, the name of a shipped recipe, or with --resume a run folder.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    *,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run folder itself, new or empty; by default runs/RECIPE-CELL-NNN.",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run folder given in place of RECIPE (or the newest run of RECIPE, or of all) with "
            "that run's recipe; changes such as train.epochs=5 extend it.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check recipe, data and one step, estimate time and memory, keep nothing.")
    ] = False,
    devices: Annotated[str, typer.Option(help="Number of devices or processes, or auto.", metavar="N|auto")] = "auto",
    nodes: Annotated[int, typer.Option(help="Number of machines.", min=1)] = 1,
    accelerator: Annotated[Accelerator, typer.Option(help="Where to compute.")] = Accelerator.auto,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Train the model of a recipe.

    Exits with 4 when the recipe has a target and it was not reached.
    """
    from momentum_cli.find_run import find_run
    from momentum_cli.recipe import load_recipe
    from momentum_cli.shipped import find_recipe

    changes = list(overrides or [])
    if recipe is not None and _is_override(recipe):
        changes, recipe = [recipe, *changes], None
    if recipe is None and not resume:
        raise typer.BadParameter("missing: a recipe file or name, see momentumrnn recipes list", param_hint="RECIPE")
    if resume and (out is not None or overwrite):
        raise typer.BadParameter(
            "goes on in the run's own folder; leave --out and --overwrite out", param_hint="--resume"
        )
    if resume and dry_run:
        raise typer.BadParameter("cannot be combined with --dry-run", param_hint="--resume")
    run = find_run(recipe) if resume else None
    source = run / "recipe.yaml" if run else find_recipe(str(recipe))
    checked = load_recipe(source, changes)
    with _ui(json, quiet, no_progress) as ui:
        if dry_run:
            from momentum_cli.train import dry_run as engine_dry_run

            result = engine_dry_run(checked, data_dir=data_dir, ui=ui)
        else:
            from momentum_cli.train import train as engine_train

            result = engine_train(
                checked,
                data_dir=data_dir,
                out=out,
                overwrite=overwrite,
                resume=run,
                devices=_device_count(devices),
                nodes=nodes,
                accelerator=accelerator.value,
                source=None if run else source,
                ui=ui,
            )
    if json:
        terminal.print_json(result)
    elif dry_run:
        terminal.print_facts(result)
    target = result.get("target")
    # One process says so: a launcher such as torchrun ends all the others when one of them fails.
    if not dry_run and target and not target["reached"] and terminal.is_main_process():
        raise typer.Exit(TARGET_MISSED)


@app.command(name="eval")
def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint or an exported file.", autocompletion=complete_run
        ),
    ],
    *,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    data_dir: DataDir = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences at a time; by default that of the run.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result and the pictures; by default the run folder.", show_default=False),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Evaluate a trained model: metrics, a table of classes, throughput, a picture of the confusions."""
    from momentum_cli.evaluate import evaluate as engine_evaluate

    with _ui(json, quiet, no_progress) as ui:
        result = engine_evaluate(run, split=split, data_dir=data_dir, batch_size=batch_size, ui=ui, out=out)
    if json:
        terminal.print_json(result)
    elif not quiet:
        terminal.print_evaluation(result)


@app.command()
def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE …] [KEY.PATH=VALUE …]",
            help="Recipe files or names, one comparison each; without one: digits. Changes apply to all of them.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    *,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="Cells to compare, a,b,c; a cell with options of its own is CELL@NAME:key=value,key=value. May be "
            "repeated. Default: lstm,momentum,adam; with --optimizers, --lr-grid or --grid the "
            "recipe's own; with --paper all that are published.",
            show_default=False,
        ),
    ] = None,
    optimizers: Annotated[
        list[str] | None,
        typer.Option(
            help="Optimizers to compare with each cell, a,b,c; one with options of its own is "
            "NAME@ALIAS:key=value,key=value. May be repeated. Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    lr_grid: Annotated[
        str | None,
        typer.Option(
            "--lr-grid",
            metavar="LR,LR,…",
            help="Learning rates, as 1e-3,1e-2,1e-1: all of them for each cell and optimizer, and how wide a range "
            "reaches the target.",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="'KEY=N,N,…; KEY=N,N,…'",
            help="One or two options of the cells with their values, as 'momentum=0,0.6; step_size=0.3,1': every "
            "combination, with a heat map.",
            show_default=False,
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="In place of recipes: those of a published table, as table1 (momentumrnn recipes list shows paper/…), "
            "and ours beside theirs.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of each cell: 0-4, or 0,3,7.")] = "0-2",
    target: Annotated[
        str | None,
        typer.Option(
            help="What has to be reached: a number, or metric=number; by default the recipe's.", show_default=False
        ),
    ] = None,
    budget_epochs: Annotated[
        int | None,
        typer.Option(
            "--budget-epochs",
            "--epochs",
            min=1,
            help="Epochs a run, in place of the recipe's budget.",
            show_default=False,
        ),
    ] = None,
    budget_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps a run, likewise.", show_default=False)
    ] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(min=0, help="Training seconds a run, likewise.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help='The cell that speed-ups are relative to, with --optimizers "CELL OPTIMIZER"; by default the first.',
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train on to the end of the budget past the target.")] = False,
    tuned: Annotated[
        int,
        typer.Option(min=0, metavar="K", help="First choose each cell's options among K trials on validation."),
    ] = 0,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes; above 1 optimizer steps are the scored clock, not seconds.")
    ] = 1,
    accelerator: Annotated[Accelerator, typer.Option(help="Where to compute.")] = Accelerator.auto,
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Only measure what a pass through each of --cells costs, against torch's layer."),
    ] = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T,B,D,N",
            help="With --speed: steps, sequences, input channels, hidden units. May be repeated.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="With --speed: auto, reference, native, fused, triton. May be repeated.", show_default=False),
    ] = None,
    rounds: Annotated[int, typer.Option(min=20, help="With --speed: repeats of each pass.")] = 20,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the benchmark; finished runs in it are kept. By default runs/bench-RECIPE-NNN, or the "
            "unfinished one of the same benchmark.",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the benchmark in --out.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Compare cells by the time they need to a target, on equal terms, over several seeds.

    Writes bench.json, runs.csv, pictures and report.html. Interrupted, the same command goes on where it was.
    """
    from momentum_cli.ui.contest import make_bench_ui

    given = arguments or []
    if speed and given:
        raise typer.BadParameter(f"takes no recipes and no changes, got {' '.join(given)}", param_hint="--speed")
    if speed and (optimizers or lr_grid or grid or paper):
        raise typer.BadParameter(
            "do not go with --speed, which trains nothing", param_hint="--optimizers, --lr-grid, --grid, --paper"
        )
    if not speed and (shape or backend):
        raise typer.BadParameter("belong to --speed; a recipe has model.backend", param_hint="--shape, --backend")
    with make_bench_ui(quiet=quiet, progress=not no_progress, json=json) as ui:
        if speed:
            from momentum_cli.benchmark.speed import speed as engine_speed

            named = [cell for text in cells or () for cell in text.split(",")]
            measured = engine_speed(
                cells=named or None,
                shapes=shape or (),
                backends=backend or ("auto",),
                rounds=rounds,
                out=out,
                overwrite=overwrite,
                ui=ui,
            )
            if json:
                terminal.print_json(measured)
            return
        from momentum_cli.benchmark import bench as engine_bench

        result = engine_bench(
            [text for text in given if not _is_override(text)],
            cells=cells or (),
            optimizers=optimizers or (),
            lr_grid=lr_grid,
            grid=grid,
            paper=paper,
            seeds=seeds,
            target=target,
            budget_epochs=budget_epochs,
            budget_steps=budget_steps,
            budget_seconds=budget_seconds,
            baseline=baseline,
            full=full,
            tuned=tuned,
            jobs=jobs,
            accelerator=accelerator.value,
            data_dir=data_dir,
            out=out,
            overwrite=overwrite,
            overrides=[text for text in given if _is_override(text)],
            ui=ui,
        )
    if json:
        terminal.print_json(result)


app.command("benchmark", hidden=True)(bench)


@app.command()
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="BENCH_OR_RUN …", help="Folders of benchmarks or runs.", autocompletion=complete_run),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file; by default report.html in the folder when there is one, else in the current folder.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Mix results of different machines; the report says so.")
    ] = False,
    json: Json = False,
) -> None:
    """Write one self-contained HTML file on benchmarks and runs: tables, pictures, recipes, definitions."""
    from momentum_cli.report import report as engine_report

    result = engine_report(folders, out=out, force=force)
    if json:
        terminal.print_json(result)
    else:
        for text in result["warnings"]:
            terminal.print_lines(f"warning: {text}")
        terminal.print_lines(result["report"])


@app.command()
def inspect(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_RECIPE [RUN …] [KEY.PATH=VALUE …]",
            help="A recipe, with changes to it, or one or more runs (folders or checkpoints) of one task.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ],
    *,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="For a recipe: cells to compare, a,b,c. May be repeated. Default: the recipe's own.",
            show_default=False,
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Only the first steps of each sequence.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Training sequences.")] = 32,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Which sequences and, for a recipe, which initial parameters; by default the recipe's.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for inspect.json and the pictures; by default runs/inspect-NAME-NNN.",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show what momentum does to gradients through time.

    Norms of dL/dh, dL/du and dL/dx at every step, the spectrum of the recurrent Jacobian, the impulse response and the
    memory of each dynamics: of a recipe's cells as initialised, of runs as initialised and as trained.
    """
    from momentum_cli.inspection import inspect as engine_inspect
    from momentum_cli.inspection import print_inspection

    with _ui(json, quiet, no_progress) as ui:
        result = engine_inspect(
            [text for text in arguments if not _is_override(text)],
            cells=[cell for text in cells or () for cell in text.split(",")],
            length=length,
            batch_size=batch,
            seed=seed,
            out=out,
            data_dir=data_dir,
            overrides=[text for text in arguments if _is_override(text)],
            ui=ui,
        )
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_inspection(result)


@app.command()
def summary(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure the memory of one training step, in a process of its own.")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show what the model of a recipe consists of and what a training step costs: FLOPs, state, memory."""
    from momentum_cli.model_summary import print_summary
    from momentum_cli.model_summary import summary as engine_summary
    from momentum_cli.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with _ui(json, quiet, no_progress) as ui:
        result = engine_summary(checked, measure=measure, data_dir=data_dir, ui=ui)
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_summary(result)


class ExportFormat(StrEnum):
    """Formats of `momentumrnn export`; a test holds them against `momentum_cli.export.FORMATS`."""

    torchscript = "torchscript"
    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"


class PredictionFormat(StrEnum):
    """Formats that `momentumrnn predict` writes."""

    jsonl = "jsonl"
    csv = "csv"
    npz = "npz"


@app.command()
def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder or a checkpoint.", autocompletion=complete_run),
    ],
    *,
    format: Annotated[ExportFormat, typer.Option(help="For whom: see docs/export.md.")],
    stateful: Annotated[
        bool, typer.Option("--stateful", help="Take and return the state: sequences can be fed in chunks.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default export/TASK-CELL in the run folder.", show_default=False),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Which checkpoint of a run: best or last.")] = "best",
    aoti: Annotated[bool, typer.Option("--aoti", help="pt2: compile with AOTInductor (needs a C++ compiler).")] = False,
    as_torch_lstm: Annotated[
        bool,
        typer.Option("--as-torch-lstm", help="safetensors: weights of a plain torch layer and the filter's numbers."),
    ] = False,
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
    from momentum_cli.export import export as engine_export

    with _ui(json, quiet, no_progress) as ui:
        result = engine_export(
            run,
            format=format.value,
            stateful=stateful,
            out=out,
            which=checkpoint,
            aoti=aoti,
            as_torch_lstm=as_torch_lstm,
            data_dir=data_dir,
            check_accuracy=not no_accuracy,
            ui=ui,
        )
    if json:
        terminal.print_json(result)
    elif not quiet:
        parity = {key: result["parity"][key] for key in ("max_abs", "max_rel", "tolerance")}
        terminal.print_facts(result | {"parity": parity})


@app.command()
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
            metavar="INPUT …",
            help="Files, folders, globs or -: what the model was trained on; images, NPY, NPZ or CSV for pixel tasks.",
        ),
    ],
    *,
    format: Annotated[PredictionFormat, typer.Option(help="What is written.")] = PredictionFormat.jsonl,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default standard output.", dir_okay=False, show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 256,
    top: Annotated[int, typer.Option(min=1, help="Classes to list for each sample.")] = 3,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Predict files with a trained or exported model.

    A broken input is reported and left out, the rest is predicted; the exit code is then 3.
    """
    from momentum_cli.predict import predict as engine_predict

    # Predictions go to standard output, everything else to standard error.
    with _ui(True, quiet, no_progress) as ui:
        engine_predict(model, inputs, format=format.value, out=out, batch_size=batch_size, top=top, ui=ui)


class Kind(StrEnum):
    """What is predicted from a file; a test holds them against `momentum_cli.data.files.METRICS`."""

    classification = "classification"
    regression = "regression"
    labelling = "labelling"
    forecasting = "forecasting"


@app.command()
def init(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="CSV, Parquet, JSON lines, NPZ or NPY; or a folder of WAV or text files."),
    ],
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Column, or array, to predict. May be repeated. Guessed by default.", show_default=False),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="What to predict; guessed by default.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The recipe; by default DATA.yaml in this folder.", dir_okay=False, show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Write a first recipe for a file of your own, with comments."""
    from momentum_cli.data.files.first_recipe import write_first_recipe

    path = write_first_recipe(data, out, target=target, kind=None if kind is None else kind.value, overwrite=overwrite)
    if json:
        terminal.print_json({"path": str(path)})
    else:
        terminal.print_lines(str(path))


@data_app.command("describe")
def data_describe(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw some training sequences to this file (PNG, SVG, PDF).", dir_okay=False, show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show what the data of a recipe are: splits, lengths, ranges, missing values, classes."""
    from momentum_cli.data_report import describe_data, print_description
    from momentum_cli.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with _ui(json, quiet, no_progress) as ui:
        result = describe_data(checked, data_dir=data_dir, picture=picture, progress=ui)
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_description(result)


@data_app.command("check")
def data_check(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Find what is wrong with the data of a recipe, all of it, with rows: missing values, duplicate times, leaks.

    Exits with 3 when something is.
    """
    from momentum_cli.data_report import check_data, print_problems
    from momentum_cli.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with _ui(json, quiet, no_progress) as ui:
        result = check_data(checked, data_dir=data_dir, progress=ui)
    if json:
        terminal.print_json(result)
    elif not quiet or not result["ok"]:
        print_problems(result)
    if not result["ok"]:
        raise typer.Exit(DATA_WRONG)


@app.command()
def generate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run folder, a checkpoint or a file exported with --stateful, of the task language.",
            autocompletion=complete_run,
        ),
    ],
    *,
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(min=1, help="Characters, bytes or words to add.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the most probable token, 1 draws from the model as it is.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Draw from this many most probable tokens.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the draws.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue a text with a trained language model; the text is written as it comes."""
    from momentum_cli.generate import generate as engine_generate

    # The text goes to standard output, everything else to standard error.
    with _ui(True, quiet, True) as ui:
        result = engine_generate(
            run,
            prompt=prompt,
            length=length,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            write=(lambda text: None) if json else terminal.write_text,
            ui=ui,
        )
    if json:
        terminal.print_json(result)
    else:
        terminal.write_text("\n")


@app.command()
def validate(recipe: RecipeArgument, overrides: Overrides = None, json: Json = False, quiet: Quiet = False) -> None:
    """Check a recipe without touching data; every mistake is shown with its line and its path."""
    from momentum_cli.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    if json:
        terminal.print_json({"valid": True, "recipe": checked.dump()})
    elif not quiet:
        terminal.print_lines(f"{recipe}: valid ({checked.model.cell} on {checked.task.name})")


@app.command()
def doctor(data_dir: DataDir = None, json: Json = False) -> None:
    """Show what this machine offers: versions, devices, backends, data sets, optional packages. Changes nothing."""
    from momentum_cli.doctor import examine, print_report

    report = examine(data_dir)
    if json:
        terminal.print_json(report)
    else:
        print_report(report)


@recipes_app.command("list")
def recipes_list(json: Json = False) -> None:
    """List the shipped recipes."""
    from momentum_cli.shipped import describe_recipes

    recipes = describe_recipes()
    if json:
        terminal.print_json({"recipes": recipes})
    else:
        rows = [[recipe[key] for key in ("name", "task", "cell", "about")] for recipe in recipes]
        terminal.print_table(["recipe", "task", "cell", "about"], rows)


@recipes_app.command("show")
def recipes_show(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Check it and show every default.")] = False,
    json: Json = False,
) -> None:
    """Show a recipe as it was written, or with every default and override (--resolved)."""
    from momentum_cli.recipe import load_recipe, to_yaml
    from momentum_cli.shipped import find_recipe

    if json or resolved or overrides:
        checked = load_recipe(recipe, overrides or []).dump()
        if json:
            terminal.print_json(checked)
        else:
            terminal.print_lines(to_yaml(checked).rstrip())
    else:
        terminal.print_lines(find_recipe(recipe).read_text(encoding="utf-8").rstrip())


@recipes_app.command("copy")
def recipes_copy(
    recipe: RecipeArgument,
    destination: Annotated[
        Path | None,
        typer.Argument(help="A file or a folder; by default the current folder.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Copy a shipped recipe, comments included, to a file of your own."""
    from momentum_cli.shipped import copy_recipe

    path = copy_recipe(recipe, destination, overwrite=overwrite)
    if json:
        terminal.print_json({"path": str(path)})
    else:
        terminal.print_lines(str(path))


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Write the JSON Schema of recipes, for editors that complete and check YAML."""
    from momentum_cli.recipe import recipe_schema

    terminal.print_json(recipe_schema())


@cells_app.command("list")
def cells_list(json: Json = False) -> None:
    """List the cells with their equations, options, defaults and ranges."""
    from momentum_cli.cells import describe_cells, print_cells

    if json:
        terminal.print_json({"cells": describe_cells()})
    else:
        print_cells()


def _ui(json: bool, quiet: bool, no_progress: bool) -> Any:
    """Return the display of this process: none unless it is the main one."""
    from momentum_cli.ui import NullUi, make_ui

    if not terminal.is_main_process():
        return NullUi()
    return make_ui(quiet=quiet, progress=not no_progress, json=json)


def _is_override(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _device_count(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"got {text!r}, allowed is auto or a number >= 1", param_hint="--devices")
    return int(text)


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run the command line: the entry point `momentumrnn`."""
    # A clean exit lets temporary files be removed; training replaces this handler by one that writes a checkpoint.
    signal.signal(signal.SIGTERM, _terminated)
    # GNU's OpenMP lets idle threads spin for milliseconds by default; on a machine with other work to do that made
    # small steps ten times slower, and a shorter spin costs nothing on an idle one. It is read when torch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    app()
