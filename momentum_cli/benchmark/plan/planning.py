"""Planning a benchmark: from recipes, cells and options of the command line to a checked `Plan`."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from momentum_cli.benchmark.plan.figures import FIGURES, find_figure, published_like
from momentum_cli.benchmark.plan.grid import GRID_FLAG, check_axes, grid_points, parse_grid
from momentum_cli.benchmark.plan.optimizers import OptimizerVariant, parse_optimizers, parse_rates
from momentum_cli.benchmark.plan.paper import check_unchanged, paper_recipes, published_variants
from momentum_cli.benchmark.plan.plan import Comparison, Entry, Plan
from momentum_cli.benchmark.plan.variants import Variant, parse_cells
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import Recipe, full_overrides, load_recipe
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes

DEFAULT_RECIPE = "digits-pixels"
DEFAULT_CELLS = "lstm,momentum,adam"
# Cells of the comparison without a recipe: those of the paper.
PAPER_CELLS = "lstm,momentum,adam,rmsprop,sr"
DEFAULT_SEEDS = "0-2"
_TAKEN = {
    "model.cell": "give the cells with --cells",
    "train.seed": "give the seeds with --seeds",
    "train.stop_at_target": "runs stop at the target; --full trains them to the end of the budget",
    "train.early_stopping": "runs stop at the target or the budget only",
}


def make_plan(
    recipes: Sequence[str],
    *,
    cells: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    lr_grid: str | None = None,
    grid: str | None = None,
    paper: str | None = None,
    hidden_size: int | None = None,
    seeds: str = DEFAULT_SEEDS,
    target: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    baseline: str | None = None,
    full: bool = False,
    overrides: Sequence[str] = (),
) -> Plan:
    """Return the checked plan that these options give.

    Args:
        recipes: files or names of shipped recipes; none: digits-pixels.
        cells: lists ``a,b,c`` of cells, each ``CELL``, ``CELL@NAME:key=value,…`` or ``CELL:key=value,…``; none:
            ``lstm,momentum,adam``, without a recipe ``rmsprop,sr`` too, or the (first) recipe's own cell where
            optimizers or learning rates are compared.
        optimizers: lists of optimizers in the same form; none: the recipe's.
        lr_grid: learning rates ``a,b,c``, all of them for each cell and optimizer; None: the recipe's, or an
            optimizer's own option ``lr``.
        grid: options of the cells and their values, see `momentum_cli.benchmark.plan.grid`; None: no grid.
        paper: a published table in place of recipes, see `momentum_cli.benchmark.plan.paper`, or a figure, see
            `momentum_cli.benchmark.plan.figures`; runs go to the end of the budget, and a table leaves out cells
            without a published number.
        hidden_size: hidden units of the cells of a figure; None: those of its recipes.
        seeds: ``0-4``, ``0,3,7`` or ``5``.
        target: ``0.9`` or ``metric=0.9``, in place of the recipe's; ``baseline`` or ``metric=baseline`` for the best
            value of the baseline's run with the same seed, ``baseline:pooled`` for the median of these values.
        epochs, steps, seconds: a budget; one that is given replaces all budgets of the recipe.
        baseline: the cell that speed-ups are relative to, with optimizers ``"CELL OPTIMIZER"``; None for the first.
        full: see `Plan`.
        overrides: ``key.path=value`` for all recipes.

    Raises:
        RecipeError: An option names what does not exist, contradicts another one, or makes a recipe invalid.
    """
    figure = find_figure(paper, hidden_size)
    if paper is not None:
        if recipes:
            raise RecipeError(f"--paper {paper} selects its own recipes; remove {', '.join(recipes)}")
        for flag, given in (("--optimizers", optimizers), ("--lr-grid", lr_grid), (GRID_FLAG, grid)):
            if given:
                raise RecipeError(f"--paper {paper} cannot be combined with {flag}: its numbers have one setting")
        full = True
        recipes, sized = (paper_recipes(paper, FIGURES), []) if figure is None else figure.of_size(hidden_size)
        overrides = _full_overrides(recipes, overrides)
        check_unchanged(overrides)
        if figure is not None:
            overrides, cells, target = [*overrides, *sized], cells or (figure.cells,), target or figure.target
    else:
        overrides = _full_overrides(recipes or (DEFAULT_RECIPE,), overrides)
    for text in overrides:
        key = text.partition("=")[0]
        if key in _TAKEN:
            raise RecipeError(f"{text}: not in a benchmark; {_TAKEN[key]}")
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
        if paper is not None and figure is None:
            here = published_variants(name, load_recipe(name_or_path), variants)
            if not here:
                continue
        entries = _entries(
            name_or_path,
            here,
            contenders,
            grid_points(axes),
            numbers[0],
            shared,
            target=target,
            baseline=baseline,
            full=full,
        )
        comparison = Comparison(name, entries)
        if paper is not None:
            known = comparison.recipe.published if figure is None else published_like(comparison.recipe)
            comparison = replace(comparison, published=known)
        comparisons.append(comparison)
    if not comparisons:
        raise RecipeError(f"--paper {paper}: no number is published for {', '.join(v.label for v in variants or ())}")
    arms = list(dict.fromkeys(entry.arm for comparison in comparisons for entry in comparison.entries))
    if baseline is not None and baseline not in arms:
        compared = "cells" if not optimizers else "cells with their optimizers"
        raise RecipeError(f"--baseline {baseline}: not one of the {compared} {', '.join(arms)}")
    plan = Plan(
        tuple(comparisons),
        numbers,
        baseline or next((c.leader.arm for c in comparisons if c.leader is not None), arms[0]),
        full,
        parse_rates(lr_grid) if lr_grid else (),
        axes,
        paper is not None,
        paper if paper is not None and figure is not None else "",
    )
    ids = [run.id for group in plan.groups() for run in group]
    if len(ids) != len(set(ids)):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise RecipeError(f"two runs would be called {twice[0]}; name the variants: CELL@NAME:key=value")
    return plan


def _full_overrides(recipes: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the overrides with the whole path of each key, which must be the same in all recipes."""
    first, *others = recipes
    found = full_overrides(first, overrides)
    for other in others:
        for one, text, again in zip(found, overrides, full_overrides(other, overrides), strict=True):
            if one != again:
                raise RecipeError(f"{text}: is {one} in {first} and {again} in {other}; write which")
    for text, full in zip(overrides, found, strict=True):
        if full.startswith("cells.") and not text.lstrip().startswith("cells."):
            raise RecipeError(f"{text}: is {full} in {first}, an option of one cell of several; write whose it is")
    return found


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read ``0-4``, ``0,3,7`` or ``0-2,10``.

    Raises:
        RecipeError: It is none of these, or repeats a seed.
    """
    seeds: list[int] = []
    for piece in str(text).split(","):
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
    """Return the cells; None: those with published results, which each recipe lists."""
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
    baseline: str | None,
    full: bool,
) -> tuple[Entry, ...]:
    first = variants[0]
    common = [*shared, f"train.seed={seed}", "train.early_stopping=null", "train.stop_at_target=false"]
    plain = load_recipe(name_or_path, [*common, *first.overrides()])
    if target is not None:
        common += _target(target, plain, baseline or _arm(first, contenders[0][0]))
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
    return _led(entries)


def _arm(variant: Variant, optimizer: OptimizerVariant | None) -> str:
    return variant.label if optimizer is None else f"{variant.label} {optimizer.label}"


def _led(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Let the entry that sets the target, if one does, train to the end of its budget.

    Raises:
        RecipeError: It is not compared, or not alone under its name.
    """
    target = entries[0].recipe.target
    if target is None or target.baseline is None:
        return tuple(entries)
    arms = list(dict.fromkeys(entry.arm for entry in entries))
    if target.baseline not in arms:
        remedy = f"it is not one of {', '.join(arms)}; compare it too, or give a number with --target"
        raise RecipeError(f"target.baseline {target.baseline}: {remedy}")
    if len(arms) != len(entries):
        raise RecipeError(
            f"--target baseline cannot be combined with --lr-grid or {GRID_FLAG}: {target.baseline} would set several "
            "targets; give a number with --target"
        )
    return tuple(
        replace(entry, recipe=entry.recipe.override("train.stop_at_target=false"))
        if entry.arm == target.baseline
        else entry
        for entry in entries
    )


def _target(text: str, recipe: Recipe, baseline: str) -> list[str]:
    from momentum_cli.recipe.building import metric_names

    metric, equals, value = text.rpartition("=")
    if not equals:
        metric = metric_names(recipe)[0] if recipe.target is None else recipe.target.metric
    if value in ("baseline", "baseline:pooled"):
        pooled = str(value != "baseline").lower()
        return [f"target={{metric: {metric!r}, baseline: {json.dumps(baseline)}, pooled: {pooled}}}"]
    try:
        number = float(value)
    except ValueError:
        must = "must be a number, such as 0.9, metric=number, such as accuracy=0.9, baseline or baseline:pooled"
        raise RecipeError(f"--target {text}: {must}") from None
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
