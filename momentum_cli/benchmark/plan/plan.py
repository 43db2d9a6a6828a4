"""The plan of a benchmark: recipes, cells, optimizers, learning rates and seeds, checked before anything runs.

A comparison is one recipe and several entries that share everything else: data and their order, initial seeds, batches,
evaluation grid, budget and target. An entry is a cell; with optimizers and learning rates, or a grid over options of
the cell, every one of their combinations. All learning rates or points of a grid of one cell and optimizer are an arm.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from momentum_cli.benchmark.plan.grid import GRID_FLAG, Axis, check_axes, grid_points, parse_grid
from momentum_cli.benchmark.plan.optimizers import OptimizerVariant, parse_optimizers, parse_rates, rate_text
from momentum_cli.benchmark.plan.paper import check_unchanged, paper_recipes, published_variants
from momentum_cli.benchmark.plan.variants import Variant, parse_cells
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes

DEFAULT_RECIPE = "digits-pixels"
DEFAULT_CELLS = "lstm,momentum,adam"
# Of the comparison without a recipe, which is the paper's in short.
PAPER_CELLS = "lstm,momentum,adam,rmsprop,sr"
DEFAULT_SEEDS = "0-2"
# Below this many seeds a difference may be luck, and the table says so.
FEWEST_SEEDS = 3
_TAKEN = {
    "model.cell": "give the cells with --cells",
    "train.seed": "give the seeds with --seeds",
    "train.stop_at_target": "runs stop at the target; --full trains them to the end of the budget",
    "train.early_stopping": "runs stop at the target or the budget only",
}


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
        """Its own overrides, besides its names."""
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
    """A recipe and what is compared on it; the first entry's recipe tells what they share."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def recipe(self) -> Recipe:
        """Recipe of the first entry."""
        return self.entries[0].recipe

    @property
    def target(self) -> tuple[str, float] | None:
        """(metric, value), or None when runs go to the end of the budget."""
        target = self.recipe.target
        return None if target is None else (target.metric, target.value)


