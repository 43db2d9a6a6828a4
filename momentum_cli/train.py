"""`momentumrnn train`: one run from its recipe to its result, in a run folder that can be resumed at any moment."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from momentum_cli.checkpoint import SUFFIX, find_checkpoint, load_checkpoint, save_checkpoint
from momentum_cli.data import Dataset
from momentum_cli.errors import DataError, Interrupted, MomentumError, RecipeError, RunError
from momentum_cli.parameter_groups import unused_groups
from momentum_cli.plots import curves
from momentum_cli.process_memory import peak_resident_bytes
from momentum_cli.progress import Progress
from momentum_cli.recipe import Recipe, load_recipe
from momentum_cli.run_folder import MetricsLog, environment, locked, new_run_folder, write_json
from momentum_cli.trainer import StepResult, Trainer
from momentum_cli.ui import Evaluation, NullUi, RunStart, StepInfo, Ui

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISIONS = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}
_T = TypeVar("_T")


def train(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    devices: int | str = "auto",
    nodes: int = 1,
    accelerator: str = "auto",
    source: Path | None = None,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Train a recipe and leave a run folder.

    Args:
        recipe: What to train; for a resumed run its recipe, overrides applied.
        data_dir: Folder of the data sets, or None for the default.
        out: The run folder itself, or None for a numbered one in ``runs``.
        overwrite: Replace the run in ``out``.
        resume: Run folder to continue; ``out`` is then not used.
        devices: Devices a node, or ``"auto"``.
        nodes: Nodes.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        source: Recipe file to copy into the folder.
        ui: Where progress is shown; None shows nothing.

    Returns:
        What ``result.json`` holds.

    Raises:
        MomentumError: Something that the user can act on; see `momentum_cli.errors`.
        Interrupted: SIGINT or SIGTERM arrived; the checkpoint is written.
    """
    fabric = launch(recipe, devices, nodes, accelerator)
    shown: Ui = ui if ui is not None and fabric.global_rank == 0 else NullUi()
    with signals() as received, determinism(recipe.train.deterministic), ExitStack() as held:
        if resume is not None:
            _on_first(fabric, lambda: _check_resumed(recipe, resume))
        dataset = _first_then_all(fabric, lambda: recipe.build_task().load(data_dir, shown))
        trainer = Trainer(recipe, dataset, fabric)

        def open_and_lock() -> Path:
            folder = _open_folder(recipe, out, overwrite, resume, source)
            held.enter_context(locked(folder, "training"))
            return folder

        folder = _on_first(fabric, open_and_lock)
        run = Run(trainer, folder, shown, received, resumed=resume is not None)
        if resume is not None:  # only now: a refused resume must leave the run as it was
            _on_first(fabric, lambda: _record_start(recipe, folder))
        return run.execute()


def dry_run(recipe: Recipe, *, data_dir: Path | None = None, ui: Ui | None = None) -> dict[str, Any]:
    """Try everything a training does once, and leave nothing behind.

    Validates, opens the data, makes training steps, evaluates a part of the data, writes a checkpoint and reads it
    back.

    Returns:
        ``steps`` planned (or None), ``ms_per_step``, ``estimated_seconds`` of training (or None), ``memory_bytes``,
        ``parameters``, ``backend``, ``device``, ``train_samples``.

    Raises:
        MomentumError: What would fail in the training.
    """
    shown: Ui = ui or NullUi()
    fabric = launch(recipe, 1, 1, "auto")
    dataset = recipe.build_task().load(data_dir, shown)
    trainer = Trainer(recipe, dataset, fabric)
    trainer.step()
    warm = trainer.progress.train_seconds
    trainer.step()
    seconds = trainer.progress.train_seconds - warm
    small = Trainer(recipe, _head(dataset, recipe.train.eval_batch_size), fabric)
    small.evaluate(small.selection_split)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"last{SUFFIX}"
        save_checkpoint(path, trainer.checkpoint())
        trainer.restore(load_checkpoint(path))
    total = trainer.total_steps
    return {
        "dry_run": True,
        "cell": recipe.model.cell,
        "task": dataset.name,
        "train_samples": len(dataset.train),
        "parameters": trainer.parameter_count,
        "device": device_name(trainer.device),
        "backend": trainer.module.layer.chosen_backend,
        "steps": total,
        "ms_per_step": 1000 * seconds,
        "estimated_seconds": None if total is None else total * seconds,
        "memory_bytes": memory_bytes(trainer.device),
    }


