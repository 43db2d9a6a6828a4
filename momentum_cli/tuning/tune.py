"""`momentumrnn tune`: search for better values of a recipe's keys, one ordinary run per trial."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli import kernels
from momentum_cli.cluster.connection import connected, local_trackers, require_steps
from momentum_cli.errors import DataError, Interrupted, RecipeError, RunError
from momentum_cli.machine import timing_facts
from momentum_cli.messages import refuse
from momentum_cli.progress import NullTuneUi, TuneUi
from momentum_cli.recipe.recipe import Recipe, full_overrides, load_recipe
from momentum_cli.tuning.folder import TRIALS, open_folder, plan_of, read_plan, recipe_of, same_search, study_name
from momentum_cli.tuning.space import Space, given_axes, with_tune, without_tune

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

    from momentum_cli.tuning.objective import Objective
    from momentum_cli.tuning.study import Study
    from momentum_cli.tuning.worker import Worker

__all__ = ["tune"]


def tune(
    recipe: str | None,
    *,
    space: Sequence[str] = (),
    trials: int | None = None,
    objective: str | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    join: str | None = None,
    cluster: str | None = None,
    time_limit: float | None = None,
    accelerator: str = "auto",
    data_dir: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    ui: TuneUi | None = None,
) -> dict[str, Any]:
    """Search for better values of a recipe's keys and leave a folder with the best recipe and all trials.

    After an interruption, the same call continues where it stopped.

    Args:
        recipe: File or name of a shipped recipe; None with `join`: that of the study.
        space: ``KEY=AXIS`` texts in place of the recipe's space, see `momentum_cli.recipe.axes`.
        trials, objective, sampler, pruner: Replace the values in the recipe's section `tune`.
        join: Folder or URL of a study that other workers share; it is made if there is none.
        cluster: Address of a Dask scheduler whose workers run the trials.
        time_limit: Seconds after which no trial begins, > 0; None: no limit.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        data_dir: Folder of data sets.
        out: The folder; None: ``runs/tune-RECIPE-NNN``, or the unfinished one of the same search.
        overwrite: Replace the search in `out`.
        overrides: ``key.path=value`` for the recipe.
        ui: Where progress is shown; None shows nothing.

    Returns:
        The content of ``tune.json``.

    Raises:
        MomentumError: Something that the user can act on; RunError when every trial failed.
        Interrupted: SIGINT or SIGTERM arrived; the running trial is saved.
    """
    require_optuna()
    from momentum_cli.tuning.storage import is_url

    shown: TuneUi = ui or NullTuneUi()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("start a search once, not by torchrun or srun; --join and --cluster share its trials")
    if join is not None and cluster is not None:
        raise RecipeError(
            "--join and --cluster: workers of a cluster get their trials from this process; leave out one of them"
        )
    kernels.check_environment()
    database = join is not None and is_url(join)
    if join is not None and not database and out is not None:
        raise RecipeError("--join DIR and --out: the folder of the study is where its trials go; leave out --out")
    if join is not None and overwrite:
        raise RecipeError(
            "--join and --overwrite: a study that others may work on is not replaced; leave out one of them"
        )
    if time_limit is not None and not time_limit > 0:
        raise RecipeError(refuse("--time-limit", time_limit, "be a number of seconds > 0"))
    chosen = {"trials": trials, "objective": objective, "sampler": sampler, "pruner": pruner}
    if recipe is None:
        plan = _joined(join, chosen, given=bool(space or overrides))
    else:
        plan = _plan(recipe, overrides, space, chosen)
    tuned = recipe_of(plan)
    if cluster is not None:
        _require_no_clock(tuned)
    # What the workers of a cluster have is known only to them.
    prepared = _prepared(tuned, data_dir, accelerator if cluster is None else "auto", shown)
    worker = prepared.worker
    with contextlib.ExitStack() as held:
        client = None if cluster is None else held.enter_context(connected(cluster))
        folder, again, alone, entry = open_folder(
            out if join is None or database else Path(join),
            plan,
            option="--out" if join is None or database else "--join",
            join=join is not None,
            overwrite=overwrite,
            held=held,
        )
        shown.note(f"{'continuing in' if again else 'folder of the search:'} {folder}")
        study = _open(plan, prepared, folder, join if database else None, held)
        with worker:
            begun = time.monotonic()

            def late() -> bool:
                return time_limit is not None and time.monotonic() - begun >= time_limit

            study.give_back(alone=alone and not database)
            # Not before: a worker that came in now and began a trial would lose it as that of a dead one.
            entry.admit()
            worker.announce(study, folder, time_limit)
            if client is None:
                _work(study, worker, late)
            else:
                _send(study, worker, client, folder, late, shown, data_dir=data_dir, accelerator=accelerator)
        if worker.received:
            name = signal.Signals(worker.received[-1]).name
            raise Interrupted(
                f"stopped by {name}; the trials so far are in {folder}, and the same command continues them",
                worker.received[-1],
            )
        if not study.is_over:
            shown.note(f"the time limit of {time_limit:g} s is reached; the same command continues the search")
        from momentum_cli.tuning.finish import finish

        content = finish(study, folder, plan, worker.metric, shown)
    rows = content["trials"]
    if rows and all(row["status"] == "failed" for row in rows):
        raise RunError(f"every trial failed, the first one: {rows[0]['error']} ({folder / TRIALS})")
    from momentum_cli.tuning.tables import summary_lines

    shown.finish(partial(summary_lines, content))
    return content


def require_optuna() -> None:
    """Refuse to search without Optuna.

    Raises:
        RecipeError: It is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise RecipeError("tune needs Optuna, which is not installed; install it by: pip install 'momentumrnn[tune]'")


