"""Cells of the command line: `CELL`, `CELL:key=value,…` or `CELL@NAME:key=value,…`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from momentum_cli.cells.find import canonical_name
from momentum_cli.errors import RecipeError

# Sections that may differ between entries in addition to the options of their cells; everything else is shared.
OWN_SECTIONS = ("model", "optimizer", "schedule")
_VARIANT = re.compile(r"(?P<name>[^@:=]+)(?:@(?P<alias>[^:=]+))?(?::(?P<options>.+))?")


@dataclass(frozen=True)
class Variant:
    """A cell requested on the command line.

    Args:
        label: its name in tables, unique in a plan.
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
        RecipeError: A cell does not exist, a variant is malformed, or a label occurs twice.
    """
    pieces = split_list("--cells", "cell", texts)
    if not pieces:
        raise RecipeError("--cells: no cell given; try --cells lstm,momentum")
    variants = [_variant(piece) for piece in pieces]
    require_different("--cells", [variant.label for variant in variants], "momentum=0.9")
    return tuple(variants)


def split_list(flag: str, noun: str, texts: Sequence[str]) -> list[str]:
    """Split lists at commas, except before a ``key=value``, which belongs to the variant before it.

    Args:
        flag: option of the command line, for messages.
        noun: "cell" or "optimizer", for messages.
        texts: its values, one for each time it was given.

    Raises:
        RecipeError: An option comes before the first name.
    """
    pieces: list[str] = []
    for text in texts:
        fresh = True  # an option cannot belong to a variant of an earlier text
        for piece in filter(None, (part.strip() for part in text.split(","))):
            key, equals, _ = piece.partition("=")
            if equals and not set(key) & set("@:"):
                if fresh or ":" not in pieces[-1]:
                    raise RecipeError(
                        f"{flag} {text}: {piece!r} is an option without {_article(noun)}; write {noun.upper()}:{piece}"
                    )
                pieces[-1] += f",{piece}"
            else:
                pieces.append(piece)
            fresh = False
    return pieces


def take_apart(flag: str, noun: str, text: str) -> tuple[str, str | None, tuple[str, ...]]:
    """Return the name, the alias and the options ``key=value`` of a variant.

    Raises:
        RecipeError: The text is malformed.
    """
    match = _VARIANT.fullmatch(text)
    if match is None or (match["alias"] and not re.fullmatch(r"[\w.+-]+", match["alias"])):
        word = noun.upper()
        raise RecipeError(
            f"{flag} {text}: must be {word}, {word}:key=value,… or {word}@NAME:key=value,… with a NAME of letters, "
            "digits, _ . + -"
        )
    options = tuple(piece.strip() for piece in (match["options"] or "").split(",") if piece.strip())
    for option in options:
        if "=" not in option:
            raise RecipeError(f"{flag} {text}: {option!r} is not key=value")
    return match["name"], match["alias"], options


def label_of(name: str, alias: str | None, options: Sequence[str]) -> str:
    """Return the name of a variant in tables."""
    if alias:
        return f"{name}@{alias}"
    return f"{name}:{','.join(options)}" if options else name


def require_different(flag: str, labels: Sequence[str], option: str) -> None:
    """Raise RecipeError if a label occurs twice."""
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"{flag}: {label} is given twice; name one of them, as {label}@other:{option}")


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _variant(text: str) -> Variant:
    name, alias, options = take_apart("--cells", "cell", text)
    cell = canonical_name(name)
    for option in options:
        key = option.partition("=")[0]
        if "." in key and (key.split(".")[0] not in OWN_SECTIONS or key == "model.cell"):
            raise RecipeError(
                f"--cells {text}: {key} cannot differ between cells, or they would not be compared on equal terms; "
                f"give options of the cell or of {', '.join(OWN_SECTIONS)}"
            )
    return Variant(label_of(cell, alias, options), cell, options)