class Run:
    """One training in its folder: when to evaluate, log, save and stop.

    Args:
        trainer: The engine, at the start.
        folder: The run folder.
        ui: Where progress is shown.
        received: Signals that arrived, newest last.
        resumed: Continue from the folder's last checkpoint, if there is one.
    """

    def __init__(self, trainer: Trainer, folder: Path, ui: Ui, received: list[int], *, resumed: bool) -> None:
        self.trainer = trainer
        self.folder = folder
        self.ui = ui
        self.received = received
        self.first = trainer.fabric.global_rank == 0
        self.last_path = folder / "checkpoints" / f"last{SUFFIX}"
        if resumed:
            if self.last_path.is_file():
                trainer.restore(load_checkpoint(self.last_path))
                find_checkpoint(folder)  # the best one is read at the end of the run: it must not be missing then
            elif (folder / "result.json").is_file():  # a best one alone may be left by a kill in the first evaluation
                raise DataError(f"{self.last_path} is missing, and the run can not go on without it; put it back")
            else:
                ui.note(f"{folder} holds no checkpoint yet: the run starts from its beginning", "warning")
        self._wall_before = trainer.progress.wall_seconds
        self._wall_start = time.perf_counter()
        metrics, diagnostics = trainer.objective.metrics, trainer.diagnostic_names
        self.log = MetricsLog(folder, metrics, diagnostics) if self.first else None
        if self.log is not None:
            self.log.resume(trainer.progress.step, keep_evaluation=self._evaluated_here())

    def execute(self) -> dict[str, Any]:
        """Train until the budget, the target or a signal ends it; return the result."""
        trainer, recipe = self.trainer, self.trainer.recipe
        self._announce()
        for name in unused_groups(trainer.module, recipe.optimizer.groups):
            self.ui.note(f"optimizer.groups.{name} has no effect: {recipe.model.cell} has no {name} parameters")
        reason = self._stop_reason()
        while reason is None:
            interrupted = self._advance(trainer.next_evaluation())
            if interrupted:
                self._save()
                self._close()
                number = self.received[-1] if self.received else signal.SIGTERM
                raise Interrupted(
                    f"stopped by {signal.Signals(number).name} at step {trainer.progress.step}; "
                    f"continue with: momentumrnn train --resume {self.folder}",
                    number,
                )
            self._evaluate()
            reason = self._stop_reason()
        if not self._evaluated_here() and trainer.progress.step > 0:
            self._evaluate()
        result = self._result(reason)
        if self.log is not None:
            self.log.close()
            target = None if recipe.target is None else (recipe.target.metric, recipe.target.value)
            try:
                curves(self.folder, target, self.folder / "curves.png", metric=trainer.dataset.metric)
            except MomentumError as error:
                self.ui.note(f"no picture of the curves: {error}", "warning")
            write_json(self.folder / "result.json", result)
        self.ui.finish(result)
        return result

    # The loop.

    def _advance(self, until: int) -> bool:
        """Step up to the next evaluation; return whether a signal ended it."""
        trainer, options = self.trainer, self.trainer.recipe.train
        while trainer.progress.step < until:
            try:
                result = trainer.step(bool(self.received))
            except RunError as error:
                self._close()
                raise RunError(f"{error}; {self._way_on()}") from error
            self._report(result)
            if result.stop:
                return True
            if options.max_seconds is not None and result.train_seconds >= options.max_seconds:
                break
            every = options.checkpoint_every_n_steps
            if every is not None and trainer.progress.step % every == 0 and trainer.progress.step < until:
                self._save()
        return False

    def _way_on(self) -> str:
        """Say how to go on after a divergence."""
        if self.last_path.is_file():
            return (
                f"the last checkpoint is from before: momentumrnn train --resume {self.folder} CHANGE goes on from it"
            )
        return (
            f"there was no checkpoint before it: start again with such a change (--out {self.folder} --overwrite uses "
            "this folder again)"
        )

    def _report(self, result: StepResult) -> None:
        progress, trainer = self.trainer.progress, self.trainer
        if not self.first:
            return
        info = step_info(trainer, result)
        self.ui.step(info)
        if result.skipped:
            self.ui.note(
                f"step {progress.step}: loss {result.loss:g}, gradient norm {result.grad_norm:g}: not finite, "
                f"the step was skipped ({progress.nonfinite_steps} of {trainer.recipe.train.max_nonfinite} allowed)",
                "warning",
            )
        if self.log is not None and logged(trainer):
            log_step(self.log, trainer, info, self._wall())

    def _evaluate(self) -> None:
        trainer, split = self.trainer, self.trainer.selection_split
        metrics = trainer.evaluate(split, self.ui.evaluation_progress)
        self._wall()
        best = trainer.record(metrics, split)
        progress = trainer.progress
        evaluation = Evaluation(
            step=progress.step,
            epoch=progress.epoch,
            samples=progress.samples,
            split=split,
            metrics=metrics,
            train_seconds=progress.train_seconds,
            wall_seconds=progress.wall_seconds,
            best=best,
            target_reached=progress.target is not None and bool(progress.target["reached"]),
        )
        if self.log is not None:
            self.log.evaluation(evaluation)
        self._save(best=best)
        self.ui.evaluated(evaluation)

    def _save(self, best: bool = False) -> None:
        """Write the last checkpoint; a new best one goes to a name of its own first.

        The last checkpoint names the best one that belongs to it, so whatever moment the process dies at, the two
        on the disk fit together.
        """
        progress = self.trainer.progress
        if best and progress.best is not None:
            progress.best["file"] = f"best-{progress.step:09d}{SUFFIX}"
        checkpoint = self.trainer.checkpoint()
        if self.log is None:
            return
        self.log.sync()
        kept = None if progress.best is None else progress.best["file"]
        if best:
            save_checkpoint(self.last_path.with_name(str(kept)), checkpoint)
        save_checkpoint(self.last_path, checkpoint)
        for path in self.last_path.parent.glob(f"best-*{SUFFIX}"):
            if path.name != kept:
                path.unlink(missing_ok=True)

    def _stop_reason(self) -> str | None:
        progress, options = self.trainer.progress, self.trainer.recipe.train
        if options.stop_at_target and progress.target is not None and progress.target["reached"]:
            return "target"
        stopping = options.early_stopping
        if stopping is not None and progress.bad_evaluations >= stopping.patience:
            return "early_stopping"
        if options.epochs is not None and progress.epoch >= options.epochs:
            return "epochs"
        if options.max_steps is not None and progress.step >= options.max_steps:
            return "max_steps"
        if options.max_seconds is not None and progress.train_seconds >= options.max_seconds:
            return "max_seconds"
        return None

    def _evaluated_here(self) -> bool:
        last = self.trainer.progress.last
        return last is not None and last["step"] == self.trainer.progress.step

    def _wall(self) -> float:
        progress = self.trainer.progress
        progress.wall_seconds = self._wall_before + time.perf_counter() - self._wall_start
        return progress.wall_seconds

    def _close(self) -> None:
        if self.log is not None:
            self.log.close()

    # What people and files get.

    def _announce(self) -> None:
        trainer, recipe = self.trainer, self.trainer.recipe
        layer, target = trainer.module.layer, trainer.progress.target
        # The backend is chosen when the first batch is seen; find it out with the shape of that batch.
        self.ui.start(
            RunStart(
                name=self.folder.name,
                run_dir=str(self.folder),
                cell=recipe.model.cell,
                backend=layer.backend_for(trainer.batch_shape, training=True),
                device=device_name(trainer.device),
                precision=recipe.train.precision,
                parameters=trainer.parameter_count,
                task=trainer.dataset.name,
                train_samples=len(trainer.dataset.train),
                epochs=recipe.train.epochs,
                total_steps=trainer.total_steps,
                steps_per_epoch=trainer.steps_per_epoch,
                start_step=trainer.progress.step,
                metric=trainer.dataset.metric,
                target=None if recipe.target is None else (recipe.target.metric, recipe.target.value),
                seed=recipe.train.seed,
                batch_size=trainer.group_size,
                max_seconds=recipe.train.max_seconds,
                best=trainer.progress.best,
                reached=target if target is not None and target["reached"] else None,
            )
        )

    def _result(self, reason: str | None) -> dict[str, Any]:
        trainer, recipe, progress = self.trainer, self.trainer.recipe, self.trainer.progress
        best, last = progress.best, progress.last
        validation, test = None, None
        if best is not None:
            if trainer.selection_split == "test":
                test = best["metrics"]
            else:
                validation = best["metrics"]
                # Only the first process writes the checkpoint that all of them read here.
                trainer.fabric.barrier()
                chosen = load_checkpoint(self.last_path.with_name(best["file"])).group("model")
                test = trainer.evaluate("test", self.ui.evaluation_progress, chosen)
        layer = trainer.module.layer
        return {
            "run_dir": str(self.folder),
            "cell": recipe.model.cell,
            "task": trainer.dataset.name,
            "parameters": trainer.parameter_count,
            "seed": recipe.train.seed,
            "device": device_name(trainer.device),
            "backend": layer.backend_for(trainer.batch_shape, training=True),
            "precision": recipe.train.precision,
            "processes": trainer.fabric.world_size,
            "threads": torch.get_num_threads(),
            "epochs": progress.epoch,
            "steps": progress.step,
            "samples": progress.samples,
            "train_seconds": progress.train_seconds,
            "wall_seconds": self._wall(),
            "samples_per_second": progress.samples / progress.train_seconds if progress.train_seconds else None,
            "ms_per_step": 1000 * progress.train_seconds / progress.step if progress.step else None,
            "validation": validation,
            "test": test,
            "best": None
            if best is None
            else {key: best[key] for key in ("metric", "value", "step", "epoch", "split", "file")},
            "final": last,
            "selected_on": trainer.selection_split,
            "target": progress.target,
            "stop_reason": reason,
            "recipe": recipe.dump(),
            "environment": environment(),
        }


