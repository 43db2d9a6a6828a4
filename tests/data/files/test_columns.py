"""A text is read as a number, class or time by a grammar and options, or refused with the option that would help."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from momentum_cli.data.files.columns import not_a_number, numbers, times, words
from momentum_cli.data.files.labels import Labels
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.problems import Problems

NAN = math.nan


@pytest.mark.parametrize(
    ("texts", "reading", "wanted", "bad"),
    [
        (["1", "+1", " .5 ", "5.", "-1e3", "1E+2"], Reading(), [1, 1, 0.5, 5, -1000, 100], []),
        # What Python's float takes besides numbers.
        (["1_000", "１２", "0x10", "1e400", "inf", "1e39"], Reading(), [NAN] * 6, [0, 1, 2, 3, 4, 5]),
        (["", "NA", "n/a", "NaN", "null", None, "1"], Reading(), [*[NAN] * 6, 1], []),
        (["NA", "?", "-200", "-200.0", "1"], Reading(missing_values=("?", "-200")), [NAN, NAN, NAN, NAN, 1], [0]),
        (["1,5", "1.5", "-0,25", "1"], Reading(decimal=","), [1.5, NAN, -0.25, 1], [1]),
        # Thousands stand between groups of three: 1,5 is not 15, and 1,2345 nothing at all.
        (["1,209", "3,000.25", "1,5", "1,2345", "12"], Reading(thousands=","), [1209, 3000.25, NAN, NAN, 12], [2, 3]),
        (["1.234,5", "1234,5", "1.5"], Reading(decimal=",", thousands="."), [1234.5, 1234.5, NAN], [2]),
        (["1 000", "1\u00a0000,5", "1\u202f000"], Reading(decimal=",", thousands=" "), [1000, 1000.5, 1000], []),
        (["(1,234.5)", "($7)", "( 8 )", "-3", "5", "(-5)", "()", "(a)", "1-"],
         Reading(thousands=",", negative="parentheses", units=(("$", 1.0),)),
         [-1234.5, -7, -8, -3, 5, NAN, NAN, NAN, NAN], [5, 6, 7, 8]),
        (["1.234,5-", "5-", "12 -", "-3", "-5-", "(5)"], Reading(decimal=",", thousands=".", negative="trailing"),
         [-1234.5, -5, -12, -3, NAN, NAN], [4, 5]),
        (["5 kWh", "2h", "7"], Reading(units=(("h", 10.0), ("kWh", 2.0))), [10.0, 20.0, 7.0], []),
        (["−5.5", "− 2", "-1", "3"], Reading(negative="typographic"), [-5.5, -2.0, -1.0, 3.0], []),
        (["5.59M", "-0.30%", "2 K", "$3", "M"], Reading(units=(("%", 0.01), ("K", 1e3), ("M", 1e6), ("$", 1.0))),
         [5.59e6, -0.003, 2000, 3, NAN], [4]),
    ],
)  # fmt: skip
def test_texts_are_numbers_as_the_reading_says(
    texts: list[Any], reading: Reading, wanted: list[float], bad: list[int]
) -> None:
    found, places = numbers(texts, reading)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)
    assert places == bad


def test_numbers_of_every_type_of_column() -> None:
    pa = pytest.importorskip("pyarrow")
    columns = [
        pa.array([1, None, -200], pa.int64()),
        pa.array([1.0, math.nan, -200.0], pa.float32()),
        pa.array(["1", "?", "-200"]).dictionary_encode(),
        pa.array([Decimal("1.00"), None, Decimal("-200.00")]),
        [1, None, -200],
        np.array([1.0, NAN, -200.0]),
    ]
    for column in columns:
        found, bad = numbers(column, Reading(missing_values=("-200", "?")))
        np.testing.assert_array_equal(found, [1, NAN, NAN])
        assert bad == []
    assert numbers(pa.array([True, False]))[0].tolist() == [1, 0]
    assert numbers(pa.array([[1.0], None]))[1] == [0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1,209278", "'1,209278' is not a finite number; set task.csv.decimal=','"),
        ("1,209", "'1,209' is not a finite number; set task.csv.decimal=',' or task.csv.thousands=','"),
        ("-0.30%", "'-0.30%' is not a finite number; set task.csv.units={'%': 0.01}"),
        ("(5.5)", "'(5.5)' is not a finite number; set task.csv.negative=parentheses"),
        ("5.5-", "'5.5-' is not a finite number; set task.csv.negative=trailing"),
        ("?", "'?' is not a finite number; if it marks a missing value, add it to task.missing_values: ['?']"),
        (
            "1605.31*",
            "'1605.31*' is not a finite number; it is a number with the mark '*': set task.csv.units={'*': 1} "
            "to read it without",
        ),
        (
            "<0.05",
            "'<0.05' is not a finite number; if it marks a missing value, add it to task.missing_values: ['<0.05']",
        ),
        ("inf", "'inf' is not a finite number"),
        ("1e39", "'1e39' is beyond the range of float32"),
    ],
)
def test_the_option_that_reads_a_text_is_named(text: str, wanted: str) -> None:
    assert not_a_number(text)[0] == wanted


def test_the_option_for_a_further_unit_keeps_those_that_are_set() -> None:
    text = not_a_number("7†", Reading(units=(("*", 1.0),)))[0]
    assert text.endswith("; it is a number with the mark '†': set task.csv.units={'*': 1, '†': 1} to read it without")
    assert numbers(["7†", "8*", "9"], Reading(units=(("*", 1.0), ("†", 1.0))))[0].tolist() == [7, 8, 9]


def test_words_are_one_however_they_are_written() -> None:
    assert words(["1", "1.0", "1.", "01", "1.50", " a", "None"]).tolist() == ["1", "1", "1", "01", "1.50", "a", None]
    assert words(np.array([1.0, 2.5, NAN])).tolist() == ["1", "2.5", None]
    assert words(["none", "NA"], Reading(missing_values=("na",))).tolist() == ["none", None]


@pytest.mark.parametrize(("similar", "labels"), [("refuse", "A a b"), ("fold", "a b"), ("keep", "A a b")])
def test_labels_that_differ_in_case_are_refused_or_one(similar: str, labels: str) -> None:
    found, problems = Labels(similar, "y"), Problems()
    codes = [found.code(label, row) for row, label in enumerate(["a", "b", "A", "a"])]
    names, places = found.sorted()
    assert " ".join(names) == labels
    assert [names[places[code]].lower() for code in codes] == ["a", "b", "a", "a"]
    found.find_similar(problems)
    assert [(problem.code, problem.rows) for problem in problems.all] == (
        [("similar_labels", [0, 2])] if similar == "refuse" else []
    )
    numbers_of = Labels("refuse", "y")
    for row, label in enumerate(["01", "1", "2"]):
        numbers_of.code(label, row)
    numbers_of.find_similar(problems)
    assert "'01' and '1' are different classes" in problems.all[-1].text


def test_whole_numbers_order_steps_exactly() -> None:
    nanoseconds = [1600000000000000001, 1600000000000000000]
    for values in (nanoseconds, [str(value) for value in nanoseconds]):
        found, bad = times(values)
        assert (found.tolist(), bad) == (nanoseconds, [])
    assert times(["1", "2.5", "", "soon"])[1] == [2, 3]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ({"decimel": ","}, "csv: unknown key 'decimel' of task.csv; did you mean 'decimal'"),
        ({"null_values": ["?"]}, "csv.null_values: unknown key; use task.missing_values, which works for every format"),
        ({"decimal": ";"}, "csv.decimal must be '.' or ',', got ';'"),
        ({"thousands": "."}, "csv.thousands must be one character other than csv.decimal"),
        ({"negative": "minus"}, "csv.negative must be parentheses or trailing or typographic, got 'minus'"),
        ({"encoding": "latin-9000"}, "csv.encoding must be an encoding of Python such as cp1252"),
        ({"skip_rows": -1}, "csv.skip_rows must be an integer >= 0, got -1"),
        ({"units": {"%": 0}}, "csv.units.% must be a factor other than 0, got 0"),
        ({"delimiter": ",,"}, "csv.delimiter must be one character, or whitespace, got ',,'"),
    ],
)
def test_options_of_texts_that_are_wrong(csv: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="csv") as error:
        Reading.of(csv, None)
    assert message in str(error.value).replace("`", "")


def test_the_order_of_units_means_nothing() -> None:
    one, other = ({"units": dict(pairs)} for pairs in ([("K", 1e3), ("%", 0.01)], [("%", 0.01), ("K", 1e3)]))
    assert Reading.of(one, None).dump() == Reading.of(other, None).dump()


def test_a_reading_travels() -> None:
    reading = Reading(decimal=",", units=(("%", 0.01),), missing_values=("?",))
    assert Reading.restored(reading.dump()) == reading
    assert Reading.restored(Reading().dump()) == Reading()
