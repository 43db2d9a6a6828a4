"""`momentumrnn bench`: cells compared on equal terms by their time to a target, with the uncertainty of the result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from momentum_cli import kernels
from momentum_cli.benchmark.pictures.all import draw_bench
from momentum_cli.benchmark.plan.plan import Plan
from momentum_cli.benchmark.plan.planning import DEFAULT_SEEDS, make_plan
from momentum_cli.benchmark.results.definitions import DEFINITIONS
from momentum_cli.benchmark.results.files import (
    CURVES,
    TRACES,
    add_losses,
    read_points,
    read_trace,
    write_bench,
    write_curves,
    write_traces,
)
from momentum_cli.benchmark.results.goals import with_goals
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.running.folder import RUNS, identity, open_bench_folder
from momentum_cli.benchmark.running.runner import Setting, execute
from momentum_cli.benchmark.running.workers import threads_of
from momentum_cli.benchmark.tables.conclusion import conclusion
from momentum_cli.benchmark.tables.text import summary_text
from momentum_cli.cluster.archive import machines_of
from momentum_cli.cluster.connection import connected, local_trackers, require_steps
from momentum_cli.errors import MomentumError, RecipeError, RunError
from momentum_cli.machine import environment, timing_facts
from momentum_cli.messages import refuse, unknown
from momentum_cli.progress import BenchUi, NullBenchUi
from momentum_cli.training.launch import require_accelerator

__all__ = ["bench"]

# The word of the command line -> the key of the numbers.
CLOCKS = {"seconds": "train_seconds", "steps": "steps"}


def bench(
    recipes: Sequence[str] = (),
    *,
    cells: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    lr_grid: str | None = None,
    grid: str | None = None,
    paper: str | None = None,
    hidden_size: int | None = None,
    seeds: str = DEFAULT_SEEDS,
    target: str | None = None,
    budget_epochs: int | None = None,
    budget_steps: int | None = None,
    budget_seconds: float | None = None,
    baseline: str | None = None,
    full: bool = False,
    tuned: int = 0,
    jobs: int = 1,
    cluster: str | None = None,
    clock: str | None = None,
    accelerator: str = "auto",
    data_dir: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    ui: BenchUi | None = None,
) -> dict[str, Any]:
    """Compare cells by their time to a target and leave a folder with numbers, pictures and a report.

    After an interruption, the same call continues where it stopped.

    Args:
        recipes: files or names of shipped recipes; none: digits-pixels.
        cells: lists of cells, see `momentum_cli.benchmark.plan.variants`; none: lstm, momentum and adam,
            without a recipe rmsprop and sr too, or the recipe's own cell where optimizers or learning rates are
            compared.
        optimizers: lists of optimizers, see `momentum_cli.benchmark.plan.optimizers`; none: the recipe's.
        lr_grid: learning rates ``1e-3,1e-2,…``, all of them for each cell and optimizer; None: one.
        grid: options of the cells and their values, ``momentum=0,0.6; step_size=0.1,1``; None: no grid.
        paper: a published table such as ``table1`` or a figure such as ``figure4`` in place of recipes; our results are
            listed next to it, and a figure is drawn like theirs.
        hidden_size: hidden units of the cells of a figure; None: those of its recipes.
        seeds: ``0-4`` or ``0,3,7``.
        target: ``0.9`` or ``metric=0.9``, or ``"baseline"``: the best value of the baseline's run with the same seed,
            ``"baseline:pooled"``: the median of them; None: the recipe's.
        budget_epochs, budget_steps, budget_seconds: in place of the recipe's budget.
        baseline: the cell, or ``"CELL OPTIMIZER"``, that speed-ups are relative to; None: the first.
        full: train past the target, to the end of the budget.
        tuned: trials of hyperparameters per cell before the runs; 0: none.
        jobs: processes; above 1 the clock is steps, because processes slow each other down.
        cluster: address of a Dask scheduler whose workers train the runs; the clock is steps.
        clock: the scored clock, ``"seconds"`` or ``"steps"``; None: seconds, with `jobs` above 1 or `cluster` steps.
            A benchmark on the clock of steps may continue on another machine, and then reports no seconds.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        data_dir: folder of data sets.
        out: the folder; None: ``runs/bench-RECIPE-NNN``, or the unfinished one of the same benchmark.
        overwrite: replace the benchmark in `out`.
        overrides: ``key.path=value`` for all recipes.
        ui: where progress is shown; None shows nothing.

    Returns:
        The content of ``bench.json``.

    Raises:
        MomentumError: Something that the user can act on; RunError when every run was ended by an error.
        Interrupted: SIGINT or SIGTERM arrived; unfinished runs are saved.
    """
    shown: BenchUi = ui or NullBenchUi()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("start a benchmark once, not by torchrun or srun; --jobs spreads its runs over processes")
    kernels.check_environment()
    for option, number, least in (("--tuned", tuned, 0), ("--jobs", jobs, 1)):
        if number < least:
            raise RecipeError(refuse(option, number, f"be at least {least}"))
    if tuned and lr_grid is not None:
        raise RecipeError("--tuned chooses a learning rate and --lr-grid compares them: give one of the two")
    if tuned and (grid is not None or paper is not None):
        raise RecipeError("--tuned chooses options that --grid compares and --paper has fixed: give one of them")
    if cluster is None:
        require_accelerator(accelerator)
    elif jobs > 1:
        raise RecipeError(f"--cluster {cluster} and --jobs {jobs}: runs are made there or here; leave out one of them")
    plan = make_plan(
        recipes,
        cells=cells,
        optimizers=optimizers,
        lr_grid=lr_grid,
        grid=grid,
        paper=paper,
        hidden_size=hidden_size,
        seeds=seeds,
        target=target,
        epochs=budget_epochs,
        steps=budget_steps,
        seconds=budget_seconds,
        baseline=baseline,
        full=full,
        overrides=overrides,
    )
    scored = _scored(clock, jobs, cluster)
    if cluster is not None:
        for comparison in plan.comparisons:
            require_steps(comparison.recipe)
    where = timing_facts(torch.get_num_threads() if jobs == 1 else threads_of(jobs))
    wanted = identity(plan, scored=scored, tuned=tuned, where=where)
    with ExitStack() as held:
        client = None if cluster is None else held.enter_context(connected(cluster))
        folder, again, earlier = open_bench_folder(out, wanted, overwrite=overwrite, held=held)
        shown.note(f"{'continuing in' if again else 'benchmark folder:'} {folder}")
        if client is not None and (lost := local_trackers(plan.comparisons[0].recipe)):
            shown.note(lost, "warning")
        setting = Setting(folder, data_dir, accelerator, jobs, shown, client=client)
        if tuned:
            from momentum_cli.benchmark.running.tuning import tune

            plan, tuning = tune(plan, tuned, setting)
        else:
            tuning = None
        plan, results = _execute(plan, setting)
        if machines := machines_of(folder / RUNS / run for run in results):
            where, earlier = machines[0], [*machines[1:], *earlier]
        facts = {"jobs": jobs, "tuning": tuning, "machine": where, "earlier_machines": earlier}
        content = _report(plan, results, folder, scored, shown, **facts)
    if all(result["error"] for result in results.values()):
        first = next(iter(results.values()))
        at = folder / RUNS / first["id"]
        raise RunError(f"every run was ended by an error, the first one: {first['error']} ({at})")
    shown.finish(partial(summary_text, content))
    return content


def _execute(plan: Plan, setting: Setting) -> tuple[Plan, dict[str, dict[str, Any]]]:
    """Make all runs; return the plan with the targets that a baseline has set, and the results."""
    if leading := plan.leading():
        plan = with_goals(plan, execute("the baseline, which sets the target", leading, setting), setting.folder)
    results = execute("benchmark", plan.groups(), setting)
    return with_goals(plan, results, setting.folder), results


def _scored(clock: str | None, jobs: int, cluster: str | None) -> str:
    if clock is None:
        return CLOCKS["seconds" if jobs == 1 and cluster is None else "steps"]
    if clock not in CLOCKS:
        raise RecipeError(unknown("clock", clock, CLOCKS))
    if clock == "seconds" and cluster is not None:
        raise RecipeError(
            "--clock seconds and --cluster: machines differ in speed, so steps are compared; leave one out"
        )
    if clock == "seconds" and jobs > 1:
        raise RecipeError(
            f"--clock seconds needs --jobs 1, got --jobs {jobs}: processes slow each other down; leave out one of them"
        )
    return CLOCKS[clock]


def _report(
    plan: Plan, results: dict[str, dict[str, Any]], folder: Path, scored: str, ui: BenchUi, **facts: Any
) -> dict[str, Any]:
    """Write the files of a finished benchmark."""
    points = {}
    for comparison in plan.comparisons:
        for run_id, result in results.items():
            if result["comparison"] == comparison.name:
                metric = comparison.target.metric if comparison.target else (result["best"] or {}).get("metric", "loss")
                points[run_id] = read_points(folder, run_id, metric)
    traces = {run_id: trace for run_id in results if (trace := read_trace(folder / RUNS / run_id))}
    summary = summarise(plan, results, points, traces, scored=scored)
    content: dict[str, Any] = {"folder": str(folder), **summary, **facts}
    if plan.figure:
        add_losses(content, folder)
    for comparison in content["comparisons"]:
        comparison["conclusion"] = conclusion(comparison, content)
    content |= {"definitions": DEFINITIONS, "environment": environment()}
    write_curves(folder / CURVES, content["comparisons"], points)
    write_traces(folder / TRACES, traces)
    from momentum_cli.benchmark.report.report import write_report  # imported here, because the report uses this package

    content = write_bench(folder, content)
    try:
        draw_bench(content, points, folder, traces)
        write_report(folder)
    except MomentumError as error:
        # The numbers are written; `momentumrnn report` can make the rest again.
        ui.note(f"the report is not complete: {error}", "warning")
    return content