# One step in the log.


def logged(trainer: Trainer) -> bool:
    """Return whether the step that was just made has a row in the metrics: every n-th, and the last of an epoch."""
    progress = trainer.progress
    return progress.step % trainer.recipe.train.log_every_n_steps == 0 or progress.step_in_epoch == 0


def step_info(trainer: Trainer, result: StepResult) -> StepInfo:
    """Return what a display and a log are told of the step that was just made."""
    progress = trainer.progress
    at_end = progress.step_in_epoch == 0
    return StepInfo(
        step=progress.step,
        epoch=progress.epoch if at_end else progress.epoch + 1,
        step_in_epoch=trainer.steps_per_epoch if at_end else progress.step_in_epoch,
        loss=result.loss,
        grad_norm=result.grad_norm,
        lr=result.lr,
        samples=progress.samples,
        train_seconds=progress.train_seconds,
        memory_bytes=memory_bytes(trainer.device) if trainer.device.type == "cuda" else None,
    )


def log_step(log: MetricsLog, trainer: Trainer, info: StepInfo, wall_seconds: float) -> None:
    """Write the row of the step that was just made; only here the values of the optimizer's diagnostics are read."""
    progress = trainer.progress
    speed = progress.samples / progress.train_seconds if progress.train_seconds > 0 else None
    log.train(info, wall_seconds=wall_seconds, samples_per_second=speed, diagnostics=trainer.diagnostics())


