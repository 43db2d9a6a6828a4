"""Run a training, kill it with SIGKILL at given moments, resume it, and report the result. Run as a script.

    python killed_runs.py FOLDER MOMENT… [KEY=VALUE…] [--recipe NAME]

A moment is ``replace:N:before`` or ``replace:N:after`` (before or after the N-th time a finished file takes its name),
``step:N`` (in the middle of optimizer step N), ``evaluation:N`` (before the N-th batch that is evaluated since the
start), ``time:SECONDS`` after the start, or ``none``. It may hold several kills, ``step:3+evaluation:9``, of which each
is followed by a resumption that the next one kills. KEY=VALUE changes the recipe: that of this file, or a shipped one.
Forks one process per training after importing torch once. Writes to stdout one JSON object: moment to {killed, status,
resume_status, digest, metrics, result, files}, where ``killed`` is whether every kill hit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure  # imported before the forks, so that each is spared the second it takes
import torch

from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.launch import import_fabric
from momentum_cli.training.tally import Tally
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
    elif kind == "evaluation":
        add, batches = Tally.add, 0

        def counted(self: Tally, *given: Any) -> None:
            nonlocal batches
            batches += 1
            if batches == int(rest):
                die()
            add(self, *given)

        Tally.add = counted  # type: ignore[method-assign]


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


CLOCKS = {"train_seconds", "wall_seconds", "samples_per_second", "ms_per_step"}


def timeless(value: Any) -> Any:
    """A value of a result without what depends on the clock."""
    return {key: timeless(one) for key, one in value.items() if key not in CLOCKS} if isinstance(value, dict) else value


def outcome(folder: Path) -> dict[str, Any]:
    """Everything about a finished run that must not depend on when it was killed: no times."""
    digest = hashlib.sha256()
    last = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    best = load_checkpoint(folder / "checkpoints" / last.data["progress"]["best"]["file"])
    for checkpoint in (last, best):
        for name, tensor in sorted(checkpoint.tensors.items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
    result = timeless(json.loads((folder / "result.json").read_text()))
    return {
        "digest": digest.hexdigest(),
        "metrics": [timeless(row) for row in read_metrics(folder)],
        "result": {key: value for key, value in result.items() if key not in ("run_dir", "environment")},
        "files": sorted(path.name for path in (folder / "checkpoints").iterdir()),
    }


def main(base: Path, recipe: Recipe, moments: list[str]) -> None:
    import_fabric()
    assert matplotlib.figure
    torch.set_num_threads(1)
    report = {}
    for number, moment in enumerate(moments):
        folder = base / (moment.replace(":", "-") if "+" not in moment else f"several{number}")

        def again(folder: Path = folder) -> None:
            train(recipe, resume=folder)

        def first(folder: Path = folder) -> None:
            train(recipe, out=folder)

        statuses = []
        for kill in moment.split("+"):

            def killed(kill: str = kill, work: Callable[[], None] = again if statuses else first) -> None:
                kill_at(kill)
                work()

            statuses.append(in_a_fork(killed))
        entry: dict[str, Any] = {"killed": set(statuses) == {-signal.SIGKILL}, "status": statuses[-1]}
        if moment != "none":
            entry["resume_status"] = in_a_fork(again)
        report[moment] = entry | (outcome(folder) if (folder / "result.json").is_file() else {})
    print(json.dumps(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("given", nargs="+")
    parser.add_argument("--recipe")
    options = parser.parse_intermixed_args()
    chosen = load_recipe(options.recipe) if options.recipe else parse_recipe(RECIPE)
    changes = [one for one in options.given if "=" in one]
    main(options.folder, chosen.override(*changes), [one for one in options.given if "=" not in one])
