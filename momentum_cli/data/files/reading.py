"""The notation of values in a file: the options of `task.csv`, and `task.missing_values`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from momentum_cli.messages import refuse, unknown

MISSING = ("na", "n/a", "nan", "null", "none")
"""Texts that stand for a missing value by default, in lower case; an empty cell always does."""
WHITE_SPACE = "whitespace"
"""Name of the delimiter that is any number of blanks and tabs."""

NEGATIVE = {
    "parentheses": r"^\(\s*[^-+()\s][^()]*\)$",
    "trailing": r"^[^-+()\s][^-+()]*-$",
    "typographic": "^−\\s*[^-+()\\s]",
}
"""Notations of negative numbers without a minus in front, and the texts of each."""


@dataclass(frozen=True)
class Reading:
    """The notation of values in a file.

    Args:
        delimiter: One character, or ``"whitespace"``; None: that of the header row.
        decimal: Decimal mark, ``"."`` or ``","``.
        thousands: Character between groups of three digits, or None; ``" "`` includes non-breaking spaces.
        encoding: Such as ``"cp1252"``; None: by the byte order mark, else UTF-8.
        skip_rows: Lines before the header row, >= 0.
        comment: Lines that begin with it are skipped; None: there are no comments.
        header: False: the first row is data, and the columns are called c1, c2, …
        negative: ``"parentheses"``: (5) is -5, as in accounts; ``"trailing"``: 5- is -5;
            ``"typographic"``: numbers have the minus sign of print, U+2212; None: these are no numbers.
        units: Texts before or after a number, and the factor of each: ``{"%": 0.01, "K": 1000}``.
        missing_values: Texts that mark a missing value, in any case; None: `MISSING`. A number among them stands for
            every notation of it.

    Raises:
        ValueError: A value is outside its range.
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    encoding: str | None = None
    skip_rows: int = 0
    comment: str | None = None
    header: bool = True
    negative: str | None = None
    units: tuple[tuple[str, float], ...] = ()
    missing_values: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and self.delimiter != WHITE_SPACE and not _character(self.delimiter):
            raise ValueError(refuse("csv.delimiter", self.delimiter, f"be one character, or {WHITE_SPACE}"))
        if self.decimal not in (".", ","):
            raise ValueError(refuse("csv.decimal", self.decimal, "be '.' or ','"))
        if self.thousands is not None and (not _character(self.thousands) or self.thousands == self.decimal):
            raise ValueError(refuse("csv.thousands", self.thousands, "be one character other than csv.decimal"))
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ValueError(refuse("csv.encoding", self.encoding, "be an encoding of Python such as cp1252"))
        if isinstance(self.skip_rows, bool) or not isinstance(self.skip_rows, int) or self.skip_rows < 0:
            raise ValueError(refuse("csv.skip_rows", self.skip_rows, "be an integer >= 0"))
        if self.comment is not None and (not isinstance(self.comment, str) or not self.comment):
            raise ValueError(refuse("csv.comment", self.comment, "be a text such as '#'"))
        if not isinstance(self.header, bool):
            raise ValueError(refuse("csv.header", self.header, "be true or false"))
        if self.negative is not None and self.negative not in NEGATIVE:
            raise ValueError(refuse("csv.negative", self.negative, f"be {' or '.join(NEGATIVE)}"))
        for unit, factor in self.units:
            if not unit or isinstance(factor, bool) or not isinstance(factor, int | float) or not factor:
                raise ValueError(refuse(f"csv.units.{unit}", factor, "be a factor other than 0"))

    @classmethod
    def of(cls, csv: Mapping[str, Any] | None, missing_values: Sequence[Any] | None) -> Reading:
        """Return the reading that a recipe describes.

        Raises:
            ValueError: A key is unknown, or a value outside its range.
        """
        given = {key: value for key, value in (csv or {}).items() if value is not None}
        allowed = [field.name for field in dataclasses.fields(cls) if field.name != "missing_values"]
        for key in given:
            if key in ("null_values", "na_values", "missing_values"):
                raise ValueError(f"csv.{key}: unknown key; use task.missing_values, which works for every format")
            if key not in allowed:
                raise ValueError(f"csv: {unknown('key', str(key), allowed, 'task.csv')}")
        if "units" in given:
            if not isinstance(given["units"], Mapping):
                raise ValueError(refuse("csv.units", given["units"], "be a mapping such as {'%': 0.01}"))
            # The order in a recipe means nothing, and is lost in a checkpoint.
            given["units"] = tuple(sorted((str(unit), factor) for unit, factor in given["units"].items()))
        missing = None if missing_values is None else tuple(str(value) for value in missing_values)
        return cls(**given, missing_values=missing)

    def dump(self) -> dict[str, Any]:
        """Return plain values; `Reading.restored` reads them."""
        missing = None if self.missing_values is None else list(self.missing_values)
        return dataclasses.asdict(self) | {"units": [list(unit) for unit in self.units], "missing_values": missing}

    @classmethod
    def restored(cls, plain: Mapping[str, Any]) -> Reading:
        """Return the reading that `dump` wrote."""
        options = dict(plain)
        options["units"] = tuple((unit, factor) for unit, factor in options.get("units", ()))
        if options.get("missing_values") is not None:
            options["missing_values"] = tuple(options["missing_values"])
        return cls(**options)

    @property
    def missing_words(self) -> tuple[str, ...]:
        """Texts of missing values in lower case, including the empty one."""
        given = MISSING if self.missing_values is None else self.missing_values
        return tuple(dict.fromkeys(["", *(text.strip().lower() for text in given)]))

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Numbers that mark a missing value."""
        found = []
        for text in self.missing_values or ():
            try:
                found.append(float(text))
            except ValueError:
                continue
        return tuple(number for number in found if not math.isnan(number))

    @property
    def is_plain(self) -> bool:
        """True if numbers are written as in Python."""
        return self.decimal == "." and self.thousands is None and not self.units and self.negative is None


def _character(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 1


def _is_encoding(name: Any) -> bool:
    import codecs

    try:
        codecs.lookup(name)
    except (LookupError, TypeError):
        return False
    return True


JOINT = " / "
"""Between the parts of a name that several columns give."""
PLAIN = Reading()
