"""Run a search, kill it with SIGKILL at given moments, run it again, and report what it found. Run as a script.

    python killed_tunes.py FOLDER RECIPE MOMENT…

Moments are those of `killed_runs`; one may hold several kills, ``replace:9:after+step:3``, of which each is followed by
another start. Writes to stdout one JSON object: moment to {kills, status, trials, best}.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import matplotlib.figure
import optuna
import torch
from killed_runs import in_a_fork, kill_at

from momentum_cli.training.launch import import_fabric
from momentum_cli.tuning import finish
from momentum_cli.tuning.tune import tune


def found(folder: Path) -> dict[str, Any]:
    """What a finished search found: no times."""
    content = json.loads((folder / "tune.json").read_text())
    kept = ("trial", "status", "values", "score", "best", "curve", "steps", "error")
    trials = [{key: row[key] for key in kept} for row in content["trials"]]
    return {"trials": trials, "best": (folder / "best.yaml").read_text()}


def main(base: Path, recipe: str, moments: list[str]) -> None:
    import_fabric()
    assert matplotlib.figure
    assert optuna
    logging.disable()
    # Pictures, which nothing is killed in, take longer than the trials.
    finish.draw_search = finish.write_report = lambda *rest: None  # type: ignore[assignment]
    torch.set_num_threads(1)
    report = {}
    for number, moment in enumerate(moments):
        folder = base / f"search{number}"
        kills = 0
        for kill in [] if moment == "none" else moment.split("+"):

            def killed(kill: str = kill, folder: Path = folder) -> None:
                kill_at(kill)
                tune(recipe, out=folder)

            kills += in_a_fork(killed) == -signal.SIGKILL
        status = in_a_fork(lambda folder=folder: tune(recipe, out=folder))  # type: ignore[misc]
        report[moment] = {"kills": kills, "status": status} | (found(folder) if status == 0 else {})
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
