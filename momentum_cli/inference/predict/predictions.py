"""Predictions of a batch in columns, from which records and the rows of a table are made.

Axes: B samples, T time, O outputs, C classes, k of them that are listed, K targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from momentum_cli.inference.predict.samples import Places, Samples
from momentum_cli.metrics import METRICS

# Keys of the origin of a prediction that may be columns.
_TIMES = ("step", "time", "after")
_PLACE = ("source", "row", "sequence", *_TIMES)
_SCORES = ("tokens", "frames", *METRICS)


class Column(NamedTuple):
    """A column of a table.

    Args:
        values: Words, whole numbers, or numbers; None for an empty cell.
        digits: Significant digits of numbers as text; None for words, whole numbers and times.
    """

    values: Sequence[Any]
    digits: int | None = None


Table = dict[str, Column]
"""Columns of one length by their names."""


class Answer(Protocol):
    """The interface of what a model says about the samples of a batch."""

    @property
    def ranks(self) -> bool:
        """Whether the outputs are one number for each class, the largest that of the chosen one."""
        ...

    def facts(self) -> Iterable[dict[str, Any]]:
        """Return the keys of the record of each sample, but those of its origin."""
        ...

    def table(self) -> Table | None:
        """Return a table with a row for each sample, or with equally many for each; None: it is made from records."""
        ...


@dataclass(frozen=True)
class Predictions:
    """Predictions of a batch.

    Args:
        places: The origin of the samples.
        outputs: (B, O) or (B, T, O), raw or in original units.
        answer: Their meaning.
    """

    places: Places
    outputs: np.ndarray
    answer: Answer

    def __len__(self) -> int:
        return len(self.outputs)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a JSON-able record for each sample."""
        for place, facts in zip(self.places.records(), self.answer.facts(), strict=True):
            yield place | facts

    def tables(self) -> Iterator[Table]:
        """Yield tables whose rows follow one another: the origin, and the answer in columns."""
        answer = self.answer.table()
        if answer is None:
            yield from map(_record_table, self.records())
            return
        times = len(next(iter(answer.values())).values) // len(self)
        table = _place_table(self.places)
        if times != 1:
            table = {name: Column([v for v in column.values for _ in range(times)]) for name, column in table.items()}
        yield table | answer


@dataclass(frozen=True)
class Ranked:
    """The most probable classes of each sample.

    Args:
        labels: C names.
        order: (B, k) int64, the classes, the most probable first.
        shares: (B, k) float64, their probabilities.
    """

    labels: Sequence[str]
    order: np.ndarray
    shares: np.ndarray
    ranks = True

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield ``label`` and ``probability`` of the first class, and those of all in ``top``."""
        for places, shares in zip(self.order.tolist(), self.shares.tolist(), strict=True):
            top = [{"label": self.labels[i], "probability": share} for i, share in zip(places, shares, strict=True)]
            yield {**top[0], "top": top}

    def table(self) -> Table:
        """Return label and probability of the best, the second, …."""
        labels = ([self.labels[i] for i in places] for places in self.order.T.tolist())
        return _ranked_table(zip(labels, self.shares.T.tolist(), strict=True))


@dataclass(frozen=True)
class Labelled:
    """The most probable class of each step.

    Args:
        labels: C names.
        best: (B, T) int64, the class.
        shares: (B, T) float64, its probability.
        times: The times of the T steps of each sample, or ().
    """

    labels: Sequence[str]
    best: np.ndarray
    shares: np.ndarray
    times: Sequence[Sequence[str | float]]
    ranks = True

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield ``labels`` and ``probabilities``."""
        for best, shares in zip(self.best.tolist(), self.shares.tolist(), strict=True):
            yield {"labels": [self.labels[i] for i in best], "probabilities": shares}

    def table(self) -> Table:
        """Return a row for each step."""
        samples, steps = self.best.shape
        timed = {"time": Column([*chain.from_iterable(self.times)])} if self.times else {}
        return {
            "step": Column([*range(steps)] * samples),
            **timed,
            "label": Column([self.labels[i] for i in self.best.reshape(-1).tolist()]),
            "probability": Column(self.shares.reshape(-1).tolist(), 6),
        }


@dataclass(frozen=True)
class Values:
    """Numbers without names.

    Args:
        values: (B, O) or (B, T, O).
    """

    values: np.ndarray
    ranks = False

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield ``values``."""
        for values in self.values.tolist():
            yield {"values": values}

    def table(self) -> Table:
        """Return ``value_0``, ``value_1``, …."""
        columns = self.values.reshape(len(self.values), -1).T.tolist()
        return {f"value_{number}": Column(values, 9) for number, values in enumerate(columns)}


@dataclass(frozen=True)
class Named:
    """One value of each target, or its quantiles.

    Args:
        names: K names.
        values: (B, K, Q) float64 in original units, rising along Q.
        levels: Q levels of the quantiles; () for one value, with Q = 1.
    """

    names: Sequence[str]
    values: np.ndarray
    levels: Sequence[float]
    ranks = False

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield ``values`` by name, the median of quantiles, and ``quantiles`` by level."""
        for values in self.values.transpose(0, 2, 1).tolist():
            named = [dict(zip(self.names, of_level, strict=True)) for of_level in values]
            yield with_quantiles(named, self.levels)

    def table(self) -> Table:
        """Return a column for each name, and one more for each level."""
        middle = self.values.shape[2] // 2
        table = {name: Column(self.values[:, place, middle].tolist(), 15) for place, name in enumerate(self.names)}
        for number, level in enumerate(self.levels):
            for place, name in enumerate(self.names):
                table[f"{name} {level:g}"] = Column(self.values[:, place, number].tolist(), 15)
        return table


