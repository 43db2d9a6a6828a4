"""Run a training, kill it with SIGKILL at given moments, resume it, and report the result. Run as a script.

    python killed_runs.py FOLDER MOMENT… [KEY=VALUE…]

A moment is ``replace:N:before`` or ``replace:N:after`` (before or after the N-th time a finished file takes its name),
``step:N`` (in the middle of optimizer step N), ``time:SECONDS`` after the start, or ``none``. KEY=VALUE changes the
recipe. Forks one process per training after importing torch once. Writes to stdout one JSON object: moment to {killed,
status, resume_status, digest, metrics, result, files}.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_fabric
import matplotlib.figure  # imported before the forks, so that each is spared the second it takes
import torch

from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

RECIPE: dict[str, Any] = {
    "task": {"name": "digits", "pixels_per_step": 8},
    "model": {"cell": "momentum", "hidden_size": 6, "num_layers": 2, "dropout": 0.2},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {
        "epochs": 2,
        "batch_size": 256,
        "seed": 1,
        "eval_every_n_steps": 4,
        "checkpoint_every_n_steps": 3,
        "log_every_n_steps": 1,
    },
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(moment: str) -> None:
    """Arrange for this process to be killed."""
    kind, _, rest = moment.partition(":")
    if kind == "replace":
        number, when = rest.split(":")
        original, calls = os.replace, 0

        def replace(source: Any, target: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == int(number) and when == "before":
                die()
            original(source, target)
            if calls == int(number):
                die()

        os.replace = replace  # type: ignore[assignment]
    elif kind == "time":
        killed = os.getpid()
        if os.fork() == 0:
            time.sleep(float(rest))
            os.kill(killed, signal.SIGKILL)
            os._exit(0)
    elif kind == "step":
        change = Trainer._change

        def dying(self: Trainer, *given: Any) -> None:
            if self.progress.step + 1 == int(rest):
                die()
            change(self, *given)

        Trainer._change = dying  # type: ignore[method-assign]


def in_a_fork(work: Callable[[], None]) -> int:
    """Return the exit status of a forked process that does some work; negative is a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def outcome(folder: Path) -> dict[str, Any]:
    """Everything about a finished run that must not depend on when it was killed: no times."""
    digest = hashlib.sha256()
    last = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    best = load_checkpoint(folder / "checkpoints" / last.data["progress"]["best"]["file"])
    for checkpoint in (last, best):
        for name, tensor in sorted(checkpoint.tensors.items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
    clocks = {"train_seconds", "wall_seconds", "samples_per_second"}
    rows = [{k: v for k, v in row.items() if k not in clocks} for row in read_metrics(folder)]
    result = json.loads((folder / "result.json").read_text())
    kept = ("steps", "samples", "epochs", "validation", "test", "best", "stop_reason")
    return {
        "digest": digest.hexdigest(),
        "metrics": rows,
        "result": {key: result[key] for key in kept},
        "files": sorted(path.name for path in (folder / "checkpoints").iterdir()),
    }


def main(base: Path, moments: list[str], overrides: list[str]) -> None:
    assert lightning_fabric
    assert matplotlib.figure
    recipe = parse_recipe(RECIPE).override(*overrides)
    torch.set_num_threads(1)
    report = {}
    for moment in moments:
        folder = base / moment.replace(":", "-")

        def first(moment: str = moment, folder: Path = folder) -> None:
            kill_at(moment)
            train(recipe, out=folder)

        def again(folder: Path = folder) -> None:
            train(recipe, resume=folder)

        status = in_a_fork(first)
        entry: dict[str, Any] = {"killed": status == -signal.SIGKILL, "status": status}
        if moment != "none":
            entry["resume_status"] = in_a_fork(again)
        report[moment] = entry | (outcome(folder) if (folder / "result.json").is_file() else {})
    print(json.dumps(report))


if __name__ == "__main__":
    given = sys.argv[2:]
    main(Path(sys.argv[1]), [one for one in given if "=" not in one], [one for one in given if "=" in one])
