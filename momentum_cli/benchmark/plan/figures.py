"""The figures of the MomentumRNN paper as benchmarks: recipes, cells and target of each, and the published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from momentum_cli.benchmark.plan.paper import PAPER_FLAG
from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.recipe.sections import PublishedOptions
from momentum_cli.recipe.shipped import shipped_recipes

_GATED = "lstm,momentum,adam,rmsprop,sr"


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Args:
        recipes: names of shipped recipes, a panel or more for each.
        cells: cells that it compares, the baseline first.
        target: as for ``--target``; None: the recipes' own.
        sizes: hidden units -> the recipe with the authors' settings for that size; other sizes use `recipes`.
    """

    recipes: tuple[str, ...]
    cells: str
    target: str | None = None
    sizes: Mapping[int, str] = field(default_factory=dict)

    def of_size(self, hidden_size: int | None) -> tuple[tuple[str, ...], list[str]]:
        """Return its recipes and their overrides for a number of hidden units, None for the recipes' own."""
        if hidden_size is None:
            return self.recipes, []
        recipes = (self.sizes[hidden_size],) if hidden_size in self.sizes else self.recipes
        return recipes, [f"model.hidden_size={hidden_size}"]


FIGURES: dict[str, Figure] = {
    "figure2": Figure(("mnist", "pmnist"), _GATED),
    "figure3": Figure(
        ("paper/table4-pmnist-170",),
        "dtriv,momentum-dtriv",
        sizes={size: f"paper/table4-pmnist-{size}" for size in (170, 360, 512)},
    ),
    "figure4": Figure(("pmnist",), _GATED, target="baseline"),
}

# Times of the authors, permuted MNIST, N = 256, on their GPU: to the final accuracy of their LSTM, 92.29 %, and of one
# epoch. Their SRLSTM is the cell sr-coupled here.
PUBLISHED_MINUTES = {"lstm": 767, "momentum": 551, "adam": 225, "rmsprop": 416, "sr-coupled": 348}
PUBLISHED_EPOCH_SECONDS = {"lstm": 341, "momentum": 413, "adam": 666, "rmsprop": 659, "sr-coupled": 593}
PUBLISHED_SIZE, PUBLISHED_TARGET = 256, 0.9229


def find_figure(paper: str | None, hidden_size: int | None) -> Figure | None:
    """Return the figure of that name, None for a table or without one.

    Raises:
        RecipeError: A number of hidden units is given without a figure.
    """
    figure = FIGURES.get(paper or "")
    if figure is None and hidden_size is not None:
        remedy = "the recipes of a table have their own" if paper else f"give model.hidden_size={hidden_size}"
        must = f"be left out without {PAPER_FLAG} {'|'.join(FIGURES)}"
        raise RecipeError(refuse("--hidden-size", Said(str(hidden_size)), must, remedy))
    return figure


def published_like(recipe: Recipe) -> dict[str, PublishedOptions]:
    """Return the published results for the task and the hidden units of a recipe, by cell; {} without any."""
    found: dict[str, PublishedOptions] = {}
    for name in shipped_recipes():
        if name.startswith("paper/"):
            other = load_recipe(name)
            if (other.task.name, other.model.hidden_size) == (recipe.task.name, recipe.model.hidden_size):
                found |= other.published
    return found