# Devices and processes.


def launch(recipe: Recipe, devices: int | str, nodes: int, accelerator: str) -> Fabric:
    """Return a launched Fabric; under ``torchrun`` the processes that it started are used as they are.

    Raises:
        RecipeError: The accelerator or the number of devices is not there.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    # Its announcements of process groups are not for the user of one command.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if devices == "auto":
        devices = torch.cuda.device_count() if accelerator == "cuda" else 1
    count = int(devices)
    require_accelerator(accelerator)
    if count < 1 or nodes < 1:
        raise RecipeError(f"--devices {devices} --nodes {nodes}: both must be at least 1")
    precision: Any = _PRECISIONS[recipe.train.precision]
    strategy = "ddp" if count * nodes > 1 else "auto"
    try:
        fabric = Fabric(accelerator=accelerator, devices=count, num_nodes=nodes, strategy=strategy, precision=precision)
        fabric.launch()
    except (MisconfigurationException, ValueError) as error:
        raise RecipeError(f"--devices {devices} --nodes {nodes} --accelerator {accelerator}: {error}") from error
    return fabric


def require_accelerator(accelerator: str) -> None:
    """Refuse an accelerator that this machine does not have.

    Raises:
        RecipeError: It is ``"cuda"`` and there is no CUDA device.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise RecipeError("--accelerator cuda: no CUDA device was found; use cpu or auto")


