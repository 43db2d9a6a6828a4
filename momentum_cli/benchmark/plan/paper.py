"""Published tables as benchmarks: their recipes, and the permitted changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from momentum_cli.benchmark.plan.variants import Variant
from momentum_cli.errors import RecipeError
from momentum_cli.messages import unknown
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.recipe.shipped import shipped_recipes

PAPER_FLAG = "--paper"
_FOLDER = "paper/"
# Keys that change how a model is trained, not what is trained; any other change would make it another experiment.
_FREE = ("train.", "model.backend", "target", "task.data_dir")


def paper_recipes(table: str, figures: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the shipped recipes of a published table: ``paper/TABLE`` and ``paper/TABLE-…``.

    Args:
        table: its name.
        figures: names of figures, which the message may suggest too.

    Raises:
        RecipeError: There is none; the message lists the tables.
    """
    names = [name for name in shipped_recipes() if name.startswith(_FOLDER)]
    found = tuple(name for name in names if name == _FOLDER + table or name.startswith(f"{_FOLDER}{table}-"))
    if not found:
        tables = dict.fromkeys(name.removeprefix(_FOLDER).partition("-")[0] for name in names)
        raise RecipeError(f"{PAPER_FLAG} {table}: {unknown('table', table, [*figures, *tables])}")
    return found


def check_unchanged(overrides: Sequence[str]) -> None:
    """Raise RecipeError for a change that would make it another experiment than the published one."""
    for text in overrides:
        key = text.partition("=")[0].strip()
        if not key.startswith(_FREE):
            raise RecipeError(
                f"{text}: cannot be combined with {PAPER_FLAG}, whose numbers are for the unchanged recipe; change "
                "only train, target and model.backend, or remove --paper"
            )


def published_variants(name: str, recipe: Recipe, asked: Sequence[Variant] | None) -> tuple[Variant, ...]:
    """Return the cells of a recipe with published numbers.

    Args:
        name: name of the recipe, for messages.
        recipe: the recipe.
        asked: requested cells, None for all; those without a published number are left out.

    Raises:
        RecipeError: Nothing is published under this recipe.
    """
    if not recipe.published:
        raise RecipeError(
            f"{PAPER_FLAG}: no number is published for {name}; momentumrnn recipes show {name} says how to run it"
        )
    if asked is None:
        return tuple(Variant(cell, cell) for cell in recipe.published)
    return tuple(variant for variant in asked if variant.cell in recipe.published)
