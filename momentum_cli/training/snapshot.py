"""A trainer as a checkpoint, and a checkpoint back into a trainer, bit for bit."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from momentum_cli.errors import RecipeError
from momentum_cli.runs.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from momentum_cli.training.averaging import ParameterAverage, swapped
from momentum_cli.training.position import Progress
from momentum_cli.training.resuming import check_continues
from momentum_cli.training.trained import describe
from momentum_cli.training.trainer import Trainer


def snapshot(trainer: Trainer) -> Checkpoint:
    """Return everything that determines the next steps. Every process must call it.

    The tensors are the trainer's own, which its next step changes.
    """
    trainer.read()
    fabric, progress, module = trainer.fabric, trainer.progress, trainer.module
    optimizer_tensors, optimizer_data = pack_optimizer(trainer.optimizer.state_dict())
    tensors = {f"model.{name}": t for name, t in module.state_dict().items()}
    averaged = trainer.averaged()
    if averaged is not None:
        # Users of the checkpoint take the average; the training continues from its own parameters.
        tensors |= {f"training.{name}": t for name, t in module.named_parameters()}
        with swapped(module, averaged):
            tensors |= {f"model.{name}": t.clone() for name, t in module.state_dict().items()}
    for number, part in enumerate(trainer.carried if progress.step_in_epoch > 0 else []):
        for index, state in enumerate(part):
            everyone = fabric.all_gather(state) if fabric.world_size > 1 else state[None]
            tensors |= {f"carried.{rank}.{number}.{index}": row for rank, row in enumerate(everyone)}
    tensors |= {f"optimizer.{name}": t for name, t in optimizer_tensors.items()}
    tensors |= {f"attack.{name}": t for name, t in trainer.adversary.tensors.items()}
    tensors |= {f"scale.{name}": t for name, t in trainer.scale.tensors.items()}
    for name, state in trainer.random.tensors.items():
        everyone = fabric.all_gather(state.to(trainer.device)) if fabric.world_size > 1 else state[None]
        tensors |= {f"rng.{name}.{rank}": row.cpu() for rank, row in enumerate(everyone)}
    data = {
        "recipe": trainer.recipe.dump(),
        "progress": asdict(progress),
        "optimizer": optimizer_data,
        "dataset": describe(trainer.dataset) | {"calibration": trainer.shifts},
        "processes": fabric.world_size,
        "group_size": trainer.group_size,
        "sequences": len(trainer.dataset.train),
        "torch": torch.__version__,
    }
    return Checkpoint(tensors, data)


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Continue from a checkpoint of the same model and data.

    Args:
        trainer: A new trainer for the recipe with which the run continues.
        checkpoint: The result of `snapshot`.

    Raises:
        RecipeError: The number of processes differs or, in the middle of an epoch, the batch size; or the parameters do
            not fit the recipe.
    """
    data = checkpoint.data
    progress = Progress(**data["progress"])
    train = trainer.dataset.train
    processes, unit = trainer.fabric.world_size, train.batch_unit
    check_continues(data, trainer.recipe, progress, processes, trainer.group_size, unit, len(train))
    try:
        trainer.module.load_state_dict(checkpoint.group("model"))
        if progress.averaging_from is not None:
            trainer.average = ParameterAverage(trainer.module, progress.averaged)
        if progress.averaged > 0:
            trainer.module.load_state_dict(checkpoint.group("training"), strict=False)
        trainer.adversary.restore(checkpoint.group("attack"))
        trainer.optimizer.load_state_dict(unpack_optimizer(checkpoint.group("optimizer"), data["optimizer"]))
    except (RuntimeError, ValueError, KeyError) as error:
        raise RecipeError(f"the checkpoint does not fit the recipe: {error}") from error
    if not progress.same_target(trainer.progress):
        progress.target = trainer.progress.target
    progress.resume(trainer.dataset.metric, trainer.recipe.train.early_stopping)
    trainer.progress = progress
    trainer.clock.seconds = progress.train_seconds
    rank = trainer.fabric.global_rank
    carried: dict[int, dict[int, Tensor]] = {}
    for name, tensor in checkpoint.group(f"carried.{rank}").items():
        number, index = map(int, name.split("."))
        carried.setdefault(number, {})[index] = tensor.to(trainer.device)
    trainer.carried = [tuple(part[i] for i in sorted(part)) for _, part in sorted(carried.items())]
    trainer.scale.restore(checkpoint.group("scale"))
    saved = checkpoint.group("rng")
    trainer.random.tensors = {name: saved[f"{name}.{rank}"] for name in trainer.random.tensors}