def _plan(recipe: str, overrides: Sequence[str], space: Sequence[str], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan of a recipe."""
    loaded = load_recipe(recipe, overrides)
    searched = given_axes(space, loaded)
    written = loaded.tune.space if loaded.tune is not None and not searched else {}
    for text in full_overrides(recipe, overrides):
        key = text.partition("=")[0]
        if key in searched or key in written:
            where = "--space" if key in searched else "tune.space of the recipe"
            raise RecipeError(
                f"{text}: {key} is searched ({where}); leave out the override, or give a --space without it"
            )
    tuned = with_tune(loaded, searched, **chosen)
    _require_package(tuned)
    return plan_of(tuned, Path(recipe).stem)


def _joined(join: str | None, chosen: Mapping[str, Any], *, given: bool) -> dict[str, Any]:
    """Return the plan of the study that is joined without a recipe."""
    from momentum_cli.tuning.storage import is_url

    if join is None:
        raise RecipeError("tune needs a RECIPE, or --join with a study that has one")
    if given or any(value is not None for name, value in chosen.items() if name != "trials"):
        raise RecipeError("--join without a RECIPE takes the study as it is; give its RECIPE, or leave out the changes")
    plan = _joined_plan(join) if is_url(join) else read_plan(Path(join))
    if plan is None:
        raise RecipeError(f"--join {join}: there is no study yet; give a RECIPE to begin one")
    tuned = with_tune(recipe_of(plan), {}, trials=chosen["trials"])
    _require_package(tuned)
    return plan_of(tuned, plan["name"])


def _joined_plan(url: str) -> dict[str, Any] | None:
    """Return the plan of the only study in a database, or of the only one that is not over."""
    import optuna

    from momentum_cli.tuning.storage import close_storage, open_database

    storage = open_database(url)
    try:
        found = optuna.get_all_study_summaries(storage, include_best_trial=False)
    finally:
        close_storage(storage)
    studies = [study.user_attrs for study in found if "plan" in study.user_attrs]
    plans = [dict(study["plan"]) for study in studies]
    unfinished = [dict(study["plan"]) for study in studies if not study.get("over")]
    if len(plans) > 1 and len(unfinished) != 1:
        names = ", ".join(study_name(plan) for plan in plans)
        raise RecipeError(f"--join: the database has several studies ({names}); give the RECIPE of one")
    return next(iter(unfinished if len(plans) > 1 else plans), None)


def _name_in(storage: BaseStorage, plan: Mapping[str, Any]) -> str:
    """Return the name of the study of a search in a database: an earlier version may have given it another one."""
    import optuna

    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        with contextlib.suppress(DataError):  # of another program, or of a version whose recipes are different
            if "plan" in study.user_attrs and same_search(study.user_attrs["plan"], plan):
                return study.study_name
    return study_name(plan)


def _require_package(recipe: Recipe) -> None:
    assert recipe.tune is not None
    if recipe.tune.sampler == "gp" and importlib.util.find_spec("scipy") is None:
        raise RecipeError(
            "tune.sampler gp needs SciPy, which is not installed; install it by: pip install 'momentumrnn[tune]'"
        )


@dataclass(frozen=True)
class _Prepared:
    """Requirements of a search, checked before its folder is made, so that a refusal leaves none."""

    space: Space
    worker: Worker
    objective: Objective
    pruner: BasePruner
    trials: int


def _prepared(recipe: Recipe, data_dir: Path | None, accelerator: str, ui: TuneUi) -> _Prepared:
    from momentum_cli.tuning.objective import objective_of
    from momentum_cli.tuning.pruners import make_pruner
    from momentum_cli.tuning.worker import Worker

    assert recipe.tune is not None
    options = recipe.tune
    space = Space(without_tune(recipe), options.space)
    trials = options.trials
    if options.sampler == "grid":
        count = len(space.grid())
        trials = min(trials, count)
        if trials < count:
            text = f"the grid has {count:,} points, of which {trials:,} are tried; --trials {count} tries all"
            ui.note(text, "warning")
    worker = Worker(recipe, data_dir=data_dir, accelerator=accelerator, ui=ui)
    pruner = make_pruner(options.pruner, worker.planned_evaluations)
    return _Prepared(space, worker, objective_of(recipe, worker.headline), pruner, trials)


def _open(
    plan: dict[str, Any], prepared: _Prepared, folder: Path, url: str | None, held: contextlib.ExitStack
) -> Study:
    """Open the study in a folder, or in a database, whose connections `held` closes."""
    import optuna

    from momentum_cli.tuning.samplers import make_sampler
    from momentum_cli.tuning.storage import close_storage, open_database, open_journal
    from momentum_cli.tuning.study import Study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_journal(folder) if url is None else open_database(url)
    held.callback(close_storage, storage)
    opened = optuna.create_study(
        storage=storage,
        study_name="tune" if url is None else _name_in(storage, plan),
        direction="maximize" if prepared.objective.maximize else "minimize",
        pruner=prepared.pruner,
        load_if_exists=True,
    )
    earlier = opened.user_attrs.get("plan")
    if earlier is not None and not same_search(earlier, plan):
        raise DataError(f"{folder}: its study is that of another search; name another folder")
    if earlier != plan:
        opened.set_user_attr("plan", plan)
    if prepared.objective.clock == "train_seconds":
        _require_same_machine(opened, folder)
    space, options = prepared.space, prepared.worker.options
    study = Study(opened, space, prepared.objective, trials=prepared.trials, folder=folder / TRIALS)
    opened.sampler = make_sampler(options.sampler, space, prepared.trials, options.seed, study.place_of)
    return study


def _require_same_machine(study: optuna.Study, folder: Path) -> None:
    """Refuse to compare training seconds of this machine with those of another one.

    Raises:
        DataError: The study has trials of a machine that differs in something that times depend on.
    """
    import torch

    here = timing_facts(torch.get_num_threads())
    there = study.user_attrs.get("machine")
    if there is None:
        study.set_user_attr("machine", here)
    elif there != here:
        before = there if isinstance(there, dict) else {}
        differing = [f"{key} {before.get(key)} there, {here[key]} here" for key in here if before.get(key) != here[key]]
        raise DataError(
            f"{folder}: its study compares training seconds, which are not those of this machine "
            f"({'; '.join(differing)}); begin another study here, or search with the objective steps_to_target"
        )


def _work(study: Study, worker: Worker, late: Callable[[], bool]) -> None:
    """Run trials in this process until all are over, no more are to begin, or a signal arrives."""
    while not worker.received and not late():
        worker.give_back(study)
        assignment = study.next()
        if assignment is not None:
            with assignment.held:
                worker.make(study, assignment)
        elif study.is_over:
            return
        else:
            worker.watch(study)
            time.sleep(0.5)


def _send(
    study: Study,
    worker: Worker,
    client: Any,
    folder: Path,
    late: Callable[[], bool],
    ui: TuneUi,
    *,
    data_dir: Path | None,
    accelerator: str,
) -> None:
    """Run trials on the workers of a cluster until all are over, no more are to begin, or a signal arrives."""
    from momentum_cli.cluster.crew import Crew
    from momentum_cli.tuning.cluster import Dispatcher

    if lost := local_trackers(worker.recipe):
        ui.note(lost, "warning")
    with Crew(client, warn=lambda text: ui.note(text, "warning")) as crew:
        dispatcher = Dispatcher(study, worker, crew, group=folder.name, data_dir=data_dir, accelerator=accelerator)
        dispatcher.work(late)


def _require_no_clock(recipe: Recipe) -> None:
    """Refuse what is measured in seconds, which on machines of different speed are not the same.

    Raises:
        RecipeError: The objective or the budget of the recipe is.
    """
    assert recipe.tune is not None
    if recipe.tune.objective == "seconds_to_target":
        raise RecipeError(
            "--cluster: machines differ in speed, so seconds_to_target would compare them; take the objective "
            "steps_to_target, or leave out --cluster"
        )
    require_steps(recipe)