@dataclass(frozen=True)
class Facts:
    """Anything else, told by records.

    Args:
        each: The keys of the record of each sample, but those of its origin.
    """

    each: Sequence[dict[str, Any]]

    @property
    def ranks(self) -> bool:
        """Whether they have ``top``, the most probable classes."""
        return "top" in self.each[0]

    def facts(self) -> Sequence[dict[str, Any]]:
        """Return them."""
        return self.each

    def table(self) -> None:
        """Return None."""


def with_quantiles(named: Sequence[Any], levels: Sequence[float]) -> dict[str, Any]:
    """Return the keys ``values``, the median, and ``quantiles`` of a record.

    Args:
        named: The values by name, of each level; one without levels.
        levels: The levels of the quantiles.
    """
    middle = {"values": named[len(named) // 2]}
    quantiles = {f"{level:g}": of_level for level, of_level in zip(levels, named, strict=True)} if levels else {}
    return middle | ({"quantiles": quantiles} if levels else {})


def plain_answers(samples: Samples, outputs: np.ndarray, trained_on: Mapping[str, Any], top: int) -> Predictions:
    """Return predictions as labels with probabilities, for the sample or each step, or as values.

    Args:
        samples: The samples of one batch.
        outputs: (B, O) or (B, T, O).
        trained_on: The description of the data in the model.
        top: Number of labels per sample, >= 1.
    """
    places = samples.places
    if trained_on["loss"] != "cross_entropy":
        return Predictions(places, outputs, Values(outputs))
    labels = trained_on["labels"] or [str(index) for index in range(outputs.shape[-1])]
    # In float64 and relative to the largest, so that nothing overflows.
    weights = np.exp(outputs.astype(np.float64) - outputs.max(-1, keepdims=True))
    shares = weights / weights.sum(-1, keepdims=True)
    if outputs.ndim == 3:
        times = [each["times"] for each in places.times if "times" in each]
        return Predictions(places, outputs, Labelled(labels, outputs.argmax(-1), shares.max(-1), times))
    order = np.argsort(-shares, axis=-1, kind="stable")[:, :top]
    return Predictions(places, outputs, Ranked(labels, order, np.take_along_axis(shares, order, -1)))


def _ranked_table(ranks: Iterable[tuple[Sequence[str], Sequence[float]]]) -> Table:
    """Return the columns of labels and probabilities, those of the best first."""
    table: Table = {}
    for rank, (labels, shares) in enumerate(ranks, start=1):
        end = "" if rank == 1 else f"_{rank}"
        table |= {f"label{end}": Column(labels), f"probability{end}": Column(shares, 6)}
    return table


def _place_table(places: Places) -> Table:
    table = {"source": Column(places.sources), "row": Column(places.rows)}
    if places.names:
        table["sequence"] = Column(places.names)
    for name in _TIMES:
        if any(name in each for each in places.times):
            table[name] = Column([each.get(name) for each in places.times])
    return table


def _record_table(record: Mapping[str, Any]) -> Table:
    """Return the row of a record of `Facts`."""
    table: Table = {key: Column([record[key]]) for key in _PLACE if key in record}
    # The scores of a line of text or of a recording.
    scores = {key: value for key, value in record.items() if key in _SCORES}
    table |= {key: Column([value], 6 if isinstance(value, float) else None) for key, value in scores.items()}
    if "top" in record:
        table |= _ranked_table(([entry["label"]], [entry["probability"]]) for entry in record["top"])
    elif "translation" in record:
        table["translation"] = Column([record["translation"]])
        table["log_probability"] = Column([record["log_probability"]], 9)
    elif "frames" not in record:  # the frames themselves would be thousands of columns, their number different for each
        steps = record.get("steps")
        table |= _ahead(record)
        table |= _numbers(record["values"], steps)
        for level, named in record.get("quantiles", {}).items():
            table |= _numbers({f"{name} {level}": values for name, values in named.items()}, steps)
    return table


def _ahead(record: Mapping[str, Any]) -> Table:
    """Return the times of the steps of a forecast, which are unknown where the times of its series are uneven."""
    if "after" not in record:
        return {}
    longest = max(map(len, record["values"].values()), default=0)
    times = record.get("times", [None] * longest)
    return {f"time[t+{step}]": Column([time]) for step, time in _by_step(times, record.get("steps"))}


def _numbers(values: Mapping[str, Sequence[float]], steps: Sequence[int] | None) -> Table:
    """Return a column for each step of each forecast."""
    return {
        f"{name}[t+{step}]": Column([one], 15) for name, ahead in values.items() for step, one in _by_step(ahead, steps)
    }


def _by_step(values: Sequence[Any], steps: Sequence[int] | None) -> Iterable[tuple[int, Any]]:
    """Return each value with its step; by default the steps are the next ones."""
    return zip(steps or range(1, len(values) + 1), values, strict=True)