def device_name(device: torch.device) -> str:
    """Return ``cpu`` or the name of the GPU."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"


def memory_bytes(device: torch.device) -> int | None:
    """Return the peak memory: of the device's allocator on CUDA, resident in the process on the CPU.

    None where the system does not tell.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second SIGINT raises KeyboardInterrupt at once."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def determinism(mode: str) -> Iterator[None]:
    """Set torch's deterministic algorithms to ``off``, ``warn`` or ``strict`` inside, and restore them."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warn")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _open_folder(recipe: Recipe, out: Path | None, overwrite: bool, resume: Path | None, source: Path | None) -> Path:
    """Make or reopen the run folder and write what is known before training."""
    if resume is not None:
        return resume
    stem = f"{source.stem if source else recipe.task.name}-{recipe.model.cell}"
    folder = new_run_folder(out, stem=stem, overwrite=overwrite)
    if source is not None:
        with suppress(OSError):
            (folder / "source.yaml").write_bytes(source.read_bytes())
    _record_start(recipe, folder)
    return folder


def _record_start(recipe: Recipe, folder: Path) -> None:
    # What a killed process was writing when it died.
    for orphan in (*folder.glob(".*.tmp"), *folder.glob("checkpoints/.*.tmp")):
        orphan.unlink(missing_ok=True)
    recipe.save(folder / "recipe.yaml")
    write_json(folder / "environment.json", environment())


def _check_resumed(recipe: Recipe, folder: Path) -> None:
    """Refuse, before anything is loaded or written, what a run cannot change on its way."""
    if not (folder / "recipe.yaml").is_file():
        raise DataError(f"--resume {folder}: not a run folder (it has no recipe.yaml)")
    before, now = (each.dump() for each in (load_recipe(str(folder / "recipe.yaml")), recipe))
    fixed = {"task.name": (before["task"]["name"], now["task"]["name"])}
    fixed |= {
        f"model.{key}": (before["model"].get(key), value)
        for key, value in now["model"].items()
        if key not in ("backend", "dropout")
    }
    for key, (old, new) in fixed.items():
        if old != new:
            raise RecipeError(
                f"--resume {folder}: {key} of this run is {old!r}, got {new!r}; a resumed run keeps its data and its "
                "model: start a new run for others"
            )


def _on_first(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """Do something in the first process and give its result, or its error, to all."""
    result: Any = None
    if fabric.global_rank == 0:
        try:
            result = work()
        except MomentumError as error:
            result = error
    if fabric.world_size > 1:
        result = fabric.broadcast(result)
    if isinstance(result, MomentumError):
        raise result
    return result  # type: ignore[no-any-return]


def _first_then_all(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """Do something in the first process of each node, then in the others: a download happens once."""
    with fabric.rank_zero_first(local=True):
        return work()


def _head(dataset: Dataset, count: int) -> Dataset:
    """Return the data set with its evaluation splits cut to their first sequences."""
    from dataclasses import replace

    validation = None if dataset.validation is None else dataset.validation.head(count)
    return replace(dataset, validation=validation, test=dataset.test.head(count))


__all__ = [
    "Progress",
    "Run",
    "determinism",
    "device_name",
    "dry_run",
    "launch",
    "log_step",
    "logged",
    "memory_bytes",
    "require_accelerator",
    "signals",
    "step_info",
    "train",
]
