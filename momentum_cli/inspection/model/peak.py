"""The measured memory of a training step: the growth of a fresh process.

Axes: T time, B batch, D input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from momentum_cli.cells.plugins import load_plugins, loaded_files
from momentum_cli.data import Sizes
from momentum_cli.errors import RunError
from momentum_cli.machine import forget_peak, peak_resident_bytes, resident_bytes
from momentum_cli.recipe.building import build_optimizer
from momentum_cli.recipe.recipe import Recipe, parse_recipe


def measured_peak(recipe: Recipe, sizes: Sizes, batch: int) -> int | None:
    """Return the growth of a process's resident memory by a model, its optimizer, a batch and one training step.

    A training step of a tiny model comes first, so that code and thread pools are not counted. Only Linux reports the
    peak since a chosen moment.

    Args:
        recipe: Model, optimizer and backend.
        sizes: Sizes of the task; the data are random.
        batch: B.

    Returns:
        Bytes, or None if the system does not report them.

    Raises:
        RunError: The process failed.
    """
    if not forget_peak():
        return None
    work = {"recipe": recipe.dump(), "sizes": vars(sizes), "batch": batch, "plugins": loaded_files()}
    done = subprocess.run(
        [sys.executable, "-m", "momentum_cli.inspection.model.peak"],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        raise RunError(f"could not measure the memory of a training step: {reason}; try a smaller train.batch_size")
    return int(done.stdout) or None


def _train_once(recipe: Recipe, sizes: Sizes, batch: int) -> None:
    import torch

    from momentum_cli.recipe.building import build_sequence_model
    from momentum_cli.training.objective import Objective

    model = build_sequence_model(recipe, sizes.input_size, sizes.output_size, sizes.output).train()
    optimizer = build_optimizer(recipe, model)
    inputs = torch.rand(batch, sizes.length, sizes.input_size)
    shape = (batch, sizes.length) if sizes.output == "every" else (batch,)
    values = (*shape, sizes.output_size)
    targets = torch.rand(values) if sizes.loss == "mse" else torch.zeros(shape, dtype=torch.int64)
    outputs, _ = model(inputs)
    loss = Objective(sizes.loss, sizes.output).loss_sum(outputs, targets) / targets.numel()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _growth(recipe: Recipe, sizes: Sizes, batch: int) -> int:
    tiny = recipe.override("model.hidden_size=4", "train.batch_size=1")
    _train_once(tiny, replace(sizes, length=2), 1)
    before = resident_bytes() if forget_peak() else None
    if before is None:
        return 0
    _train_once(recipe, sizes, batch)
    return (peak_resident_bytes() or 0) - before


def _main() -> None:
    work: dict[str, Any] = json.load(sys.stdin)
    load_plugins(work["plugins"])
    growth = _growth(parse_recipe(work["recipe"]), Sizes(**work["sizes"]), work["batch"])
    sys.stdout.write(str(growth))


if __name__ == "__main__":
    _main()
