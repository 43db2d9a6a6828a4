"""Pictures of forecasts: what their axes say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from matplotlib.figure import Figure

from momentum_cli.pictures.forecasts import Forecast, Words, _panel

DAYS = [f"2024-01-0{day}T00:00:00" for day in range(1, 9)]


@pytest.mark.parametrize(
    ("times", "ticks", "label"),
    [
        (DAYS, {-4: "2024-01-01", 0: "2024-01-05"}, ""),
        # A file that is predicted gives the last known time, and those that follow.
        ([*[None] * 4, *DAYS[4:]], {0: "2024-01-05"}, ""),
        ([3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], None, "steps ahead"),
        ([], None, "steps ahead"),
    ],
)
def test_a_panel_has_the_dates_of_its_series(times: Sequence[Any], ticks: dict[int, str] | None, label: str) -> None:
    axes = Figure().subplots()
    _panel(axes, Forecast([6, 7, 8], [1, 2, 3, 4, 5], times=times), Words("y"))
    assert axes.get_xlabel() == label
    if ticks is not None:
        assert dict(zip(axes.get_xticks(), [text.get_text() for text in axes.get_xticklabels()], strict=True)) == ticks
