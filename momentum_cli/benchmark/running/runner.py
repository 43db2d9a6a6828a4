"""Runs a benchmark's trainings: interleaved in this process, or distributed over several.

In this process the runs of one seed take turns, so that changes in the speed or load of the machine affect all cells
alike. The order is rotated by one in each round, so that no cell always follows the same one.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.cluster import work_in_cluster
from momentum_cli.benchmark.running.contender import SAVE_EVERY_SECONDS, Contender
from momentum_cli.benchmark.running.folder import RUNS, kept_results
from momentum_cli.benchmark.running.outcome import stillborn
from momentum_cli.benchmark.running.workers import measure_memory, work_in_processes
from momentum_cli.cluster.fingerprint import fingerprint
from momentum_cli.data import Dataset
from momentum_cli.errors import DataError, Interrupted, Stopped
from momentum_cli.progress import BenchUi, RunState, Status
from momentum_cli.reading import parse_json, read_text
from momentum_cli.recipe.building import load_data
from momentum_cli.runs.files import write_json
from momentum_cli.training.launch import determinism, launch, signals
from momentum_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Setting:
    """Settings shared by all runs.

    Args:
        folder: folder of the benchmark.
        data_dir: folder of the data sets, None for the default.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        jobs: processes; 1: all runs in this one.
        ui: shows the progress of the runs.
        client: client of the cluster that trains the runs, see `momentum_cli.cluster.connection`; None without
            one.
        save_every_seconds: at most this much work is lost if the process is killed.
    """

    folder: Path
    data_dir: Path | None
    accelerator: str
    jobs: int
    ui: BenchUi
    save_every_seconds: float = SAVE_EVERY_SECONDS
    client: Any = None


def execute(title: str, groups: Sequence[Sequence[RunSpec]], setting: Setting) -> dict[str, dict[str, Any]]:
    """Make all runs except those with results in the folder.

    Args:
        title: title for the display.
        groups: runs that are interleaved with each other: the same data and seed.
        setting: see `Setting`.

    Returns:
        id of a run -> its result; the order is that of the groups.

    Raises:
        Interrupted: SIGINT or SIGTERM arrived; unfinished runs are saved and continue in the next call.
        MomentumError: the data, the devices or the folder are invalid. An error in a single run is that run's result.
    """
    runs = [run for group in groups for run in group]
    results = kept_results(setting.folder, runs)
    goals = {
        run.comparison: {other.recipe.goal for other in runs if other.comparison == run.comparison} for run in runs
    }
    setting.ui.start(
        title,
        [_state_of(run, results.get(run.id)) for run in runs],
        # If each seed has its own target, there is no common one to show.
        {name: next(iter(found)) if len(found) == 1 else None for name, found in goals.items()},
    )
    missing = [[run for run in group if run.id not in results] for group in groups]
    work = _in_cluster if setting.client is not None else _in_processes if setting.jobs > 1 else _in_turns
    try:
        for run_id, result in work([group for group in missing if group], setting):
            results[run_id] = result
    except Stopped as stop:  # no run had anything to save
        _interrupt(stop.number, setting.folder)
    return {run.id: results[run.id] for run in runs}


def _in_turns(groups: Sequence[Sequence[RunSpec]], setting: Setting) -> list[tuple[str, dict[str, Any]]]:
    results: list[tuple[str, dict[str, Any]]] = []
    dataset: Dataset | None = None
    loaded = ""
    for group in groups:
        first = group[0]
        fabric = launch(first.recipe, 1, 1, setting.accelerator)
        with determinism(first.recipe.train.deterministic):
            if dataset is None or loaded != first.comparison:
                # one data set in memory at a time
                dataset = None
                dataset = load_data(first.recipe, setting.data_dir, setting.ui)
                _warn(dataset, setting)
                loaded = first.comparison
                _warm_up(first, dataset, fabric)
            memory = _memory(group, setting)
            with signals() as received:
                active, failed = _contenders(group, dataset, fabric, setting)
                for contender in active:
                    contender.memory_bytes = memory[contender.spec.id]
                results += failed + _interleave(active, received)
        if received:
            _interrupt(received[-1], setting.folder)
    return results


def _contenders(
    group: Sequence[RunSpec], dataset: Dataset, fabric: Fabric, setting: Setting
) -> tuple[list[Contender], list[tuple[str, dict[str, Any]]]]:
    """Return the runs that could be set up, and the results of those that could not."""
    active: list[Contender] = []
    failed: list[tuple[str, dict[str, Any]]] = []
    show, every = setting.ui.update, setting.save_every_seconds
    for run in group:
        home = setting.folder / RUNS / run.id
        try:
            active.append(Contender(run, home, dataset, fabric, show=show, save_every_seconds=every))
        except Exception as error:
            failed.append((run.id, stillborn(run, home, error)))
            show(_state_of(run, failed[-1][1]))
    return active, failed


def _interleave(active: list[Contender], received: list[int]) -> list[tuple[str, dict[str, Any]]]:
    """Let runs take turns until they are over or a signal arrives, which saves unfinished ones."""
    results: list[tuple[str, dict[str, Any]]] = []
    first = 0
    while active and not received:
        first = (first + 1) % len(active)
        for contender in [*active[first:], *active[:first]]:
            try:
                over = contender.turn(lambda: bool(received))
                result = contender.finish() if over else None
            except Exception as error:
                result = contender.fail(error)
            if result is not None:
                results.append((contender.spec.id, result))
                active.remove(contender)
    for contender in active:
        contender.pause()
    return results


def _warn(dataset: Dataset, setting: Setting) -> None:
    for text in dataset.warnings:
        setting.ui.note(text, "warning")


def _in_processes(groups: Sequence[Sequence[RunSpec]], setting: Setting) -> list[tuple[str, dict[str, Any]]]:
    runs = [run for group in groups for run in group]
    # The data are fetched and checked here once, before several processes need them.
    for run in {run.comparison: run for run in runs}.values():
        _warn(load_data(run.recipe, setting.data_dir, setting.ui), setting)
    with signals() as received:
        done = work_in_processes(
            runs,
            setting.folder / RUNS,
            jobs=setting.jobs,
            data_dir=setting.data_dir,
            accelerator=setting.accelerator,
            show=setting.ui.update,
            stopped=lambda: bool(received),
            save_every_seconds=setting.save_every_seconds,
        )
    if received:
        _interrupt(received[-1], setting.folder)
    return done


def _in_cluster(groups: Sequence[Sequence[RunSpec]], setting: Setting) -> list[tuple[str, dict[str, Any]]]:
    runs = [run for group in groups for run in group]
    fingerprints = {}
    for run in {run.comparison: run for run in runs}.values():
        dataset = load_data(run.recipe, setting.data_dir, setting.ui)
        _warn(dataset, setting)
        fingerprints[run.comparison] = fingerprint(dataset)
    with signals() as received:
        done = work_in_cluster(
            runs,
            setting.folder / RUNS,
            client=setting.client,
            fingerprints=fingerprints,
            data_dir=setting.data_dir,
            accelerator=setting.accelerator,
            show=setting.ui.update,
            over=lambda run, result: setting.ui.update(_state_of(run, result)),
            warn=lambda text: setting.ui.note(text, "warning"),
            stopped=lambda: bool(received),
        )
    if received:
        _interrupt(received[-1], setting.folder)
    return done


def _warm_up(run: RunSpec, dataset: Dataset, fabric: Fabric) -> None:
    """Incur the one-time costs of a process (imports, thread pools, library handles) before any clock starts.

    A plain RNN is used, so that no cell has its own kernels warmed up, and compilation by a cell counts in its time.
    """
    with suppress(Exception):  # an error here occurs in the runs too, where it is reported
        recipe = run.recipe.override("model.cell=rnn", "model.backend=auto", "model.forget_bias=null")
        trainer = Trainer(recipe, dataset, fabric)
        for _ in range(_WARM_UP_STEPS):
            trainer.step()


def _memory(group: Sequence[RunSpec], setting: Setting) -> dict[str, int | None]:
    """Return the peak memory of a process with each run alone; it is measured once per cell and stored."""
    path = setting.folder / "memory.json"
    known: dict[str, int | None] = _known_memory(path)
    # A learning rate does not change the memory of a step.
    keys = {run.id: f"{run.comparison} {run.arm or run.label}" for run in group}
    # A failed measurement is repeated next time: the machine may have been out of memory.
    missing = list({keys[run.id]: run for run in group if known.get(keys[run.id]) is None}.values())
    if missing:
        setting.ui.note("measuring the memory of each cell in a separate process")
        values = measure_memory(missing, setting.data_dir, setting.accelerator)
        for run, value in zip(missing, values, strict=True):
            known[keys[run.id]] = value
            # Written at once, so that a benchmark that is stopped here does not measure it again.
            write_json(path, known)
    return {run.id: known[keys[run.id]] for run in group}


def _known_memory(path: Path) -> dict[str, int | None]:
    if not path.exists():
        return {}
    try:
        known: dict[str, int | None] = parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete it to measure again") from error
    return known


def _state_of(run: RunSpec, result: dict[str, Any] | None) -> RunState:
    """Return the state of a waiting run, or of one whose result was kept."""
    target = run.recipe.target
    metric = "loss" if target is None else target.metric
    state = RunState(run.id, run.comparison, run.label, run.seed, "waiting", metric)
    if result is None:
        return state
    best = result["best"]
    if target is None and best is not None:
        metric = best["metric"]
    goal = run.recipe.goal
    reached = bool(result["target"] and result["target"]["reached"])
    status: Status = "reached" if reached else "failed" if result["error"] else "missed" if goal else "finished"
    metrics = (result["validation"] if result["selected_on"] != "test" else result["test"]) or {}
    return replace(
        state,
        status=status,
        metric=metric,
        step=result["steps"],
        best=metrics.get(metric),
        train_seconds=result["train_seconds"],
        reason=result["miss"],
        target_steps=result["target"]["steps"] if reached else result["steps"],
        target_seconds=result["target"]["train_seconds"] if reached else result["train_seconds"],
    )


def _interrupt(number: int, folder: Path) -> NoReturn:
    name = signal.Signals(number).name
    raise Interrupted(
        f"stopped by {name}; the runs so far are in {folder}, and the same command continues them", number
    )
