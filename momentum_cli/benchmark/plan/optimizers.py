"""Optimizers and learning rates of the command line: `NAME`, `NAME:key=value,…` or `NAME@ALIAS:key=value,…`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from momentum_cli.benchmark.plan.variants import label_of, require_different, split_list, take_apart
from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse

# The section that may differ between optimizers in addition to their options: a schedule belongs to its optimizer.
_OWN_SECTION = "schedule"
OPTIMIZERS_FLAG, RATES_FLAG = "--optimizers", "--lr-grid"


@dataclass(frozen=True)
class OptimizerVariant:
    """An optimizer requested on the command line.

    Args:
        label: its name in tables, unique in a plan.
        name: as in ``optimizer.name``.
        options: texts ``key=value``, keys of the optimizer or dotted keys of ``schedule``.
    """

    label: str
    name: str
    options: tuple[str, ...] = ()

    @property
    def own_rate(self) -> bool:
        """True if its options include a learning rate."""
        return any(text.partition("=")[0] == "lr" for text in self.options)

    def overrides(self, recipe_name: str, recipe_lr: float) -> list[str]:
        """Return the overrides that give a recipe this optimizer.

        Args:
            recipe_name: optimizer of the recipe, whose options are kept if it is the same; those of another one would
                not apply, so this one starts from its defaults.
            recipe_lr: learning rate of the recipe, kept unless it is overridden.
        """
        changes = [] if self.name == recipe_name else [f"optimizer={{name: {self.name!r}, lr: {recipe_lr!r}}}"]
        return changes + [text if "." in text.partition("=")[0] else f"optimizer.{text}" for text in self.options]


def parse_optimizers(texts: Sequence[str]) -> tuple[OptimizerVariant, ...]:
    """Read ``--optimizers``: ``sgd,sgd@heavy:momentum=0.9,nesterov=true`` is sgd and one variant of it.

    An optimizer of the package pytorch-optimizer, ``pytorch_optimizer:NAME``, is called NAME in tables unless we have
    one of that name.

    Raises:
        RecipeError: An optimizer does not exist, a variant is malformed, or a label occurs twice.
    """
    pieces = split_list(OPTIMIZERS_FLAG, "optimizer", texts)
    if not pieces:
        raise RecipeError(f"{OPTIMIZERS_FLAG}: no optimizer given; try {OPTIMIZERS_FLAG} sgd,ahb-sgd,adam,ahb-adam")
    variants = [_variant(piece) for piece in pieces]
    require_different(OPTIMIZERS_FLAG, [variant.label for variant in variants], "weight_decay=0.01")
    return tuple(variants)


def parse_rates(text: str) -> tuple[float, ...]:
    """Read ``--lr-grid``, comma-separated learning rates, and return them in increasing order.

    Raises:
        RecipeError: One is not a number above 0, or occurs twice.
    """
    rates = []
    for piece in text.split(","):
        try:
            rate = float(piece)
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            message = refuse("a rate", piece.strip(), "be a number > 0", "for example 1e-3,3e-3,1e-2")
            raise RecipeError(f"{RATES_FLAG} {text}: {message}")
        if rate in rates:
            raise RecipeError(f"{RATES_FLAG} {text}: {rate:g} is given twice, which would count one run as two")
        rates.append(rate)
    return tuple(sorted(rates))


def rate_text(rate: float) -> str:
    """Return a learning rate for labels and tables with all its digits, so that two rates never look the same."""
    short = f"{rate:g}"
    return short if float(short) == rate else repr(rate)


def _variant(text: str) -> OptimizerVariant:
    from momentum_cli.optim import EXTERNAL, OPTIMIZERS, resolve

    prefix = EXTERNAL if text.startswith(EXTERNAL) else ""
    bare, alias, options = take_apart(OPTIMIZERS_FLAG, "optimizer", text.removeprefix(prefix))
    name = prefix + bare
    try:
        resolve(name)
    except ValueError as error:
        raise RecipeError(f"{OPTIMIZERS_FLAG} {text}: {error}") from error
    for option in options:
        key = option.partition("=")[0]
        if "." in key and key.split(".")[0] != _OWN_SECTION:
            raise RecipeError(
                f"{OPTIMIZERS_FLAG} {text}: {key} cannot differ between optimizers, or they would not be compared on "
                f"equal terms; give options of the optimizer or of {_OWN_SECTION}"
            )
    shown = name if bare in OPTIMIZERS else bare
    return OptimizerVariant(label_of(shown, alias, options), name, options)
