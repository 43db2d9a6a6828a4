"""The plan of a benchmark: recipes, cells, optimizers, learning rates and seeds, checked before anything runs.

A comparison is one recipe and several entries that share everything else: data and their order, initial seeds, batches,
evaluation grid, budget and target. An entry is a cell; with optimizers and learning rates, or a grid over options of
the cell, every one of their combinations. All learning rates or points of a grid of one cell and optimizer are an arm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from momentum_cli.benchmark.plan.grid import Axis
from momentum_cli.benchmark.plan.optimizers import OptimizerVariant, rate_text
from momentum_cli.benchmark.plan.variants import Variant
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.recipe.sections import PublishedOptions, TargetOptions

# Below this many seeds a difference may be chance, and the table says so.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Entry:
    """One contestant of a comparison with its whole recipe (of the first seed).

    Args:
        variant: the cell.
        recipe: everything that it trains with.
        optimizer: None: the recipe's, which is then not a part of the name.
        rate: learning rate, where there is a grid of them.
        point: texts ``key=value``, where there is a grid over options of the cell.
    """

    variant: Variant
    recipe: Recipe
    optimizer: OptimizerVariant | None = None
    rate: float | None = None
    point: tuple[str, ...] = ()

    @property
    def arm(self) -> str:
        """Its name without the learning rate and the point of the grid."""
        return self.variant.label if self.optimizer is None else f"{self.variant.label} {self.optimizer.label}"

    @property
    def label(self) -> str:
        """Its name in tables."""
        parts = [self.arm, ",".join(self.point), "" if self.rate is None else f"lr={rate_text(self.rate)}"]
        return " ".join(filter(None, parts))

    @property
    def options(self) -> tuple[str, ...]:
        """Overrides of its own, its names left out."""
        return (*self.variant.options, *self.point, *(() if self.optimizer is None else self.optimizer.options))

    def seeded(self, seed: int) -> Recipe:
        """Return the recipe of one of its runs."""
        # A checked recipe with another checked seed needs no second check, which would take longer than all the rest.
        return replace(self.recipe, train=self.recipe.train.model_copy(update={"seed": seed}))


@dataclass(frozen=True)
class RunSpec:
    """One training of a benchmark.

    Args:
        id: name of its folder, unique in the benchmark.
        comparison: name of its comparison.
        label: of its entry.
        recipe: what is trained, seed included.
        arm: its label without the learning rate; "" for one without a grid.
    """

    id: str
    comparison: str
    label: str
    recipe: Recipe
    arm: str = ""

    @property
    def seed(self) -> int:
        """Seed of initialisation and data order."""
        return self.recipe.train.seed


@dataclass(frozen=True)
class Comparison:
    """A recipe and what is compared on it; what the entries share is read from the first entry's recipe.

    Args:
        name: of the recipe.
        entries: what is compared.
        goals: seed -> target that the baseline has set, once it is known.
        published: cell -> its published results; None where ours are not compared with a paper.
    """

    name: str
    entries: tuple[Entry, ...]
    goals: Mapping[int, float] = field(default_factory=dict)
    published: Mapping[str, PublishedOptions] | None = None

    @property
    def recipe(self) -> Recipe:
        """Recipe of the first entry."""
        return self.entries[0].recipe

    @property
    def target(self) -> TargetOptions | None:
        """The target, whose value may be the baseline's; None when runs go to the end of the budget."""
        return self.recipe.target

    @property
    def leader(self) -> Entry | None:
        """The entry whose best value is the target of all; None for a target that is a number."""
        target = self.target
        if target is None or target.baseline is None:
            return None
        return next(entry for entry in self.entries if entry.arm == target.baseline)

    def goal(self, seed: int) -> tuple[str, float] | None:
        """(metric, value) that the runs of a seed have to reach; None without a target and before it is known."""
        if self.target is None or self.leader is None:
            return self.recipe.goal
        return (self.target.metric, self.goals[seed]) if seed in self.goals else None

    def run(self, entry: Entry, seed: int) -> RunSpec:
        """Return the run of an entry with a seed; if it stops at the target, its recipe contains the target."""
        run, goal = run_spec(self.name, entry, seed), self.goal(seed)
        if self.leader is None or goal is None or not run.recipe.train.stop_at_target:
            return run
        target = TargetOptions(metric=goal[0], value=goal[1])
        return replace(run, recipe=replace(run.recipe, target=target))


@dataclass(frozen=True)
class Plan:
    """Everything a benchmark runs.

    Args:
        comparisons: one per recipe.
        seeds: the same for every entry.
        baseline: arm that speed-ups are relative to.
        full: train past the target, to the end of the budget.
        rates: the grid of learning rates, from the smallest to the largest; () without one.
        axes: the grid over options of cells; () without one.
        paper: compare results with the published numbers.
        figure: name of the paper's figure that is drawn from them, "" for none.
    """

    comparisons: tuple[Comparison, ...]
    seeds: tuple[int, ...]
    baseline: str
    full: bool = False
    rates: tuple[float, ...] = ()
    axes: tuple[Axis, ...] = ()
    paper: bool = False
    figure: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def groups(self) -> list[tuple[RunSpec, ...]]:
        """Return the runs in groups that are interleaved: all entries of one comparison with one seed."""
        return [
            tuple(comparison.run(entry, seed) for entry in comparison.entries)
            for comparison in self.comparisons
            for seed in self.seeds
        ]

    def leading(self) -> list[tuple[RunSpec, ...]]:
        """Return the runs that must end before the others know their target, each in a group of its own.

        There are none when all runs go to the end of the budget anyway.
        """
        return [
            (comparison.run(comparison.leader, seed),)
            for comparison in self.comparisons
            if comparison.leader is not None and not self.full
            for seed in self.seeds
        ]

    def with_entries(self, name: str, entries: Sequence[Entry]) -> Plan:
        """Return the plan with other entries in one comparison."""
        changed = tuple(replace(c, entries=tuple(entries)) if c.name == name else c for c in self.comparisons)
        return replace(self, comparisons=changed)


def run_spec(comparison: str, entry: Entry, seed: int, suffix: str | None = None) -> RunSpec:
    """Return the run of an entry with a seed; `suffix` names it instead of the seed."""
    name = f"{comparison}-{entry.label}-{suffix or f'seed{seed}'}"
    return RunSpec(re.sub(r"[^\w.+@=-]+", "-", name), comparison, entry.label, entry.seeded(seed), entry.arm)
