"""Axes of a search space: ranges of numbers and lists of choices, as recipes and the command line write them.

| recipe                          | command line            | values                                    |
|---------------------------------|-------------------------|-------------------------------------------|
| ``[0, 0.95]``                   | ``0..0.95``             | numbers from 0 to 0.95                    |
| ``{float: [0, 1, 0.25]}``       | ``0..1:0.25``           | 0, 0.25, 0.5, 0.75, 1                     |
| ``{log: [1e-4, 1e-1]}``         | ``log:1e-4..1e-1``      | numbers, uniform in the logarithm         |
| ``{int: [32, 256, 32]}``        | ``int:32..256:32``      | 32, 64, …, 256; a step of 1 is left out   |
| ``{log_int: [2, 64]}``          | ``log_int:2..64``       | integers, uniform in the logarithm        |
| ``[lstm, momentum]``, three or  | ``lstm,momentum``       | one of them                               |
| more numbers, or ``{choice: …}``|                         |                                           |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from momentum_cli.messages import refuse, unknown

Value = float | int | str | bool | None
MOST_POINTS = 100_000
"""Values of an axis, or points of a grid, above which they count as unlimited: no search makes so many trials."""


class Suggest(Protocol):
    """The part of an Optuna trial that draws a value."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value: ...


class Axis(Protocol):
    """A coordinate of a search space."""

    def at(self, place: float) -> Value:
        """Return the value at a place in [0, 1)."""

    def suggest(self, trial: Suggest, name: str) -> Value:
        """Return the value that a trial draws."""

    def samples(self) -> list[Value]:
        """Return values that stand for all: the ends and the middle of a range, or every choice."""

    def points(self) -> list[Value] | None:
        """Return all values; None if there are more than `MOST_POINTS`."""

    def contains(self, value: Any) -> bool:
        """Return True if a value is on the axis."""

    def dump(self) -> Any:
        """Return the axis as a recipe writes it."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low, high: Finite, low < high; > 0 with `log`.
        log: Uniform in the logarithm.
        whole: Integers.
        step: Distance of the values, > 0; None for all numbers of the range, or all integers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high), ("step", self.step)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(refuse(name, value, "be a finite number"))
            if self.whole and value != int(value):
                raise ValueError(refuse(name, value, "be an integer"))
        if not self.low < self.high:
            raise ValueError(refuse("high", self.high, f"be > low = {self.low}"))
        if self.log and self.low <= 0:
            raise ValueError(refuse("low", self.low, "be > 0 on a logarithmic axis"))
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(refuse("step", self.step, f"be > 0 and at most {self.high - self.low:g}, the whole range"))

    def at(self, place: float) -> Value:
        if self.step is not None:
            return self._nth(min(self._count() - 1, int(place * self._count())))
        if self.log:
            # Half an integer more at both ends, so that each of them gets its share.
            low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
            return self._rounded(math.exp(math.log(low) + place * math.log(high / low)))
        if self.whole:
            return int(self.low) + min(int(self.high - self.low), int(place * (self.high - self.low + 1)))
        return self._rounded(self.low + place * (self.high - self.low))

    def suggest(self, trial: Suggest, name: str) -> Value:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return self._rounded(trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log))

    def samples(self) -> list[Value]:
        # A middle that is no whole number, so that a range of numbers for an option of integers is noticed.
        return [self.at(0.0), self.at(0.37), self.at(1.0)]

    def points(self) -> list[Value] | None:
        if self.step is None and not self.whole:
            return None
        count = self._count()
        return [self._nth(number) for number in range(count)] if count <= MOST_POINTS else None

    def contains(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high or (self.whole and value != int(value)):
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return bool(abs(steps - round(steps)) < 1e-6)

    def dump(self) -> Any:
        ends: list[float] = [int(end) if self.whole else end for end in (self.low, self.high)]
        if self.step is not None:
            ends.append(int(self.step) if self.whole else self.step)
        name = {(False, False): "float", (True, False): "log", (False, True): "int", (True, True): "log_int"}
        return {name[self.log, self.whole]: ends}

    def _count(self) -> int:
        return int((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def _nth(self, number: int) -> float | int:
        return self._rounded(self.low + number * (self.step or 1))

    def _rounded(self, value: float) -> float | int:
        """Return the value with four digits, which suffice and keep recipes readable, inside the range.

        Those that all values of a narrow range have in common do not count.
        """
        if self.whole:
            return round(min(self.high, max(self.low, value)))
        common = int(math.log10(max(abs(self.low), abs(self.high)) / (self.high - self.low)))
        return min(float(self.high), max(float(self.low), float(f"{value:.{4 + max(0, common)}g}")))


@dataclass(frozen=True)
class Choices:
    """A list of values, all equally likely.

    Args:
        values: At least one, all different: words, numbers, true, false and null.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        wrong = [value for value in self.values if not isinstance(value, str | int | float | bool | None)]
        if wrong:
            raise ValueError(refuse("a choice", wrong[0], "be a word, a number, true, false or null"))
        if not self.values:
            raise ValueError("a list of choices must not be empty; give at least two")
        twice = [value for number, value in enumerate(self.values) if self._index(value) < number]
        if twice:
            raise ValueError(f"the choice {twice[0]!r} is there twice; leave one out")

    def _index(self, value: Any) -> int:
        # True equals 1, and 1 equals 1.0; as choices they differ.
        return [(type(one), one) for one in self.values].index((type(value), value))

    def at(self, place: float) -> Value:
        return self.values[min(len(self.values) - 1, int(place * len(self.values)))]

    def suggest(self, trial: Suggest, name: str) -> Value:
        return trial.suggest_categorical(name, self.values)

    def samples(self) -> list[Value]:
        return list(self.values)

    def points(self) -> list[Value] | None:
        return list(self.values)

    def contains(self, value: Any) -> bool:
        return value in self.values

    def dump(self) -> Any:
        return {"choice": list(self.values)}


