"""Long names of columns, sequences and classes leave a picture as it is with short ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from momentum_cli.pictures.confusion import confusion
from momentum_cli.pictures.forecasts import Forecast, Words, errors_by_step, forecasts, short_time, values
from momentum_cli.pictures.samples import _range, samples
from momentum_cli.pictures.style import caption, shortened

LONG = "a very long name of a measured quantity at the north-western station (kWh per square metre and hour) no. "
ONE = Forecast([1.0, 2.0, 1.5], [3.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0.0, 1.0, 0.5], [2.0, 3.0, 2.5])


def draw_forecasts(name: str, path: Path) -> None:
    apart = [Forecast(ONE.values, ONE.past, ONE.truth, title=f"{name}{row}") for row in range(4)]
    forecasts(
        [ONE],
        apart,
        {f"{name}b": [ONE]},
        Words(name, "last value", "80 % interval", f"{name}: the last forecasts"),
        path,
    )


def draw_predictions(name: str, path: Path) -> None:
    forecasts([], [Forecast(ONE.values, ONE.past, title=name)] * 3, {}, Words(name), path)


def draw_errors(name: str, path: Path) -> None:
    rows = [{"target": f"{name}{row}", "steps": [{"step": 1, "mae": 1.0}, {"step": 2, "mae": 2.0}]} for row in range(3)]
    errors_by_step(rows, rows, "last value", path)


def draw_values(name: str, path: Path) -> None:
    values([1.0, 2.0], [1.5, 2.5], name, path)


def draw_samples(name: str, path: Path) -> None:
    random = np.random.default_rng(0)
    samples(
        [random.normal(size=(9, 2)) * [1, 1e5]] * 6,
        [f"{name}{row}" for row in range(6)],
        path,
        [f"{name}a", f"{name}b"],
    )


def draw_confusion(name: str, path: Path) -> None:
    confusion(np.eye(30), [f"{name}{row}" for row in range(30)], path)


@pytest.mark.parametrize(
    "draw", [draw_forecasts, draw_predictions, draw_errors, draw_values, draw_samples, draw_confusion]
)
def test_long_names_do_not_widen_a_picture(draw: Callable[[str, Path], None], tmp_path: Path) -> None:
    sizes = []
    for number, name in enumerate(("load", LONG)):
        path = tmp_path / f"{number}.png"
        draw(name, path)
        sizes.append(struct.unpack(">II", path.read_bytes()[16:24]))
    (width, height), (wide, high) = sizes
    assert wide <= 1.2 * width
    assert high <= 1.2 * height


@pytest.mark.parametrize(("width", "lines"), [(10, 1), (20, 2), (36, 2), (92, 3)])
def test_a_caption_fits_and_keeps_the_ends(width: int, lines: int) -> None:
    for text in (LONG + "17", "x" * 300, "word " * 60, "$x$", "short"):
        broken = caption(text, width, lines).split("\n")
        assert len(broken) <= lines
        assert all(len(line.replace("\\$", "$")) <= width for line in broken)
        assert "\n".join(broken).count("…") == (len(text.strip()) > width * lines)
    assert caption(LONG + "17", width, lines).endswith("17")


def test_shortened_names_differ_where_the_names_do() -> None:
    names = {shortened(f"{LONG}{number}", 20) for number in range(100)}
    assert len(names) == 100
    assert max(map(len, names)) == 20


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.0, 1.0, "0 to 1"), (1.6e9 + 38.5, 1.6e9 + 60.8, "1600000038.5 to 1600000060.8"), (4e-5, 6e-5, "4e-05 to 6e-05"),
     (-2.5, -2.5, "-2.5 to -2.5")],
)  # fmt: skip
def test_the_ends_of_a_range_differ(low: float, high: float, text: str) -> None:
    assert _range(low, high) == text


def test_times_without_what_is_zero() -> None:
    times = ["2024-01-31T00:00:00", "2024-01-31T12:00:00", "2024-01-31T12:30:10", "17.5", ""]
    assert list(map(short_time, times)) == ["2024-01-31", "2024-01-31 12:00", "2024-01-31 12:30:10", "17.5", ""]
