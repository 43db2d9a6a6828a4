"""The folder of a benchmark: its files, and which of them are kept when a benchmark continues.

plan.json       the plan and the machine
runs/ID/        one run folder per training
bench.json, runs.csv, diagnostics.csv, *.png, report.html    the result, written at the end
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.plan.plan import Plan, RunSpec
from momentum_cli.benchmark.running.outcome import RESULT, read_outcome
from momentum_cli.errors import Interrupted, RecipeError
from momentum_cli.reading import parse_json, read_text
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.runs.files import write_json
from momentum_cli.runs.lock import PLAN, locked
from momentum_cli.runs.numbered import check_no_links, clear, emptied, first_difference, numbered
from momentum_cli.runs.numbered import earlier as earlier_folders

BENCH = "bench.json"
RUNS = "runs"
_FILES = (
    *(BENCH, PLAN, "memory.json", "tuning.json", "runs.csv", "diagnostics.csv", "report.html"),
    *("*.png", ".*.tmp"),
)
_FORMAT = "momentumrnn bench plan"
_EARLIER = "earlier_machines"


def identity(plan: Plan, *, scored: str, tuned: int, where: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that identify a benchmark, JSON-able."""
    return {
        "format": _FORMAT,
        "recipes": {c.name: {entry.label: entry.recipe.dump() for entry in c.entries} for c in plan.comparisons},
        "seeds": list(plan.seeds),
        "baseline": plan.baseline,
        "full": plan.full,
        "tuned": tuned,
        "scored": scored,
        "machine": where,
    }


