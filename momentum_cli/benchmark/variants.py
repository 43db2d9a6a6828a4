"""Cells as they are asked for on the command line: `CELL`, `CELL:key=value,…` or `CELL@NAME:key=value,…`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from momentum_cli.cells import canonical_name
from momentum_cli.errors import RecipeError

# What an entry may have of its own besides the options of its cell; everything else is shared.
_OWN_SECTIONS = ("model", "optimizer", "schedule")
_VARIANT = re.compile(r"(?P<cell>[^@:=]+)(?:@(?P<name>[^:=]+))?(?::(?P<options>.+))?")


@dataclass(frozen=True)
class Variant:
    """A cell as it was asked for on the command line.

    Args:
        label: how it is called in tables; unique in a plan.
        cell: canonical name of the cell.
        options: texts ``key=value``, keys of the cell's dynamics or dotted keys of the recipe.
    """

    label: str
    cell: str
    options: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """Return the overrides that turn a recipe into this variant's."""
        own = [text if "." in text.partition("=")[0] else f"cells.{self.cell}.{text}" for text in self.options]
        return [f"model.cell={self.cell}", *own]


def parse_cells(texts: Sequence[str]) -> tuple[Variant, ...]:
    """Read ``--cells``: ``lstm,momentum@slow:momentum=0.9,step_size=0.3`` is lstm and one variant of momentum.

    A piece ``key=value`` between commas belongs to the variant before it.

    Raises:
        RecipeError: A cell does not exist, a variant is malformed, or a label comes twice.
    """
    pieces: list[str] = []
    for text in texts:
        fresh = True  # an option cannot belong to a variant of an earlier --cells
        for piece in filter(None, (part.strip() for part in text.split(","))):
            key, equals, _ = piece.partition("=")
            if equals and not set(key) & set("@:"):
                if fresh or ":" not in pieces[-1]:
                    raise RecipeError(f"--cells {text}: {piece!r} is an option without a cell; write CELL:{piece}")
                pieces[-1] += f",{piece}"
            else:
                pieces.append(piece)
            fresh = False
    if not pieces:
        raise RecipeError("--cells: no cell was named; try --cells lstm,momentum")
    variants = [_variant(piece) for piece in pieces]
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"--cells: {label} comes twice; name one of them, as {label}@other:momentum=0.9")
    return tuple(variants)


def _variant(text: str) -> Variant:
    match = _VARIANT.fullmatch(text)
    if match is None or (match["name"] and not re.fullmatch(r"[\w.+-]+", match["name"])):
        raise RecipeError(
            f"--cells {text}: allowed is CELL, CELL:key=value,… or CELL@NAME:key=value,… with a NAME of letters, "
            "digits, _ . + -"
        )
    cell = canonical_name(match["cell"])
    options = tuple(piece.strip() for piece in (match["options"] or "").split(",") if piece.strip())
    for option in options:
        key, equals, _ = option.partition("=")
        if not equals:
            raise RecipeError(f"--cells {text}: {option!r} is not key=value")
        if "." in key and (key.split(".")[0] not in _OWN_SECTIONS or key == "model.cell"):
            raise RecipeError(
                f"--cells {text}: {key} cannot differ between cells, or they would not be compared on equal terms; "
                f"allowed are options of the cell and of {', '.join(_OWN_SECTIONS)}"
            )
    if match["name"]:
        return Variant(f"{cell}@{match['name']}", cell, options)
    return Variant(f"{cell}:{','.join(options)}" if options else cell, cell, options)