@dataclass(frozen=True)
class Plan:
    """Everything a benchmark runs.

    Args:
        comparisons: one a recipe.
        seeds: the same for every entry.
        baseline: arm that speed-ups are relative to.
        full: train to the end of the budget, also past the target.
        rates: the grid of learning rates, from the smallest to the largest; () without one.
        axes: the grid over options of cells; () without one.
        paper: compare results with the published numbers.
    """

    comparisons: tuple[Comparison, ...]
    seeds: tuple[int, ...]
    baseline: str
    full: bool = False
    rates: tuple[float, ...] = ()
    axes: tuple[Axis, ...] = ()
    paper: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def groups(self) -> list[tuple[RunSpec, ...]]:
        """Return the runs in groups that are interleaved: all entries of one comparison with one seed."""
        return [
            tuple(run_spec(comparison.name, entry, seed) for entry in comparison.entries)
            for comparison in self.comparisons
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


def make_plan(
    recipes: Sequence[str],
    *,
    cells: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    lr_grid: str | None = None,
    grid: str | None = None,
    paper: str | None = None,
    seeds: str = DEFAULT_SEEDS,
    target: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    baseline: str | None = None,
    full: bool = False,
    overrides: Sequence[str] = (),
) -> Plan:
    """Resolve what was asked for.

    Args:
        recipes: files or names of shipped recipes; none: digits-pixels.
        cells: lists ``a,b,c`` of cells, each ``CELL``, ``CELL@NAME:key=value,…`` or ``CELL:key=value,…``; none:
            ``lstm,momentum,adam``, without a recipe ``rmsprop,sr`` too, or the (first) recipe's own cell where
            optimizers or learning rates are compared.
        optimizers: lists of optimizers in the same form; none: the recipe's.
        lr_grid: learning rates ``a,b,c``, all of them for each cell and optimizer; None: the recipe's, or an
            optimizer's own option ``lr``.
        grid: options of the cells and their values, see `momentum_cli.benchmark.plan.grid`; None: no grid.
        paper: a published table in place of recipes, see `momentum_cli.benchmark.plan.paper`; runs go to the end of the
            budget, and cells without a published number are left out.
        seeds: ``0-4``, ``0,3,7`` or ``5``.
        target: ``0.9`` or ``metric=0.9``, in place of the recipe's.
        epochs, steps, seconds: a budget; one that is given replaces all budgets of the recipe.
        baseline: what speed-ups are relative to, a cell, with optimizers ``"CELL OPTIMIZER"``; None for the first.
        full: see `Plan`.
        overrides: ``key.path=value`` for all recipes.

    Raises:
        RecipeError: Something that was asked for does not exist, contradicts itself or is not a valid recipe.
    """
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key in _TAKEN:
            raise RecipeError(f"{text}: not in a benchmark; {_TAKEN[key]}")
    if paper is not None:
        if recipes:
            raise RecipeError(f"--paper {paper} selects its own recipes; remove {', '.join(recipes)}")
        for flag, given in (("--optimizers", optimizers), ("--lr-grid", lr_grid), (GRID_FLAG, grid)):
            if given:
                raise RecipeError(f"--paper {paper} cannot be combined with {flag}: its numbers have one setting")
        check_unchanged(overrides)
        recipes, full = paper_recipes(paper), True
    if lr_grid is not None and grid is not None:
        raise RecipeError(f"--lr-grid and {GRID_FLAG}: give one of the two; a grid may have optimizer.lr as an option")
    axes = () if grid is None else parse_grid(grid)
    swept = bool(optimizers) or lr_grid is not None
    variants = _variants(recipes, cells, overrides, swept=swept or bool(axes), paper=paper is not None)
    contenders = _contenders(optimizers, lr_grid)
    if swept:
        _check_one_rate(overrides, variants or (), contenders, optimizers, lr_grid)
    if axes:
        check_axes(axes, variants or ())
    numbers = parse_seeds(seeds)
    shared = [*overrides, *_budget(epochs, steps, seconds)]
    comparisons: list[Comparison] = []
    for name_or_path in recipes or (DEFAULT_RECIPE,):
        name = _recipe_name(name_or_path)
        if any(name == comparison.name for comparison in comparisons):
            raise RecipeError(
                f"two recipes are called {name}; a benchmark compares cells, not recipes: rename one file"
            )
        here = variants or ()
        if paper is not None:
            here = published_variants(name, load_recipe(name_or_path), variants)
            if not here:
                continue
        comparisons.append(
            Comparison(
                name,
                _entries(
                    name_or_path, here, contenders, grid_points(axes), numbers[0], shared, target=target, full=full
                ),
            )
        )
    if not comparisons:
        raise RecipeError(f"--paper {paper}: no number is published for {', '.join(v.label for v in variants or ())}")
    arms = list(dict.fromkeys(entry.arm for comparison in comparisons for entry in comparison.entries))
    if baseline is not None and baseline not in arms:
        compared = "cells" if not optimizers else "cells with their optimizers"
        raise RecipeError(f"--baseline {baseline}: not one of the {compared} {', '.join(arms)}")
    plan = Plan(
        tuple(comparisons),
        numbers,
        baseline or arms[0],
        full,
        parse_rates(lr_grid) if lr_grid else (),
        axes,
        paper is not None,
    )
    ids = [run.id for group in plan.groups() for run in group]
    if len(ids) != len(set(ids)):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise RecipeError(f"two runs would be called {twice[0]}; name the variants: CELL@NAME:key=value")
    return plan


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read ``0-4``, ``0,3,7`` or ``0-2,10``.

    Raises:
        RecipeError: It is none of these, or repeats a seed.
    """
    seeds: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", piece)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise RecipeError(f"--seeds {text}: must be a range such as 0-4 or a list such as 0,3,7")
        last = int(match[2] or match[1])
        if last - int(match[1]) >= 1000 or last >= 2**32:
            raise RecipeError(f"--seeds {text}: must be at most 1000 seeds below 2**32")
        seeds += range(int(match[1]), last + 1)
    if len(seeds) != len(set(seeds)):
        raise RecipeError(f"--seeds {text}: a seed is given twice, which would count one run as two")
    return tuple(seeds)


def _variants(
    recipes: Sequence[str], cells: Sequence[str], overrides: Sequence[str], *, swept: bool, paper: bool
) -> tuple[Variant, ...] | None:
    """Return the cells; None: those that something is published for, which each recipe knows."""
    if cells:
        return parse_cells(cells)
    if paper:
        return None
    if swept:
        return parse_cells([load_recipe((*recipes, DEFAULT_RECIPE)[0], overrides).model.cell])
    return parse_cells([DEFAULT_CELLS if recipes else PAPER_CELLS])


def _contenders(optimizers: Sequence[str], lr_grid: str | None) -> list[tuple[OptimizerVariant | None, float | None]]:
    """Return every optimizer with every learning rate; None is the recipe's."""
    named: Sequence[OptimizerVariant | None] = parse_optimizers(optimizers) if optimizers else (None,)
    rates: Sequence[float | None] = (None,) if lr_grid is None else parse_rates(lr_grid)
    return [(optimizer, rate) for optimizer in named for rate in rates]


def _check_one_rate(
    overrides: Sequence[str],
    variants: Sequence[Variant],
    contenders: Sequence[tuple[OptimizerVariant | None, float | None]],
    optimizers: Sequence[str],
    lr_grid: str | None,
) -> None:
    """Raise RecipeError where an optimizer or a learning rate is given in two places."""
    flags = (["--optimizers"] if optimizers else []) + (["--lr-grid"] if lr_grid is not None else [])
    for text in [*overrides, *(option for variant in variants for option in variant.options)]:
        key = text.partition("=")[0].strip()
        if key in {"optimizer", "optimizer.lr"} or (optimizers and key.startswith("optimizer.")):
            raise RecipeError(f"{text}: cannot be combined with {' and '.join(flags)}, which decide it")
    for optimizer, rate in contenders:
        if optimizer is not None and optimizer.own_rate and rate is not None:
            raise RecipeError(f"--optimizers {optimizer.label}: lr is given by --lr-grid; leave one of them out")


def _entries(
    name_or_path: str,
    variants: Sequence[Variant],
    contenders: Sequence[tuple[OptimizerVariant | None, float | None]],
    points: Sequence[tuple[str, ...]],
    seed: int,
    shared: Sequence[str],
    *,
    target: str | None,
    full: bool,
) -> tuple[Entry, ...]:
    first = variants[0]
    common = [*shared, f"train.seed={seed}", "train.early_stopping=null", "train.stop_at_target=false"]
    plain = load_recipe(name_or_path, [*common, *first.overrides()])
    if target is not None:
        common += _target(target, plain)
        plain = load_recipe(name_or_path, [*common, *first.overrides()])
    if plain.target is not None and not full:
        common.append("train.stop_at_target=true")
    entries = []
    for variant in variants:
        for (optimizer, rate), point in itertools.product(contenders, points):
            own = replace(variant, options=(*variant.options, *point)).overrides()
            if optimizer is not None:
                own += optimizer.overrides(plain.optimizer.name, plain.optimizer.lr)
            if rate is not None:
                own.append(f"optimizer.lr={rate!r}")
            entries.append(Entry(variant, load_recipe(name_or_path, [*common, *own]), optimizer, rate, point))
    return tuple(entries)


def _target(text: str, recipe: Recipe) -> list[str]:
    from momentum_cli.recipe.building import metric_names

    metric, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        must = "must be a number, such as 0.9, or metric=number, such as accuracy=0.9"
        raise RecipeError(f"--target {text}: {must}") from None
    if not equals:
        metric = metric_names(recipe)[0] if recipe.target is None else recipe.target.metric
    return [f"target={{metric: {metric!r}, value: {number!r}}}"]


def _budget(epochs: int | None, steps: int | None, seconds: float | None) -> list[str]:
    given = {"epochs": epochs, "max_steps": steps, "max_seconds": seconds}
    if all(value is None for value in given.values()):
        return []
    return [f"train.{key}={'null' if value is None else value}" for key, value in given.items()]


def _recipe_name(name_or_path: str) -> str:
    path = find_recipe(name_or_path)
    shipped = {file: name for name, file in shipped_recipes().items()}
    return shipped.get(path, path.stem)