def open_bench_folder(
    out: Path | None,
    wanted: dict[str, Any],
    *,
    overwrite: bool,
    base: Path = Path("runs"),
    held: contextlib.ExitStack,
) -> tuple[Path, bool, list[dict[str, Any]]]:
    """Make the folder of a benchmark, or reopen the one that was interrupted.

    Args:
        out: the folder itself: new, empty, or of a benchmark, whose finished runs are kept. None: the newest unfinished
            benchmark in `base` with the same identity, or else a new numbered folder.
        wanted: its `identity`.
        overwrite: delete the files of an earlier benchmark in `out`.
        base: parent of numbered folders.
        held: receives the lock of the folder, which is taken before anything in it is changed. If it is left by an
            error before there is a run, such as damaged data, what was made here is deleted again.

    Returns:
        The folder; True if it holds an earlier benchmark; and the other machines on which it ran before, none if
        seconds are the scored clock.

    Raises:
        RecipeError: another benchmark is running in the folder, or `out` holds something else, or times of another
            machine or clock.
        DataError: A run in it, or their directory, is a link.
    """
    # Compare both after JSON, where tuples are lists and infinities are words.
    wanted = json.loads(json.dumps(wanted))
    machines: list[dict[str, Any]] = []
    name = "bench-" + "-".join(wanted["recipes"])
    above = base if out is None else out.parent
    made = [path for path in (above, *above.parents) if not path.exists()]
    is_new = out is None or not out.exists()
    try:
        folder = _unfinished(base, name, wanted) or numbered(base, name) if out is None else out
        if folder.exists() and not folder.is_dir():
            raise RecipeError(f"--out {folder} is a file; name a new or an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(folder, "benchmark"))
        earlier = _read_plan(folder)
        if earlier is None and not emptied(folder, PLAN, RUNS):
            raise RecipeError(f"--out {folder} is not empty and not a benchmark; name a new or an empty folder")
        if earlier is not None and overwrite:
            clear(folder, _FILES, (RUNS,))
            earlier = None
        if earlier is not None:
            machines = _machines_before(folder, earlier, wanted)
        check_no_links(folder, [RUNS, *(f"{RUNS}/{path.name}" for path in (folder / RUNS).glob("*"))])
        if earlier is None:
            held.push(partial(_withdraw, folder, [folder, *made] if is_new else []))
        (folder / RUNS).mkdir(exist_ok=True)
        write_json(folder / PLAN, wanted | ({_EARLIER: machines} if machines else {}))
    except OSError as error:
        raise RecipeError(
            f"cannot make a folder for the benchmark ({error.strerror or error}: {error.filename}); name another one "
            "with --out"
        ) from error
    return folder, earlier is not None, machines


def _withdraw(folder: Path, made: list[Path], kind: type[BaseException] | None, *_: object) -> None:
    """Delete a new benchmark that ended with an error before it had a run; one that a signal ended continues.

    Args:
        folder: its folder.
        made: the folders that were made for it, the inner ones first.
        kind: type of the error, None if there was none.
    """
    if kind is None or issubclass(kind, Interrupted) or not issubclass(kind, Exception):
        return
    if {path.name for path in folder.iterdir()} <= {PLAN, RUNS} and not any((folder / RUNS).glob("*")):
        clear(folder, [PLAN], [RUNS])
        with contextlib.suppress(OSError):  # others may use them by now
            for path in made:
                path.rmdir()


def kept_results(folder: Path, runs: Iterable[RunSpec]) -> dict[str, dict[str, Any]]:
    """Return the results of the runs that are finished.

    Raises:
        RecipeError: A run of the same name has another recipe.
        DataError: A result is damaged.
    """
    results = {}
    for run in runs:
        home = folder / RUNS / run.id
        if not (home / "recipe.yaml").is_file():
            continue
        before = load_recipe(home / "recipe.yaml")
        if not _same_run(before, run.recipe):
            raise RecipeError(
                f"{home} is a run with another recipe ({first_difference(before.dump(), run.recipe.dump())}); name "
                "another folder with --out, or --overwrite to start anew"
            )
        if (home / RESULT).is_file():
            results[run.id] = read_outcome(home)
    return results


def _same_run(before: Recipe, now: Recipe) -> bool:
    """Return True if both recipes give the same steps and evaluations.

    Trackers have no effect, and without stopping the target has none.
    """
    before = replace(before, train=before.train.model_copy(update={"loggers": now.train.loggers}))
    if not before.train.stop_at_target and not now.train.stop_at_target:
        before = replace(before, target=now.target)
    return before == now


def _unfinished(base: Path, name: str, wanted: dict[str, Any]) -> Path | None:
    for path in earlier_folders(base, name):
        if (path / BENCH).exists() or (plan := _read_plan(path)) is None:
            continue
        plan.pop(_EARLIER, None)
        if plan == wanted:
            return path
    return None


def _read_plan(folder: Path) -> dict[str, Any] | None:
    if not (folder / PLAN).exists():
        return None
    try:
        plan = parse_json(read_text(folder / PLAN))
    except ValueError as error:
        raise RecipeError(f"{folder / PLAN} is damaged ({error}); name another --out") from error
    return plan if isinstance(plan, dict) and plan.get("format") == _FORMAT else None


def _machines_before(folder: Path, earlier: dict[str, Any], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the other machines on which the benchmark ran, or refuse them if seconds are the scored clock."""
    here, there = wanted["machine"], earlier["machine"]
    if wanted["scored"] == "steps":
        # Steps are the same on all machines, even those of runs that were scored in seconds.
        before = [*earlier.get(_EARLIER, []), there]
        return [machine for n, machine in enumerate(before) if machine != here and machine not in before[:n]]
    differing = [f"{key} {there.get(key)} there, {here[key]} here" for key in here if there.get(key) != here[key]]
    if _EARLIER in earlier:
        differing.append("some of them were made on a third machine")
    elif earlier["scored"] != wanted["scored"]:
        differing.append(f"scored clock {earlier['scored']} there, {wanted['scored']} here")
    if differing:
        raise RecipeError(
            f"{folder} holds runs whose times cannot be compared with those of this one ({'; '.join(differing)}); "
            "compare steps with --clock steps, name another --out, or --overwrite to start anew"
        )
    return []
