"""Runs in separate processes: several at a time, or one alone to measure its memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from momentum_cli import allocator
from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running import child
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.running.outcome import RESULT, read_outcome, stillborn
from momentum_cli.cells.plugins import load_plugins, loaded_files
from momentum_cli.errors import RunError
from momentum_cli.progress import NO_PROGRESS, RunState
from momentum_cli.recipe.building import load_data

# fork would copy a process with threads, whose locks would never be released
_SPAWN = multiprocessing.get_context("spawn")
_MEMORY_STEPS = 2


@dataclass(frozen=True)
class _Options:
    data_dir: Path | None
    accelerator: str
    threads: int
    keep_memory: bool
    save_every_seconds: float
    plugins: tuple[str, ...]


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    run: RunSpec
    slot: int


def threads_of(jobs: int) -> int:
    """Return the threads of each of `jobs` processes, which share the cores equally."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // jobs)


def work_in_processes(
    runs: Sequence[RunSpec],
    folder: Path,
    *,
    jobs: int,
    data_dir: Path | None,
    accelerator: str,
    show: Callable[[RunState], None],
    stopped: Callable[[], bool],
    save_every_seconds: float,
) -> list[tuple[str, dict[str, Any]]]:
    """Make runs in processes, `jobs` at a time; process i uses GPU i modulo their number.

    If a process dies, its run is a miss.

    Args:
        runs: in the order in which they are started.
        folder: parent of their folders.
        stopped: called often; True ends the runs, which save themselves.

    Returns:
        (id, result) of every run that is over.
    """
    options = _Options(data_dir, accelerator, threads_of(jobs), allocator.kept(), save_every_seconds, loaded_files())
    waiting = list(runs)
    active: list[_Worker] = []
    results: list[tuple[str, dict[str, Any]]] = []
    try:
        while active or (waiting and not stopped()):
            while waiting and len(active) < jobs and not stopped():
                slot = min(set(range(jobs)) - {worker.slot for worker in active})
                active.append(_worker(waiting.pop(0), folder, slot, options))
            if stopped():
                for worker in active:
                    worker.process.terminate()
            for ready in wait([worker.connection for worker in active], timeout=0.2):
                worker = next(w for w in active if w.connection is ready)
                try:
                    show(worker.connection.recv())
                except EOFError:
                    worker.process.join()
                    active.remove(worker)
                    home = folder / worker.run.id
                    if (home / RESULT).is_file():
                        results.append((worker.run.id, read_outcome(home)))
                    elif not stopped():
                        error = RunError(_death(worker.process.exitcode))
                        results.append((worker.run.id, stillborn(worker.run, home, error)))
                        show(_failed(worker.run, str(error)))
    finally:
        for worker in active:
            worker.process.terminate()
        for worker in active:
            worker.process.join()
    return results


def measure_memory(runs: Sequence[RunSpec], data_dir: Path | None, accelerator: str) -> Iterator[int | None]:
    """Yield for each run the peak memory in bytes of a process that trains and evaluates it alone, for a few steps.

    On the CPU it is resident memory, including Python, torch and the data; on CUDA the memory that torch allocated on
    the device; None if it could not be measured. One process per core runs at a time, which does not affect memory.
    """
    size = min(threads_of(1), 4)
    for first in range(0, len(runs), size):
        started = []
        for run in runs[first : first + size]:
            receiving, sending = _SPAWN.Pipe(duplex=False)
            parcel = child.parcel(_measure, run, data_dir, accelerator, allocator.kept(), loaded_files())
            process = _SPAWN.Process(target=child.run, args=(parcel, sending), daemon=True)
            _start(process)
            sending.close()
            started.append((process, receiving))
        try:
            for process, receiving in started:
                try:
                    value = receiving.recv()
                except EOFError:
                    value = None
                process.join()
                receiving.close()
                yield value
        finally:
            for process, _ in started:
                process.kill()  # it has nothing to save; does nothing to a finished process
                process.join()


def _start(process: SpawnProcess) -> None:
    """Start a process that ignores Ctrl-C: the terminal sends it to all, and this process decides."""
    if not hasattr(signal, "pthread_sigmask"):  # not on this system
        with child.without_main():
            process.start()
        return
    # multiprocessing's own helper, started with the first process, would undo the mask.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with child.without_main():
            process.start()  # it inherits the mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _worker(run: RunSpec, folder: Path, slot: int, options: _Options) -> _Worker:
    receiving, sending = _SPAWN.Pipe(duplex=False)
    # A parent that was killed starts this run again; two processes must not write into one folder.
    parcel = child.parcel(_train, run, folder / run.id, slot, options)
    process = _SPAWN.Process(target=child.run, args=(parcel, sending), daemon=True)
    _start(process)
    # Only the child keeps this end open, so its death ends the stream.
    sending.close()
    return _Worker(process, receiving, run, slot)


def _train(run: RunSpec, folder: Path, slot: int, options: _Options, connection: Connection) -> None:
    """Make one run: the main function of a process."""
    if options.keep_memory:
        allocator.keep_memory()
    import torch

    from momentum_cli.training.launch import determinism, launch, signals

    _choose_gpu(slot)
    torch.set_num_threads(options.threads)

    def show(state: RunState) -> None:
        with suppress(OSError):
            connection.send(state)

    with signals() as received, determinism(run.recipe.train.deterministic):

        def stopped() -> bool:
            return bool(received)

        try:
            load_plugins(options.plugins)
            fabric = launch(run.recipe, 1, 1, options.accelerator)
            dataset = load_data(run.recipe, options.data_dir, NO_PROGRESS)
            every = options.save_every_seconds
            contender = Contender(run, folder, dataset, fabric, show=show, save_every_seconds=every)
        except Exception as error:
            show(_failed(run, stillborn(run, folder, error)["miss"]))
            return
        contender.work(stopped)


def _measure(
    run: RunSpec,
    data_dir: Path | None,
    accelerator: str,
    keep_memory: bool,
    plugins: tuple[str, ...],
    connection: Connection,
) -> None:
    """Train and evaluate briefly and send the peak memory: the main function of a process."""
    if keep_memory:
        allocator.keep_memory()
    from momentum_cli.training.launch import launch, memory_bytes
    from momentum_cli.training.trainer import Trainer

    with suppress(Exception):
        load_plugins(plugins)
        dataset = load_data(run.recipe, data_dir, NO_PROGRESS)
        count = run.recipe.train.eval_batch_size
        validation = None if dataset.validation is None else dataset.validation.head(count)
        dataset = replace(dataset, validation=validation, test=dataset.test.head(count))
        trainer = Trainer(run.recipe, dataset, launch(run.recipe, 1, 1, accelerator))
        for _ in range(_MEMORY_STEPS):
            trainer.step()
        trainer.evaluate(trainer.selection_split)
        connection.send(memory_bytes(trainer.device))
    connection.close()


def _choose_gpu(slot: int) -> None:
    """Make one GPU visible to this process, before it first uses CUDA."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if names and names != [""]:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[slot % len(names)]


def _failed(run: RunSpec, reason: str) -> RunState:
    metric = "loss" if run.recipe.target is None else run.recipe.target.metric
    return RunState(run.id, run.comparison, run.label, run.seed, "failed", metric, reason=reason)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"crashed: its process was ended by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    return f"crashed: its process ended with code {code}"
