"""A first recipe for a table: CSV, Parquet or JSON Lines with one step, or one whole sequence, per row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import joined_words, not_a_number, numbers, value_at, words
from momentum_cli.data.files.labels import folded
from momentum_cli.data.files.layout import find_layout, is_row_number
from momentum_cli.data.files.many_files import FILE
from momentum_cli.data.files.ordering import GAP
from momentum_cli.data.files.reading import JOINT, PLAIN, Reading
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import counted
from momentum_cli.recipe.first.guess import SEQUENCE, SPLIT, TARGET, TIME, Guess, named, one, target_of
from momentum_cli.recipe.first.heads import Head, read_head
from momentum_cli.recipe.first.layouts import guess_layout, guess_values, options_of, without_numbers, word_classes
from momentum_cli.recipe.first.sequences import STEP, are_steps, guess_counted, guess_sequence
from momentum_cli.recipe.first.times import Times, guess_times, guess_zone, not_a_time

# Up to this many different whole numbers, a column of numbers is taken to hold classes.
_CLASSES = 20
# A recipe names at most this many columns one by one.
_NAMED = 40
# Fewest steps of the longest series for which its last 15 % make a test.
_SHORT = 10


def guess_table(
    files: list[Path], found: str, target: list[str] | None, order_format: str | None, guess: Guess
) -> None:
    """Guess the options of a table in one or several files.

    Raises:
        DataError: It has no rows, or no column of numbers.
        RecipeError: A column does not exist, or the target or the format of dates cannot be guessed.
    """
    data = files[0]
    layout, reasons = guess_layout(data) if found == "csv" else (PLAIN, [])
    guess.comments += reasons
    head = read_head(files, found, layout)
    columns, count = head.columns, len(head.rows)
    if not count:
        raise DataError(f"{data}: the file holds no rows")
    empty = [name for name, values in columns.items() if values.null_count == count]
    columns = {name: values for name, values in columns.items() if name not in empty}
    if empty and not all(map(is_row_number, empty)):
        guess.comments.append(f"no features, because they are empty: {', '.join(empty)}")
    delimiter = find_layout(data, layout).delimiter if found == "csv" else ""
    when = guess_times(without_numbers(columns, layout, delimiter), data, order_format)
    values = {name: values for name, values in columns.items() if name not in when.columns}
    reading, reasons = guess_values(values, layout, delimiter)
    guess.comments += reasons
    sequence = guess_sequence(columns, head, when, target, reading, guess)
    if not sequence and not when.columns:
        sequence, when = guess_counted(columns, target, reading, guess) or (sequence, when)
    split = named(columns, SPLIT)
    table = _Table(data, columns, head, reading, when, sequence, split, guess)
    if target is None and guess.kind in ("", "forecasting") and layout.header and table.rows_are_series():
        table.fill_series()
        guess.options |= options_of(reading, delimiter or None)
        return
    table.fill(target)
    kept = one(when.columns) if guess.options.get("order") else None
    final = {"order": kept, "order_format": when.form} if kept is not None and when.form is not None else {}
    guess.options |= final | options_of(reading, delimiter or None)
    _keep_label_words(columns, reading, guess)


def is_table(path: Path) -> bool:
    """Return True if a file with an unknown ending holds columns of text, one of them all numbers."""
    try:
        layout, _ = guess_layout(path)
        head = read_head([path], "csv", layout)
        delimiter = find_layout(path, layout).delimiter
    except DataError:
        return False
    columns = without_numbers(head.columns, layout, delimiter)
    known = [numbers(values) for values in columns.values()]
    return len(columns) > 1 and any(len(found) and not bad and not np.isnan(found).all() for found, bad in known)


class _Table:
    """The columns of a table, with their guessed roles."""

    def __init__(
        self,
        data: Path,
        columns: dict[str, Any],
        head: Head,
        reading: Reading,
        when: Times,
        sequence: list[str],
        split: str | None,
        guess: Guess,
    ) -> None:
        self.data, self.columns, self.head, self.reading, self.when = data, columns, head, reading, when
        self.sequence, self.split, self.guess = sequence, split, guess
        self.runs: np.ndarray | None = None
        if sequence:
            by_file = sequence == [FILE]
            self.runs = head.files if by_file else joined_words({name: columns[name] for name in sequence}, reading)
        self.row_numbers: list[str] = []
        self.numeric = self._numeric()
        self.target: list[str] = []

    def rows_are_series(self) -> bool:
        """True if the columns of numbers are the steps of a series: many, called d_1, d_2 and so on, and no times."""
        names = [name for name in self.columns if name not in self.numeric]
        return (
            are_steps(self.numeric)
            and all(STEP.fullmatch(name.strip()) for name in self.numeric)
            and not self.when.columns
            and len(self._series_names(names)) == len(self.head.rows)
            and named(self.columns, TARGET) is None
        )

    def _series_names(self, columns: list[str]) -> set[str]:
        if not columns:
            return {str(row) for row in range(len(self.head.rows))}
        return set(joined_words({name: self.columns[name] for name in columns}, self.reading).tolist()) - {None}

    def fill_series(self) -> None:
        """Fill in the options for a table whose rows are series."""
        guess = self.guess
        guess.kind = "forecasting"
        first, last = self.numeric[0], self.numeric[-1]
        guess.comments.append(
            f"kind: each row is a series whose steps are {first} to {last}; its next values are forecast"
        )
        names = [name for name in self.columns if name not in self.numeric]
        if names:
            guess.options["sequence"] = guess.options["normalise_by"] = one(names)
            guess.comments.append("normalise_by: each series has its own mean and scale")
        values = np.stack([numbers(self.columns[name], self.reading)[0] for name in self.numeric], 1)
        known = ~np.isnan(values)
        lengths = np.where(known.any(1), known.shape[1] - known[:, ::-1].argmax(1), 0)
        guess.longest = int(lengths.max(initial=0))
        self._guess_gaps(int(lengths.sum() - known.sum()))

    def fill(self, target: list[str] | None) -> None:
        """Fill in the options of the guess for a target that is given, or is to be guessed."""
        self.row_numbers = self._row_numbers()
        self.target = self._target(target)
        guess, when = self.guess, self.when
        if self.sequence:
            guess.options["sequence"] = one(self.sequence)
        if self.split is not None:
            guess.options["split_column"] = self.split
        guessed = not guess.kind
        if guessed:
            guess.kind, why = self._kind()
            guess.comments.append(f"kind: {why}")
        series = bool(self.sequence) or guess.kind == "forecasting"
        if not when.columns:
            self._refuse_odd_times(guessed, series)
        if guess.kind == "labelling" and not self.sequence:
            raise RecipeError(
                f"{self.data}: labelling needs a column that names sequences; add one, or choose another --kind"
            )
        if when.columns and series:
            guess.options["order"] = one(when.columns)
            guess.comments += when.reasons
            self._guess_order_options()
        elif when.columns:
            guess.comments.append(f"no order: each row is a sequence, and {one(when.columns)!r} is left out")
        elif not series:
            guess.comments.append("every row is a sequence whose columns are its steps; else name task.sequence")
        features = self._features()
        # In a wide table all other columns are features by default, which keeps the recipe short.
        others = [name for name in self.columns if name not in self._taken() and not is_row_number(name)]
        if len(features) <= _NAMED or set(features) != set(others):
            guess.options["features"] = features
        guess.options["target"] = one(self.target)
        if guess.kind == "forecasting":
            self._note_forecasts(features)
        counts = (
            np.unique(self.runs.astype(str), return_counts=True)[1] if self.runs is not None else [len(self.head.rows)]
        )
        guess.longest = int(max(counts)) if series else len(features)
        self._guess_missing(features, series)
        self._guess_labels()
        if guess.kind == "forecasting" and len(counts) > 2 and guess.longest < _SHORT:
            guess.options["split"] = "fraction"
            guess.comments.append("split: the series are too short to be cut in time, so whole ones are drawn")

    def _note_forecasts(self, features: list[str]) -> None:
        """Name the options of a forecast that cannot be guessed from a file."""
        if set(features) > set(self.target):
            text = "names features whose values at the forecast steps are known in advance, such as holidays"
            self.guess.comments.append(f"known_future: {text}")
        if self.sequence:
            text = f"{JOINT.join(self.sequence)} would give each series its own mean and scale"
            self.guess.comments.append(f"normalise_by: {text}, which helps if their levels are far apart")

    def _row_numbers(self) -> list[str]:
        """Return the columns with row numbers or unique row names."""
        found = []
        for name, values in self.columns.items():
            if name in self.when.columns or name in self.sequence:
                continue
            if is_row_number(name):
                found.append(name)
            elif name.strip().lower() in (*SEQUENCE, "index", "row", "no", "nr") and not self.sequence:
                known, bad = numbers(values, self.reading)
                if not bad and (known % 1 > 0).any():
                    continue  # measured, such as nitric oxide in a column called no
                keys = words(values, self.reading)
                if len(set(keys.tolist())) == len(keys):
                    found.append(name)
        if found:
            self.guess.comments.append(
                f"no features, because they number the rows: {', '.join(n or repr(n) for n in found)}"
            )
        return found

    def _numeric(self) -> list[str]:
        found = []
        for name, values in self.columns.items():
            known, bad = numbers(values, self.reading)
            if not bad and not np.isnan(known).all():
                found.append(name)
        return found

    def _target(self, given: list[str] | None) -> list[str]:
        names = list(self.columns)
        left = [name for name in self.numeric if name not in self._roles() and name not in self.row_numbers]
        if given or named(names, TARGET) or not self.when.columns or len(left) != 1:
            known = {*self.numeric, *self._roles(), *self.row_numbers}
            texts = [self._text_in(name) for name in names if name not in known]
            hint = f"; these hold neither numbers nor times: {', '.join(texts[:_NAMED])}" if texts else ""
            return target_of(names, given, hint)
        self.guess.comments.append(f"target: {left[0]!r} is the only column of values")
        return left

    def _roles(self) -> set[str | None]:
        return {*self.sequence, self.split, *self.when.columns}

    def _taken(self) -> set[str | None]:
        return self._roles() | (set() if self.guess.kind == "forecasting" else set(self.target))

    def _features(self) -> list[str]:
        rest = [name for name in self.columns if name not in self._taken() and name not in self.row_numbers]
        rest = [name for name in rest if not self.sequence or name.strip().lower() not in SEQUENCE]
        features = [name for name in rest if name in self.numeric]
        counting = [name for name in features if self.runs is None and self._counts_rows(name)]
        if counting and self.guess.kind != "forecasting" and len(features) > len(counting):
            features = [name for name in features if name not in counting]
            rest = [name for name in rest if name not in counting]
            self.guess.comments.append(f"no features, because they count the rows: {', '.join(counting)}")
        no_numbers = []
        for name in rest:
            if name not in features:
                no_numbers.append(self._text_in(name))
        if not features:
            why = f"these hold other texts: {', '.join(no_numbers)}" if no_numbers else "every column has another role"
            if self.target[0] not in self.numeric and not no_numbers:
                why += f", and the target holds texts: {self._text_in(self.target[0])}"
            raise DataError(f"{self.data}: no column of numbers remains as a feature; {why}")
        if no_numbers:
            hint = "" if self.runs is None and self.guess.kind != "forecasting" else "; words go into task.categorical"
            self.guess.comments.append(f"no features, because they hold other texts: {', '.join(no_numbers)}{hint}")
        return features

    def _counts_rows(self, name: str) -> bool:
        """Return True for the numbers of the rows, which tell nothing of a row, but its class if they are sorted."""
        steps = np.diff(numbers(self.columns[name], self.reading)[0])
        return len(steps) > 8 and bool((steps == 1).all())

    def _text_in(self, name: str) -> str:
        """Return a column with the first text in it that is not a number, or no time among times."""
        bad = numbers(self.columns[name], self.reading)[1]
        odd = not_a_time(self.columns[name]) if bad else None
        if odd is not None:
            value = str(value_at(self.columns[name], odd) or "")[:40]
            return f"{name} (dates or times, but not {value!r} in {self.head.place(odd)})"
        shown = f"{str(value_at(self.columns[name], bad[0]))[:40]!r} in {self.head.place(bad[0])}" if bad else "empty"
        return f"{name} ({shown})"

    def _kind(self) -> tuple[str, str]:
        wanted = self.target[0]
        values, bad = numbers(self.columns[wanted], self.reading)
        known = values[~np.isnan(values)]
        different = len(np.unique(known))
        classes = bool(bad) or (bool((known % 1 == 0).all()) and different <= _CLASSES)
        what = f"{wanted!r} holds words" if bad else f"{wanted!r} holds {different} different whole numbers"
        if self.runs is None and self.when.columns and not bad and (not classes or different > 2):
            return "forecasting", "times and no names of sequences make one series, whose next values are forecast"
        if any(map(self._changes_within_a_sequence, self.target)):
            if classes and len(self.target) == 1:
                return "labelling", f"{what}, which change within a sequence: each step has a class"
            return "forecasting", "the target changes within a sequence: its next values are forecast"
        of = "each row" if self.runs is None else "each sequence"
        if bad:
            self._refuse_no_classes(wanted, bad)
        if classes:
            return "classification", f"{what}: {of} has a class; for values set kind to regression"
        return "regression", f"{wanted!r} holds numbers: {of} has a value"

    def _changes_within_a_sequence(self, target: str) -> bool:
        if self.runs is None:
            return False
        order = np.argsort(self.runs.astype(str), kind="stable")
        runs, labels = self.runs[order], words(self.columns[target], self.reading)[order]
        return bool(((runs[1:] == runs[:-1]) & (labels[1:] != labels[:-1])).any())

    def _refuse_no_classes(self, target: str, bad: list[int]) -> None:
        """Refuse texts that are nearly all different: numbers in another notation, or with other texts among them."""
        labels = words(self.columns[target], self.reading)
        count = len(set(labels.tolist()))
        if 2 * count <= len(labels) or count <= _CLASSES:
            return
        text, _ = not_a_number(value_at(self.columns[target], bad[0]), self.reading)
        raise RecipeError(
            f"{self.data}: the target {target!r} holds {count} different texts in {len(labels)} rows, which are no "
            f"classes; in {self.head.place(bad[0])} {text}"
        )

    def _refuse_odd_times(self, guessed: bool, series: bool) -> None:
        """Refuse a column of times that cannot be read, or a row of it, where the kind of prediction hangs on it.

        Args:
            guessed: The kind is a guess.
            series: Rows are steps.
        """
        name = named(self.columns, TIME)
        # A time may also be "evening".
        if name is None or name in self.numeric or not re.search("[0-9]", str(value_at(self.columns[name], 0))):
            return
        odd = not_a_time(self.columns[name])
        rows = "the rows in the order of the file" if series else "each row by itself"
        if odd is not None and (guessed or series):
            remedy = "" if series else "; or take each row by itself with --kind regression or classification"
            raise RecipeError(f"{self.data}: column {self._text_in(name)}; correct it or remove the row{remedy}")
        if odd is None and guessed:
            raise RecipeError(
                f"{self.data}: column {self._text_in(name)}: no known form of dates; give it with --order-format, or "
                f"take {rows} with --kind {self.guess.kind}"
            )

    def _guess_order_options(self) -> None:
        stamps, guess = self.when.stamps, self.guess
        if self.runs is None:
            zone = guess_zone(stamps)
            if zone is not None:
                guess.options["order_timezone"] = zone
                guess.comments.append(f"order_timezone: clock times are repeated in autumn, as in {zone}; check it")
                return
        if guess.kind != "forecasting":
            return
        steps = np.diff(np.sort(stamps)).astype(np.float64) if self.runs is None else np.empty(0)
        forward = steps[steps > 0]
        if len(forward) > 2 and forward.max() > GAP * np.median(forward):
            guess.options["gaps"] = "split"
            guess.comments.append("gaps: the series has gaps; no window spans one")

    def _guess_missing(self, features: list[str], series: bool) -> None:
        gaps = sum(int(np.isnan(numbers(self.columns[name], self.reading)[0]).sum()) for name in features)
        if not gaps:
            return
        if series:
            self._guess_gaps(gaps)
        else:
            self.guess.comments.append(f"{counted(gaps, 'missing value')}: empty cells that end a row are not steps")

    def _guess_gaps(self, gaps: int) -> None:
        if gaps:
            self.guess.missing = "forward_fill"
            text = f"missing: {counted(gaps, 'missing value')}; each takes the last value before it"
            begin = "; a series begins with the first value of its target"
            self.guess.comments.append(text + (begin if self.guess.kind == "forecasting" else ""))

    def _guess_labels(self) -> None:
        if self.guess.kind not in ("classification", "labelling"):
            return
        labels = {label for label in words(self.columns[self.target[0]], self.reading).tolist() if label is not None}
        if len({folded(label) for label in labels}) < len(labels):
            alike = sorted(label for label in labels if sum(folded(other) == folded(label) for other in labels) > 1)
            letters = all(len(label) == 1 for label in alike)
            self.guess.options["similar_labels"] = "keep" if letters else "fold"
            what = "different classes" if letters else "one class"
            self.guess.comments.append(f"similar_labels: {' and '.join(map(repr, alike[:4]))} are taken for {what}")


def _keep_label_words(columns: dict[str, Any], reading: Reading, guess: Guess) -> None:
    """Keep words such as none as classes if the target has them, unless they are rare."""
    if guess.kind not in ("classification", "labelling"):
        return
    kept = word_classes(columns[guess.options["target"]])
    if kept:
        given = reading.missing_values or ("na", "n/a", "nan", "null", "none")
        left = [text for text in given if text not in {word.lower() for word in kept}]
        guess.options["missing_values"] = left
        guess.comments.append(f"missing_values: {', '.join(map(repr, kept))} are classes of the target")
