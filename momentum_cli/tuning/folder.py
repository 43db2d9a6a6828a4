"""The folder of a search: its files, and whether it continues an earlier one.

plan.json       the recipe with its section `tune`
study.journal   Optuna's journal, unless the study is in a database
trials/NNNN/    one run folder per trial
tune.json, best.yaml, trials.csv, *.png, report.html    the result, written at the end
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.reading import parse_json, read_text
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.runs.files import json_text, write_json
from momentum_cli.runs.lock import PLAN, Entry, entered
from momentum_cli.runs.numbered import check_no_links, clear, emptied, first_difference, numbered
from momentum_cli.runs.numbered import earlier as earlier_folders

RESULT, TRIALS, JOURNAL = "tune.json", "trials", "study.journal"
FORMAT = "momentumrnn tune plan"
# How long to wait for the first worker, which has the folder for itself until trials of the dead are given back.
PATIENCE_SECONDS = 30.0
_FILES = (PLAN, RESULT, f"{JOURNAL}*", "best.yaml", "trials.csv", "report.html", "*.png", ".*.tmp")


def plan_of(recipe: Recipe, name: str) -> dict[str, Any]:
    """Return the plan of a search, JSON-able.

    Args:
        recipe: The recipe with its section `tune`.
        name: Name of the recipe.
    """
    plan: dict[str, Any] = json.loads(json_text({"format": FORMAT, "name": name, "recipe": recipe.dump()}))
    return plan


def same_search(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return True if two plans are of one search, even if one of them has more trials.

    A key that one of them lacks, because the version that wrote it had no such key, has its default.

    Raises:
        DataError: One of them is no plan.
    """
    return _without_trials(one) == _without_trials(other)


def _without_trials(plan: Mapping[str, Any]) -> dict[str, Any]:
    recipe = recipe_of(plan).dump()
    recipe["tune"] = {key: value for key, value in (recipe.get("tune") or {}).items() if key != "trials"}
    return {"recipe": recipe}


def study_name(plan: Mapping[str, Any]) -> str:
    """Return the name of the study of a plan in a database, which may hold other studies too."""
    digest = hashlib.sha256(json.dumps(_without_trials(plan), sort_keys=True).encode()).hexdigest()
    return f"{plan['name']}-{digest[:12]}"


def recipe_of(plan: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a plan.

    Raises:
        DataError: It has none, or one with mistakes.
    """
    if not isinstance(plan, Mapping) or plan.get("format") != FORMAT or not isinstance(plan.get("recipe"), dict):
        raise DataError(f"{PLAN} is not the plan of a search")
    if not isinstance(plan.get("name"), str):
        raise DataError(f"{PLAN} is damaged: it lacks the name of the search")
    try:
        recipe = parse_recipe(plan["recipe"])
    except RecipeError as error:
        raise DataError(f"{PLAN} is damaged, or of another version: {error}") from error
    if recipe.tune is None:
        raise DataError(f"{PLAN} is damaged: its recipe lacks the section tune")
    return recipe


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Return the plan in a folder; None if it has none.

    Raises:
        DataError: It is damaged.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan = parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); name another folder") from error
    return plan if isinstance(plan, dict) and plan.get("format") == FORMAT else None


class Opened(NamedTuple):
    """The folder of a search.

    Args:
        folder: The folder.
        again: True if it already holds the same search.
        alone: True if no other worker uses it, and none can before `entry` admits others.
        entry: The place in it.
    """

    folder: Path
    again: bool
    alone: bool
    entry: Entry


def open_folder(
    out: Path | None,
    plan: Mapping[str, Any],
    *,
    option: str = "--out",
    join: bool = False,
    overwrite: bool = False,
    base: Path = Path("runs"),
    held: contextlib.ExitStack,
) -> Opened:
    """Make the folder of a search, or reopen that of an earlier one.

    The first worker has the folder for itself until it calls ``entry.admit()``; others wait for that.

    Args:
        out: The folder itself: new, empty, or of the same search. None: the newest unfinished one in `base` of the same
            search, or else a new numbered one.
        plan: Plan of the search.
        option: The option that gave the folder, for messages.
        join: True if other workers may use the folder.
        overwrite: Delete an earlier search in `out`.
        base: Parent of numbered folders.
        held: Receives a lock that keeps out processes that want the folder for themselves.

    Raises:
        RecipeError: Another process uses the folder, or it holds something else.
        DataError: The plan is damaged; or the journal, a trial or their directory is a link.
    """
    name = f"tune-{plan['name']}"
    try:
        found = _unfinished(base, name, plan, held) if out is None else None
        if found is None:
            folder = numbered(base, name) if out is None else out
            if folder.exists() and not folder.is_dir():
                raise RecipeError(f"{option} {folder} is a file; name a new or an empty folder")
            folder.mkdir(parents=True, exist_ok=True)
            entry = held.enter_context(entered(folder, "search", patience_seconds=PATIENCE_SECONDS))
        else:
            folder, entry = found
        # Without locks, workers that join count on others, whose beats they then watch.
        alone = not join if entry.alone is None else entry.alone
        if not alone and not join:
            raise RecipeError(f"{folder}: another search is running in this folder; add a worker to it with --join")
        earlier = read_plan(folder)
        if earlier is None and not emptied(folder, PLAN, TRIALS, alone=alone):
            raise RecipeError(f"{option} {folder} is not empty and not a search; name a new or an empty folder")
        if earlier is not None and overwrite:
            clear(folder, _FILES, (TRIALS,))
            earlier = None
        if earlier is not None and not same_search(earlier, plan):
            difference = first_difference(*(_without_trials(each)["recipe"] for each in (earlier, plan)))
            raise RecipeError(
                f"{option} {folder} holds another search ({difference}); name another folder, or "
                "--overwrite to start anew"
            )
        check_no_links(folder, [JOURNAL, TRIALS, *(f"{TRIALS}/{path.name}" for path in (folder / TRIALS).glob("*"))])
        (folder / TRIALS).mkdir(exist_ok=True)
        if earlier != plan:
            write_json(folder / PLAN, plan)
    except OSError as error:
        raise RecipeError(
            f"cannot make a folder for the search ({error.strerror or error}: {error.filename}); name another one with "
            f"{option}"
        ) from error
    return Opened(folder, earlier is not None, alone, entry)


def _unfinished(
    base: Path, name: str, plan: Mapping[str, Any], held: contextlib.ExitStack
) -> tuple[Path, Entry] | None:
    """Enter the newest unfinished folder of a search in which nobody works."""
    for path in earlier_folders(base, name):
        if not _is_unfinished(path, plan):
            continue
        with contextlib.ExitStack() as own, contextlib.suppress(RecipeError):
            entry = own.enter_context(entered(path, "search", patience_seconds=0))
            # Whoever worked in it may have ended since the first look.
            if entry.alone is not False and _is_unfinished(path, plan):
                held.push(own.pop_all())
                return path, entry
    return None


def _is_unfinished(folder: Path, plan: Mapping[str, Any]) -> bool:
    with contextlib.suppress(DataError):
        before = None if _is_over(folder) else read_plan(folder)
        return before is not None and same_search(before, plan)
    return False


def _is_over(folder: Path) -> bool:
    """Return whether the search in a folder has made all its trials, and not only those before a time limit."""
    path = folder / RESULT
    if not path.is_file():
        return False
    try:
        return bool(parse_json(read_text(path)).get("over", True))
    except (ValueError, AttributeError):
        return True
