"""Setup of a training: devices, processes, signals, determinism."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from momentum_cli.errors import MomentumError, RecipeError, RunError
from momentum_cli.machine import peak_resident_bytes
from momentum_cli.messages import refuse, unknown
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.runs.folder import is_run_folder
from momentum_cli.training.meeting import connect
from momentum_cli.training.precision import chosen_precision, fabric_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_T = TypeVar("_T")

ACCELERATORS = ("auto", "cpu", "cuda")


def import_fabric() -> None:
    """Import Lightning Fabric without TorchMetrics.

    Fabric imports it, where it is installed, only to compare its version; with it come torchvision and SciPy, which
    takes as long as importing torch. Here Fabric finds a module that has a version and nothing else.
    """
    name = "torchmetrics"
    stand_in = ModuleType(name)
    if name not in sys.modules and "lightning_fabric" not in sys.modules:
        with suppress(importlib.metadata.PackageNotFoundError):
            stand_in.__version__ = importlib.metadata.version(name)  # type: ignore[attr-defined]
            sys.modules[name] = stand_in
    try:
        importlib.import_module("lightning_fabric")
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


def launch(recipe: Recipe, devices: int | str, nodes: int, accelerator: str) -> Fabric:
    """Return a launched Fabric; under ``torchrun`` it uses the processes that torchrun started.

    Raises:
        RecipeError: The accelerator or the number of devices is not available.
        RunError: The processes do not find each other.
    """
    import_fabric()
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    # Its messages about process groups do not help the user of a command.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if devices == "auto":
        devices = torch.cuda.device_count() if accelerator == "cuda" else 1
    if not str(devices).isdecimal() or int(devices) < 1:
        raise RecipeError(refuse("--devices", devices, "be auto or a number >= 1"))
    count = int(devices)
    require_accelerator(accelerator)
    if accelerator == "cpu":
        # Lightning sets it when it is imported, and torch's Adam would then search the disk for NVIDIA's library in
        # every step.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if not recipe.train.scale_batch and recipe.train.batch_size < count * nodes:
        must = f"be at least {count * nodes}, the number of processes that share it"
        raise RecipeError(refuse("train.batch_size", recipe.train.batch_size, must))
    if nodes < 1:
        raise RecipeError(refuse("--nodes", nodes, "be at least 1"))
    precision = fabric_precision(chosen_precision(recipe.train.precision, accelerator), accelerator)
    strategy = "ddp" if count * nodes > 1 else "auto"
    try:
        fabric = Fabric(accelerator=accelerator, devices=count, num_nodes=nodes, strategy=strategy, plugins=precision)
        with together(fabric):
            connect(fabric)
            fabric.launch()
    except (MisconfigurationException, ValueError) as error:
        raise RecipeError(f"--devices {devices} --nodes {nodes} --accelerator {accelerator}: {error}") from error
    return fabric


def require_accelerator(accelerator: str) -> None:
    """Refuse an accelerator that this machine does not have.

    Raises:
        RecipeError: It is ``"cuda"`` and no CUDA device was found, or it is none of `ACCELERATORS`.
    """
    if accelerator not in ACCELERATORS:
        raise RecipeError(f"--accelerator: {unknown('accelerator', accelerator, ACCELERATORS)}")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise RecipeError("--accelerator cuda: no CUDA device was found; use cpu or auto")


def device_name(device: torch.device) -> str:
    """Return ``cpu`` or the name of the GPU."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"


def memory_bytes(device: torch.device) -> int | None:
    """Return the peak memory: of the device's allocator on CUDA, resident in the process on the CPU.

    None if the system does not report it.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of exiting; a second SIGINT raises KeyboardInterrupt at once."""
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
    """Set torch's deterministic algorithms to ``off``, ``warn`` or ``strict`` inside the block, and restore them."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warn")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def is_restarted(fabric: Fabric) -> bool:
    """Return whether ``torchrun --max-restarts`` has started this training again.

    The agents of several machines count separately, and an agent that only follows the others does not count.
    """
    return _total(fabric, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))) > 0


def may_restart() -> bool:
    """Return whether torchrun starts this training again after a failure."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


def require_shared(fabric: Fabric, folder: Path) -> None:
    """Refuse a run folder that only some processes see: all read its checkpoints, which the first one writes.

    Raises:
        RunError: The machines of the training have no file system in common there.
    """
    seen = _total(fabric, int(is_run_folder(folder)))
    if seen < fabric.world_size:
        raise RunError(
            f"{folder}: only {seen} of {fabric.world_size} processes see the run folder; give --out a folder on a file "
            "system that all machines share"
        )


def _total(fabric: Fabric, number: int) -> int:
    """Return the sum of the numbers of all processes."""
    if fabric.world_size == 1:
        return number
    return int(fabric.all_reduce(torch.tensor(number, device=fabric.device), reduce_op="sum"))  # type: ignore[arg-type]


# Words of gloo and NCCL about a process that has died.
_GONE = (
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "connection refused",
    "nccl",
    "gloo",
    "timed out waiting",
    "connectfullmesh",
)


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Turn errors caused by the loss of another process of the training into one that says so.

    Raises:
        RunError: A process can no longer be reached.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or any(word in str(error).casefold() for word in _GONE)
        if fabric.world_size == 1 or not lost:
            raise
        # Without the leading place in torch's source and the trailing advice.
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).strip()).partition(". ")[0].partition("\n")[0]
        raise RunError(
            f"another of the {fabric.world_size} processes of this training ended or can no longer be reached, so it "
            f"cannot go on; see the error of that process, then continue the run from its last checkpoint ({reason})"
        ) from error


def on_first(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """Run a function in the first process, and pass its result or its error to all."""
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


def first_then_all(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """Run a function in the first process of each node, then in the others, so that a download happens once."""
    with fabric.rank_zero_first(local=True):
        return work()