def _range(log: bool, whole: bool, ends: Any) -> Range:
    most = 2 if log else 3
    if not isinstance(ends, Sequence) or isinstance(ends, str) or not 2 <= len(ends) <= most:
        must = "be a list of two ends" + ("" if log else ", or of two ends and a step")
        raise ValueError(refuse("", ends, must))
    low, high, step = (*ends, None)[:3]
    return Range(low, high, log, whole, None if whole and step == 1 else step)


def _choices(values: Any) -> Choices:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(refuse("", values, "be a list of choices"))
    return Choices(tuple(values))


KINDS: dict[str, Callable[[Any], Axis]] = {
    "float": lambda ends: _range(False, False, ends),
    "log": lambda ends: _range(True, False, ends),
    "int": lambda ends: _range(False, True, ends),
    "log_int": lambda ends: _range(True, True, ends),
    "choice": _choices,
}
"""Kinds of axes, by the word in front of their ends."""


def read_axis(given: Any) -> Axis:
    """Return the axis of a recipe's value, see the table on top.

    Raises:
        ValueError: It is no axis.
    """
    if isinstance(given, Range | Choices):
        return given
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise ValueError(refuse("", given, f"have one key of {', '.join(KINDS)}"))
        kind, ends = next(iter(given.items()))
        if kind not in KINDS:
            raise ValueError(unknown("kind of axis", str(kind), KINDS))
        return KINDS[kind](ends)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ValueError(
            refuse("", given, "be a list of two ends or of choices, such as [0, 0.95], or {log: [1e-4, 1]}")
        )
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in given]
    return KINDS["float" if len(given) == 2 and all(numbers) else "choice"](given)


def parse_axis(text: str) -> Axis:
    """Return the axis of a text of the command line, see the table on top.

    Raises:
        ValueError: It is no axis.
    """
    from momentum_cli.recipe.document import scalar

    head, colon, rest = text.strip().partition(":")
    named = bool(colon) and ".." not in head
    if named and head not in KINDS:
        raise ValueError(unknown("kind of axis", head, KINDS))
    kind, body = (head, rest) if named else ("", text.strip())
    if ".." in body:
        low, _, tail = body.partition("..")
        ends = [scalar(part) for part in (low, *tail.split(":", 1))]
        return read_axis({kind or "float": ends})
    values = [scalar(part) for part in body.split(",")]
    if kind not in ("", "choice"):
        raise ValueError(refuse("", text, f"be {kind}:LOW..HIGH"))
    return _choices(values)
