"""A worker of a search: runs one trial after the other in this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from momentum_cli.cluster.archive import machines_of
from momentum_cli.data import Dataset
from momentum_cli.errors import RecipeError, RunError, Stopped
from momentum_cli.progress import TrialState, TrialStatus, TuneStart, TuneUi
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.training.launch import determinism, launch, signals
from momentum_cli.training.trainer import Trainer
from momentum_cli.tuning.forecast import Forecaster
from momentum_cli.tuning.results import values_text
from momentum_cli.tuning.space import without_tune
from momentum_cli.tuning.study import MOST_ATTEMPTS, Assignment, Study
from momentum_cli.tuning.trial import Position, Trial, facts_of, failed, kept_result

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_WARM_UP_STEPS = 2


class Worker:
    """Runs trials; a context manager, inside which signals are collected.

    Args:
        recipe: The recipe with its section `tune`.
        data_dir: Folder of data sets.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        ui: Where progress is shown.

    Attributes:
        recipe: The recipe without its section `tune`.
        options: That section.
        headline: The headline metric of the data.
        metric: The compared metric: the target's for a time to the target, else the headline one.
        planned_evaluations: Evaluations of the recipe's own run; None if only time limits it.
        received: Signals that arrived, newest last.

    Raises:
        RecipeError: There is no validation set, and the test set must not choose.
    """

    def __init__(self, recipe: Recipe, *, data_dir: Path | None, accelerator: str, ui: TuneUi) -> None:
        assert recipe.tune is not None
        self.options = recipe.tune
        self.recipe = without_tune(recipe)
        self._data_dir = data_dir
        self._accelerator = accelerator
        self._ui = ui
        self._loaded: tuple[Any, Dataset] | None = None
        self._shown: dict[int, TrialState] = {}
        self.received: list[int] = []
        self._held = contextlib.ExitStack()
        dataset = self.data_of(self.recipe)
        if dataset.validation is None:
            raise RecipeError(
                "tune: the recipe has no validation set, and the test set must not choose; give it one with "
                "task.validation"
            )
        for text in dataset.warnings:
            ui.note(text, "warning")
        self.headline = dataset.metric
        timed = self.options.objective != "metric" and recipe.goal is not None
        self.metric = recipe.goal[0] if timed and recipe.goal is not None else self.headline
        trainer = Trainer(self.recipe, dataset, self._launch(self.recipe))
        first, total = trainer.next_evaluation(), trainer.total_steps
        self.planned_evaluations = None if total is None else -(-total // first)
        # One-time costs of a process must not be those of its first trial.
        with determinism(self.recipe.train.deterministic), contextlib.suppress(RunError):
            for _ in range(_WARM_UP_STEPS):
                trainer.step()
            trainer.read()

    def __enter__(self) -> Self:
        self.received = self._held.enter_context(signals())
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def announce(self, study: Study, folder: Path, time_limit: float | None) -> None:
        """Show the search and the trials that are over."""
        kept = [self._ended(study, row) for row in study.rows()]
        self._shown = {state.place: state for state in kept}
        options = self.options
        goal = self.recipe.goal
        words = {
            "metric": f"best {self.headline}",
            "steps_to_target": "fewest steps to the target",
            "seconds_to_target": "fewest training seconds to the target",
        }[options.objective]
        if options.objective != "metric" and goal is not None:
            from momentum_cli.wording import target_text

            words += f", {target_text(*goal)}"
        self._ui.start(
            TuneStart(
                name=folder.name,
                folder=str(folder),
                trials=study.trials,
                objective=words,
                metric=self.metric,
                sampler=options.sampler,
                pruner=options.pruner,
                kept=kept,
                time_limit=time_limit,
            )
        )

    def make(self, study: Study, assignment: Assignment) -> None:
        """Run a trial and record it; or save it and give it back if a signal arrives."""
        state = TrialState(assignment.place, values_text(assignment.values, study.space.keys), "running")
        self.show(state)
        begun = time.monotonic()
        try:
            with study.beating(assignment):
                facts = self._facts(study, assignment, state)
        except Stopped as stop:
            self.received.append(stop.number)
            facts = None
        if facts is None:
            study.hand_over(assignment)
            return
        self.record(study, assignment, facts, time.monotonic() - begun)

    def record(self, study: Study, assignment: Assignment, facts: Mapping[str, Any], seconds: float) -> None:
        """Record that a trial is over, and show it.

        Args:
            study: The study.
            assignment: The trial.
            facts: From `momentum_cli.tuning.trial.facts_of` or `failed`.
            seconds: Wall seconds since it began here.
        """
        machines = machines_of([assignment.folder])
        host = machines[0]["host"] if machines else None
        here = {"folder": str(assignment.folder), "elapsed": seconds, "host": host}
        if not study.finish(assignment, {**facts, **here}):
            self._ui.note(f"trial {assignment.place} was given to another worker meanwhile", "warning")
        self.watch(study)

    def give_back(self, study: Study) -> None:
        """Give back the trials of workers that died, and say so."""
        for place in study.give_back():
            self._ui.note(f"trial {place} lost its worker and is begun again", "warning")

    def watch(self, study: Study) -> None:
        """Show the outcome of the trials of all workers."""
        for row in study.rows():
            if row["trial"] not in self._shown or self._shown[row["trial"]].status == "running":
                self.show(self._ended(study, row))
        for place in study.running():
            if place not in self._shown:
                self.show(TrialState(place, "by another worker", "running"))

    def known_facts(self, study: Study, assignment: Assignment) -> dict[str, Any] | None:
        """Return the facts about a trial that needs no run: it ended before, or cost too many workers; or None."""
        folder = assignment.folder
        if study.attempts(assignment) > MOST_ATTEMPTS:
            return failed(folder, RunError(f"its worker died {MOST_ATTEMPTS} times; is there enough memory?"))
        result = kept_result(folder)
        try:
            return None if result is None else facts_of(result, folder, self.metric)
        except Exception as error:
            return failed(folder, error)

    def recipe_of(self, study: Study, assignment: Assignment) -> Recipe:
        """Return the recipe of a trial."""
        recipe = study.space.recipe_of(assignment.values)
        if study.objective.clock is None:
            return recipe
        return replace(recipe, train=recipe.train.model_copy(update={"stop_at_target": True}))

    def judge_of(self, study: Study, assignment: Assignment, recipe: Recipe) -> Judge:
        """Return the judge of a trial: the search's pruner."""
        return Judge(study, assignment, recipe, self.metric, extrapolates=self.options.pruner == "extrapolate")

    def _facts(self, study: Study, assignment: Assignment, state: TrialState) -> dict[str, Any] | None:
        """Run a trial; return the facts about it, or None if a signal arrived."""
        if (known := self.known_facts(study, assignment)) is not None:
            return known
        folder = assignment.folder
        try:
            recipe = self.recipe_of(study, assignment)
            with determinism(recipe.train.deterministic):
                result = self._run(study, assignment, recipe, state)
            return None if result is None else facts_of(result, folder, self.metric)
        except Exception as error:
            return failed(folder, error)

    def _run(self, study: Study, assignment: Assignment, recipe: Recipe, state: TrialState) -> dict[str, Any] | None:
        dataset = self.data_of(recipe)
        fabric = self._launch(recipe)

        def show(position: Position) -> None:
            self.show(position.shown(state))

        judge = self.judge_of(study, assignment, recipe)
        trial = Trial(recipe, assignment.folder, dataset, fabric, metric=self.metric, judge=judge, show=show)
        return trial.run(lambda: bool(self.received))

    def data_of(self, recipe: Recipe) -> Dataset:
        """Return the data of a recipe, loaded again only when its task changes."""
        mark = recipe.task, recipe.metrics
        if self._loaded is None or self._loaded[0] != mark:
            self._loaded = None  # one data set in memory at a time
            self._loaded = mark, load_data(recipe, self._data_dir, self._ui)
        return self._loaded[1]

    def _launch(self, recipe: Recipe) -> Fabric:
        return launch(recipe, 1, 1, self._accelerator)

    def _ended(self, study: Study, row: Mapping[str, Any]) -> TrialState:
        status: TrialStatus = row["status"]
        return TrialState(
            place=row["trial"],
            values=values_text(row["values"], study.space.keys),
            status=status,
            step=row["steps"],
            value=row["value"],
            score=study.objective.text(row) if status == "done" else "",
            key=study.objective.key(row) if status == "done" else None,
            reason=row["error"],
            seconds=row["elapsed"],
        )

    def show(self, state: TrialState) -> None:
        """Show the state of a trial."""
        self._shown[state.place] = state
        self._ui.trial(state)


class Judge:
    """Reports the evaluations of a trial to its study, and says whether it is pruned.

    Args:
        study: The study.
        assignment: The trial.
        recipe: Its recipe.
        metric: The compared metric.
        extrapolates: Learning-curve laws judge in place of Optuna's pruner.
    """

    def __init__(
        self, study: Study, assignment: Assignment, recipe: Recipe, metric: str, *, extrapolates: bool
    ) -> None:
        self._study = study
        self._assignment = assignment
        self._recipe = recipe
        self._metric = metric
        self._extrapolates = extrapolates
        self._forecaster: Forecaster | None = None
        self._reported = 0

    def __call__(self, position: Position) -> bool:
        """Return True if the trial is to end here."""
        for number in range(self._reported + 1, position.evaluations + 1):
            self._study.report(self._assignment, number, position.values[number - 1][1])
            self._reported = number
        if not self._extrapolates or position.total_steps is None:
            return bool(self._assignment.trial.should_prune())
        if self._forecaster is None:
            self._forecaster = Forecaster(self._study, self._recipe, self._metric, position.total_steps)
        return self._forecaster.hopeless(position)
