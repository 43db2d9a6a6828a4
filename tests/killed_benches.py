"""Run a benchmark, kill it with SIGKILL at given moments, run it again, and report its runs. Run as a script.

    python killed_benches.py FOLDER RECIPE MOMENT…

Moments are those of `killed_runs`. Writes to stdout one JSON object: moment to {killed, status, runs}.
"""

from __future__ import annotations

import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from killed_runs import in_a_fork, kill_at, outcome

from momentum_cli.benchmark import bench as module
from momentum_cli.benchmark.report import report as report_module
from momentum_cli.benchmark.running import contender, runner
from momentum_cli.training.launch import import_fabric


def main(base: Path, recipe: str, moments: list[str]) -> None:
    import_fabric()
    torch.set_num_threads(1)
    # A process per cell, which takes longer than all the runs, and pictures, which nothing is killed in.
    runner.measure_memory = lambda runs, *rest: [None] * len(runs)  # type: ignore[assignment]
    module.draw_bench = report_module.write_report = lambda *rest: None  # type: ignore[assignment]
    # All runs are under way at once, and each turn ends with a checkpoint.
    contender.TURN_SECONDS = 0.001
    module.Setting = partial(runner.Setting, save_every_seconds=1e-9)  # type: ignore[assignment, misc]
    report = {}
    for number, moment in enumerate(moments):
        folder = base / f"bench{number}"

        def whole(folder: Path = folder) -> None:
            module.bench([recipe], cells=["lstm,momentum"], seeds="0-1", clock="steps", out=folder)

        def killed(moment: str = moment, whole: Any = whole) -> None:
            kill_at(moment)
            whole()

        killed_there = moment != "none" and in_a_fork(killed) == -signal.SIGKILL
        status = in_a_fork(whole)
        runs = {path.name: outcome(path) for path in sorted((folder / "runs").iterdir())} if status == 0 else {}
        report[moment] = {"killed": killed_there, "status": status, "runs": runs}
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
