"""Three workers of one search in forks of one process, as if on three machines; one is killed. Run as a script.

    python joined_tunes.py STUDY RECIPE FOLDER

STUDY is a folder or the URL of a database, in which case the runs of worker I go to FOLDER/I. The first worker dies in
the middle of its second trial. Writes to stdout one JSON object: the exit statuses, and what the other two found.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.figure
import optuna
import torch
from killed_runs import die, in_a_fork

from momentum_cli.training.launch import import_fabric
from momentum_cli.tuning import study
from momentum_cli.tuning.trial import Trial
from momentum_cli.tuning.tune import tune

WORKERS = 3


def work(place: str, recipe: str, folder: Path, number: int) -> None:
    # Its own name, so that its death shows in its beat only.
    study._HOST = f"machine{number}"
    study.Study.__init__.__kwdefaults__ |= {"beat_seconds": 0.2, "grace_seconds": 5.0}  # type: ignore[index]
    if number == 0:
        begun, evaluate = 0, Trial._evaluate

        def dying(self: Trial) -> None:
            nonlocal begun
            begun += 1
            if begun == 3:  # a trial has two evaluations
                die()
            evaluate(self)

        Trial._evaluate = dying  # type: ignore[method-assign]
    out = folder / str(number)
    content = tune(recipe, join=place, out=out if "://" in place else None)
    (folder / f"found{number}.json").write_text(json.dumps([row["trial"] for row in content["trials"]]))


def main(place: str, recipe: str, folder: Path) -> None:
    import_fabric()
    assert matplotlib.figure
    assert optuna
    logging.disable()
    torch.set_num_threads(1)
    folder.mkdir()
    statuses: list[Any] = [None] * WORKERS

    import threading

    def fork(number: int) -> None:
        statuses[number] = in_a_fork(lambda: work(place, recipe, folder, number))

    threads = [threading.Thread(target=fork, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
        # The first one has its turn before the others take all trials.
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("found*.json"))]
    print(json.dumps({"statuses": statuses, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
