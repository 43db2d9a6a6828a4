"""Cells and line numbers of CSV files are those that Python's csv module and an editor show."""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
from pathlib import Path

import pytest

from momentum_cli.data.files import csv_blocks as module
from momentum_cli.data.files.csv_blocks import csv_blocks, csv_columns
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError


def read(path: Path, reading: Reading, problems: Problems) -> tuple[list[list[str]], list[int]]:
    names = csv_columns(path, reading)
    cells, rows = [], []
    for columns, numbers in csv_blocks(path, names, reading, problems):
        cells += [list(row) for row in zip(*(columns[name].to_pylist() for name in names), strict=True)]
        rows += numbers.tolist()
    return [[cell or "" for cell in row] for row in cells], rows


@pytest.mark.parametrize("seed", range(8))
def test_any_file_reads_as_with_the_csv_module_in_blocks_of_any_size(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    delimiter, end = draw.choice(",;\t|"), draw.choice(["\n", "\r\n"])
    cells = ["1", "", "a b", 'say "so"', "x\ny", "ü€", "1,5", "a;b", "-"]
    table = [["n", "a", "b", "größe"], *([str(n), *draw.choices(cells, k=3)] for n in range(200))]
    text, rows, line = io.StringIO(), [], 1
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    for number, row in enumerate(table):
        if number and draw.random() < 0.1:
            text.write(draw.choice(["", delimiter * 3, "  "]) + end)
            line += 1
        rows.append(line)
        before = text.tell()
        writer.writerow(row)
        line += text.getvalue()[before:].count("\n")
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16"])
    path = tmp_path / "a.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    for size in (64, 1000, 8 << 20):
        monkeypatch.setattr(module, "BYTES", size)
        problems = Problems()
        found, numbers = read(path, Reading(), problems)
        assert found == table[1:]
        assert numbers == rows[1:]
        assert not problems


def test_rows_of_another_width_are_named_by_line(tmp_path: Path) -> None:
    path, problems = tmp_path / "a.csv", Problems()
    path.write_text('a,b\n1,2\n\n3\n4,5,6\n"7\n7",8\n9\n', encoding="utf-8")
    found, rows = read(path, Reading(), problems)
    assert (found, rows) == ([["1", "2"], ["7\n7", "8"]], [2, 6])
    assert [(problem.code, problem.rows) for problem in problems.all] == [("cells", [4, 5, 8])]


@pytest.mark.parametrize(
    ("content", "reading", "names", "first"),
    [
        ("# x\na b\n# y\n1   2\n", Reading(delimiter="whitespace", comment="#"), ["a", "b"], (["1", "2"], 4)),
        ("title\n\na;b\n1;2\n", Reading(skip_rows=1), ["a", "b"], (["1", "2"], 4)),
        ("1,2\n3,4,5\n", Reading(header=False), ["c1", "c2", "c3"], (["1", "2", ""], 1)),
        ("sep=|\na|b,c\n1|2\n", Reading(), ["a", "b,c"], (["1", "2"], 3)),
        ('"a, x";b\n1;2\n', Reading(), ["a, x", "b"], (["1", "2"], 2)),
        ("a,b\nr1,1,2\n", Reading(), ["(column 1)", "a", "b"], (["r1", "1", "2"], 2)),
        ("a,b\n1,2,\n3,4,\n", Reading(), ["a", "b", "(column 3)"], (["1", "2", ""], 2)),
        ("a,b,,\n1,2\n", Reading(), ["a", "b"], (["1", "2"], 2)),
    ],
)
def test_layouts(
    content: str, reading: Reading, names: list[str], first: tuple[list[str], int], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    assert csv_columns(path, reading) == names
    found, rows = read(path, reading, Problems())
    assert (found[0], rows[0]) == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,\xfc\n", r"not UTF-8 text .byte 0xfc in line 2.; set task.csv.encoding, such as cp1252"),
        (b"a,b\n" + b"1,2\n" * 400_000 + b"1,\xfc\n", r"not UTF-8 text .byte 0xfc in line 400002."),
        (b"1,2\n3,4\n", r"expected a header row with column names, got '1,2'; .* set task.csv.header=false"),
        (b"\n \n", "the file is empty"),
    ],
)
def test_files_that_cannot_be_read_say_where_and_what_to_do(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path, Reading(), Problems())
    (tmp_path / "b.csv.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(DataError, match="damaged, or cut short"):
        read(tmp_path / "b.csv.gz", Reading(), Problems())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="needs wait4")
def test_two_million_rows_are_looked_at_and_trained_on_within_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    benchmark = Path(__file__).parents[3] / "benchmarks" / "reading.py"
    done = subprocess.run(
        [sys.executable, str(benchmark), "--out", str(tmp_path), "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    sizes = {
        line.split(": ")[0]: float(line.split(": ")[1].split()[0]) for line in done.stdout.splitlines() if " GB" in line
    }
    assert set(sizes) == {"init", "data check", "train, 1 epoch"}
    assert max(sizes.values()) < 1.5


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_that_are_cut_in_threads_come_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    from momentum_cli.data import Files

    monkeypatch.setattr(module, "BYTES", 1 << 10)
    monkeypatch.setattr(module, "THREADS", threads)
    draw = random.Random(7)
    values = [[round(draw.gauss(0, 10**column), 6) for column in range(4)] for _ in range(3000)]
    lines = ["t,a,b,c", *(f"{n},{row[0]},{row[1]},{row[2]}" for n, row in enumerate(values))]
    lines[1500] += ",9"
    lines[2600] = "2599,x,1,1"
    lines[2900] = "2899,1,y,1"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    problems = Problems()
    task = Files(path=str(path), kind="forecasting", order="t", target="a", window=3)
    gathered = task.gather(path, problems)
    said = [(problem.code, problem.rows) for problem in problems.all if problem.code != "missing"]
    assert said == [("cells", [1501]), ("not_a_number", [2601]), ("not_a_number", [2901])]
    left = [row[:3] for n, row in enumerate(values) if n not in (1499, 2599, 2899)]
    found = gathered.features.read(0, len(gathered.features))
    keep = [n for n in range(2999) if n not in (2598, 2898)]
    assert found[keep].tolist() == left
    _, numbers = read(path, Reading(), Problems())
    assert numbers == [n for n in range(2, 3002) if n != 1501]
