"""The layout of a table of text: its delimiter, told by the heading and the row below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from momentum_cli.data.files.layout import find_layout
from momentum_cli.data.files.reading import Reading


@pytest.mark.parametrize(
    ("text", "delimiter", "names"),
    [
        ('time;"a,b"\n2021-01-01;1.5\n', ";", ("time", "a,b")),
        ('time;"a,b,c"\n2021-01-01;1.5\n', ";", ("time", "a,b,c")),
        ("time;a\n2021-01-01 00:00;1,5\n", ";", ("time", "a")),
        ("date time,a,b\n1,2020-01-01 00:00,3,4\n", ",", ("", "date time", "a", "b")),  # row names without a heading
        ("time stamp,b\n2021-01-01 06:30,1\n", ",", ("time stamp", "b")),
    ],
)
def test_the_delimiter_suits_the_row_below(tmp_path: Path, text: str, delimiter: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    layout = find_layout(path, Reading())
    assert layout.delimiter == delimiter
    assert tuple(name if not name.startswith("(") else "" for name in layout.names) == names
