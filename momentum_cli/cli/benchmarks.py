"""`momentumrnn bench` and `momentumrnn report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import (
    Accelerator,
    AcceleratorOption,
    Clock,
    DataDir,
    Json,
    NoProgress,
    Quiet,
    is_override,
)
from momentum_cli.cli.completion import complete_cells, complete_recipe, complete_run
from momentum_cli.ui import terminal

SEEDS = "0-2"
ROUNDS = 20


def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|KEY.PATH=VALUE",
            help="Recipe files or names, one comparison each, by default digits-pixels; and changes, for all of them.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    *,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,…",
            help="Cells to compare, a,b,c; a cell with changed options is CELL@NAME:key=value,… May be "
            "repeated. Default: lstm,momentum,adam, without a RECIPE rmsprop and sr too; with --optimizers, --lr-grid "
            "or --grid the recipe's own; with --paper all with published results.",
            autocompletion=complete_cells,
            show_default=False,
        ),
    ] = None,
    optimizers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,…",
            help="Optimizers to compare with each cell, a,b,c; one with changed options is "
            "NAME@ALIAS:key=value,… May be repeated. Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    lr_grid: Annotated[
        str | None,
        typer.Option(
            "--lr-grid",
            metavar="LR,LR,…",
            help="Learning rates, such as 1e-3,1e-2,1e-1: each is tried for each cell and optimizer, with the width of "
            "the range that reaches the target.",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="GRID",
            help="One or two options of the cells with their values, as 'momentum=0,0.6; step_size=0.3,1' in quotes: "
            "every combination, with a heat map.",
            show_default=False,
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE|FIGURE",
            help="In place of recipes: those of a published table, such as table1 (see paper/… in momentumrnn recipes "
            "list), and our results next to theirs; or figure2, figure3, figure4, drawn like the paper's.",
            show_default=False,
        ),
    ] = None,
    hidden_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --paper FIGURE: hidden units of its cells, by default 128, of figure3 170.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="SEEDS", help="Seeds of each cell: 0-4, or 0,3,7.")] = SEEDS,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Target to reach: a number, metric=number, or baseline for the best value that the baseline's run "
            "with the same seed has, baseline:pooled for their median; by default the recipe's.",
            show_default=False,
        ),
    ] = None,
    budget_epochs: Annotated[
        int | None,
        typer.Option(
            "--budget-epochs",
            "--epochs",
            metavar="N",
            min=1,
            help="Epochs per run, in place of the recipe's budget.",
            show_default=False,
        ),
    ] = None,
    budget_steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Optimizer steps per run, likewise.", show_default=False)
    ] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Training seconds per run, likewise.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="CELL",
            help='The cell that speed-ups are relative to, with --optimizers "CELL OPTIMIZER"; by default the first.',
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train past the target, to the end of the budget.")] = False,
    tuned: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="First choose each cell's options among K trials on validation.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Processes; above 1 optimizer steps are the scored clock, not seconds."),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Make the runs on the workers of this Dask scheduler, tcp://HOST:8786, with steps as the clock; see "
            "docs/scale.md. Needs: pip install 'momentumrnn[cluster]'",
            show_default=False,
        ),
    ] = None,
    clock: Annotated[
        Clock | None,
        typer.Option(
            help="What speed-ups are measured in; by default seconds, with --jobs above 1 or --cluster steps. A "
            "benchmark in steps may continue on another machine.",
            show_default=False,
        ),
    ] = None,
    accelerator: AcceleratorOption = Accelerator.auto,
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Only measure the cost of a pass through each of --cells, against torch's layer."),
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
        typer.Option(
            metavar="NAME",
            help="With --speed: auto, reference, native, fused, triton. May be repeated.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With --speed: fp32, bf16. May be repeated; both by default, each against torch in the same.",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=20, help="With --speed: repeats of each pass.")] = ROUNDS,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of the benchmark; finished runs in it are kept. By default runs/bench-RECIPE-NNN, or the "
            "unfinished one of the same benchmark.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the benchmark in --out.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Compare cells by the time they need to a target, on equal terms, over several seeds.

    Writes bench.json, runs.csv, pictures and report.html. After an interruption, the same command continues.
    """
    from momentum_cli.ui import make_bench_ui

    given = arguments or []
    if speed and given:
        raise typer.BadParameter(f"takes no recipes and no changes, got {' '.join(given)}", param_hint="--speed")
    training_only = {
        "--optimizers": optimizers,
        "--lr-grid": lr_grid,
        "--grid": grid,
        "--paper": paper,
        "--hidden-size": hidden_size,
        "--seeds": seeds != SEEDS,
        "--target": target,
        "--budget-epochs": budget_epochs,
        "--budget-steps": budget_steps,
        "--budget-seconds": budget_seconds is not None,
        "--baseline": baseline,
        "--full": full,
        "--tuned": tuned,
        "--jobs": jobs != 1,
        "--cluster": cluster,
        "--clock": clock,
        "--accelerator": accelerator != Accelerator.auto,
    }
    if speed and (useless := [name for name, is_given in training_only.items() if is_given]):
        raise typer.BadParameter("belongs to a training, and --speed trains nothing", param_hint=", ".join(useless))
    speed_only = {"--shape": shape, "--backend": backend, "--precision": precision, "--rounds": rounds != ROUNDS}
    if not speed and (useless := [name for name, is_given in speed_only.items() if is_given]):
        raise typer.BadParameter(
            "belongs to --speed, which was not given; a training takes model.backend", param_hint=", ".join(useless)
        )
    with make_bench_ui(quiet=quiet, progress=not no_progress, json=json) as ui:
        if speed:
            from momentum_cli.benchmark.speed.compare import speed as engine_speed
            from momentum_cli.benchmark.speed.step_time import PRECISIONS

            named = [cell for text in cells or () for cell in text.split(",")]
            measured = engine_speed(
                cells=named or None,
                shapes=shape or (),
                backends=backend or ("auto",),
                precisions=precision or PRECISIONS,
                rounds=rounds,
                out=out,
                overwrite=overwrite,
                ui=ui,
            )
            if json:
                terminal.print_json(measured)
            return
        from momentum_cli.api.bench import bench as library_bench

        result = library_bench(
            [text for text in given if not is_override(text)],
            [text for text in given if is_override(text)],
            cells=cells or (),
            optimizers=optimizers or (),
            lr_grid=lr_grid,
            grid=grid,
            paper=paper,
            hidden_size=hidden_size,
            seeds=seeds,
            target=target,
            budget_epochs=budget_epochs,
            budget_steps=budget_steps,
            budget_seconds=budget_seconds,
            baseline=baseline,
            full=full,
            tuned=tuned or 0,
            jobs=jobs,
            cluster=cluster,
            clock=None if clock is None else clock.value,
            accelerator=accelerator.value,
            data_dir=data_dir,
            out=out,
            overwrite=overwrite,
            ui=ui,
        ).to_dict()
    if json:
        terminal.print_json(result)


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="BENCH|RUN|SEARCH",
            help="Folders of benchmarks or runs; or of one search by momentumrnn tune.",
            autocompletion=complete_run,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file; by default report.html in the folder if only one is given, else in the current folder.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Mix results of different machines; the report says so.")
    ] = False,
    json: Json = False,
) -> None:
    """Write one self-contained HTML file on benchmarks, runs or a search: tables, pictures, recipes, definitions."""
    from momentum_cli.benchmark.report.report import report as engine_report

    result = engine_report(folders, out=out, force=force)
    if json:
        terminal.print_json(result)
    else:
        for text in result["warnings"]:
            terminal.print_lines(f"warning: {text}")
        terminal.print_lines(result["report"])
