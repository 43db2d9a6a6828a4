"""`momentumrnn train` and `momentumrnn eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import (
    Accelerator,
    AcceleratorOption,
    BeamSize,
    DataDir,
    Json,
    LengthPenalty,
    NoProgress,
    Overrides,
    Quiet,
    is_override,
    make_ui,
)
from momentum_cli.cli.completion import complete_recipe, complete_run
from momentum_cli.errors import TargetError
from momentum_cli.messages import refuse
from momentum_cli.tables import table_names
from momentum_cli.ui import results, terminal
from momentum_cli.wording import target_text

_ATTACKS = table_names("attacks/__init__.py", "ATTACKS")


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
            metavar="DIR",
            help="The run folder itself, new or empty; by default runs/RECIPE-CELL-NNN.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run folder given in place of RECIPE (or the newest run of RECIPE, or of all) with "
            "that run's recipe; changes such as train.epochs=5 extend it.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check recipe, data and one step, estimate time and memory, keep nothing.")
    ] = False,
    devices: Annotated[str, typer.Option(help="Number of devices or processes, or auto.", metavar="N|auto")] = "auto",
    nodes: Annotated[int, typer.Option(metavar="N", help="Number of machines.", min=1)] = 1,
    accelerator: AcceleratorOption = Accelerator.auto,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Train the model of a recipe.

    Exits with 4 when the recipe has a target and it was not reached.
    """
    from momentum_cli.api import train as library

    changes = list(overrides or [])
    if recipe is not None and is_override(recipe):
        changes, recipe = [recipe, *changes], None
    if recipe is None and not resume:
        raise typer.BadParameter("missing: a recipe file or name, see momentumrnn recipes list", param_hint="RECIPE")
    if resume and (out is not None or overwrite):
        raise typer.BadParameter(
            "continues in the folder of the run; leave out --out and --overwrite", param_hint="--resume"
        )
    if resume and dry_run:
        raise typer.BadParameter("cannot be combined with --dry-run", param_hint="--resume")
    several = {"--devices": devices != "auto", "--nodes": nodes != 1}
    if dry_run and (useless := [name for name, is_given in several.items() if is_given]):
        raise typer.BadParameter("must be left out with --dry-run, which is one process", param_hint=", ".join(useless))
    with make_ui(json, quiet, no_progress) as ui:
        if dry_run:
            result = library.dry_run(
                str(recipe),
                changes,
                data_dir=data_dir,
                out=out,
                overwrite=overwrite,
                accelerator=accelerator.value,
                ui=ui,
            ).to_dict()
        else:
            result = library.train(
                recipe,
                changes,
                data_dir=data_dir,
                out=out,
                overwrite=overwrite,
                resume=resume,
                devices=_device_count(devices),
                nodes=nodes,
                accelerator=accelerator.value,
                ui=ui,
            ).to_dict()
    if json:
        terminal.print_json(result)
    elif dry_run and not quiet:
        results.print_dry_run(result)
    target = result.get("target")
    # Only one process exits with 4: a launcher such as torchrun ends all the others when one of them fails.
    if not dry_run and target and not target["reached"] and terminal.is_main_process():
        if quiet and not json:
            terminal.print_error(f"target {target_text(target['metric'], target['value'])} was not reached")
        raise typer.Exit(TargetError.exit_code)


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint or an exported file.", autocompletion=complete_run
        ),
    ],
    *,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split: train, validation or test.")] = "test",
    data_dir: DataDir = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Sequences at a time, of a translation model tokens; by default that of the run.",
            show_default=False,
        ),
    ] = None,
    beam_size: BeamSize = None,
    length_penalty: LengthPenalty = None,
    attack: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Also evaluate the worst inputs an attack finds: {', '.join(_ATTACKS)}.",
            show_default=False,
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            help="With --attack: by how much each input may change, in the unit the model gets; pixels are 0 to 1.",
            show_default=False,
        ),
    ] = None,
    attack_steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --attack pgd: steps, 50 by default.", show_default=False),
    ] = None,
    attack_step_size: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="With --attack: size of a step, by default 1.25 epsilon for fgsm, 2.5 epsilon / steps for pgd.",
            show_default=False,
        ),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            metavar="R",
            help="With --attack pgd: random starts, of which the worst counts; 1 by default.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the result and the pictures; by default the run folder.", show_default=False
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Evaluate a trained model: metrics, a table of classes, throughput, a picture of the confusion matrix."""
    from momentum_cli.api.evaluate import evaluate as library_evaluate

    with make_ui(json, quiet, no_progress) as ui:
        result = library_evaluate(
            run,
            split=split,
            data_dir=data_dir,
            batch_size=batch_size,
            beam_size=beam_size,
            length_penalty=length_penalty,
            attack=attack,
            epsilon=epsilon,
            attack_steps=attack_steps,
            attack_step_size=attack_step_size,
            restarts=restarts,
            ui=ui,
            out=out,
        ).to_dict()
    if json:
        terminal.print_json(result)
    elif not quiet:
        results.print_evaluation(result)


def _device_count(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(refuse("", text, "be auto or a number >= 1"), param_hint="--devices")
    return int(text)
