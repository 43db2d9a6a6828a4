"""The synthetic drives: the physics of the car, and the file."""

from __future__ import annotations

import csv
import math
import random
import runpy
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "driving.py"


@pytest.fixture(scope="module")
def driving() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


@pytest.mark.parametrize("speed", [12.0, 25.0])
def test_the_angle_for_a_circle_holds_the_car_on_it(driving: dict[str, Any], speed: float) -> None:
    car = driving["Car"]()
    angle = car.wheel_angle(1 / 80, speed)
    lateral = yaw_rate = 0.0
    for _ in range(2000):
        sideways, turn = car.accelerations(angle, speed, lateral, yaw_rate)
        lateral, yaw_rate = lateral + 0.01 * sideways, yaw_rate + 0.01 * turn
    # On a circle of 80 m the car turns by v / 80, whatever its tyres.
    assert yaw_rate == pytest.approx(speed / 80, rel=1e-9)
    # The front axle, which carries the load b / L of the mass, has the share b / L of the centripetal force.
    slip = angle - (lateral + car.front * yaw_rate) / speed
    share = car.rear / (car.front + car.rear)
    assert car.stiffness_front * slip == pytest.approx(share * car.mass * speed**2 / 80, rel=1e-9)


def test_a_road_is_linear_between_its_corners_and_ends_straight(driving: dict[str, Any]) -> None:
    road = driving["Road"]([(0.0, 0.0), (100.0, 0.0), (140.0, 0.01), (200.0, 0.01)])
    assert [road.curvature(place) for place in (50, 110, 170, 250)] == pytest.approx([0, 0.0025, 0.01, 0])


def test_a_driver_keeps_the_lane_on_an_arc_and_steers_as_the_circle_asks(driving: dict[str, Any]) -> None:
    road = driving["Road"]([(0.0, 0.0), (60.0, 1 / 200), (3000.0, 1 / 200)])
    rows = list(driving["drive"](road, 100.0, random.Random(1)))
    assert [row["time"] for row in rows[:3]] == pytest.approx([0, 0.1, 0.2])
    assert len(rows) == 1000
    settled = rows[150:]
    speed, steering, offset = (sum(row[name] for row in settled) / 850 for name in ("speed", "steering", "offset"))
    # v² / 200 m is near 2.5 m/s², unless the driver goes more slowly anyway.
    assert speed**2 / 200 < 2.6
    car = driving["Car"]()
    wanted = math.degrees(16 * car.wheel_angle(1 / 200, speed))
    assert steering == pytest.approx(wanted, rel=0.02)
    # Where nothing changes, u = -v ψ, and the correction of an offset balances that of the angle: ω² e = 2 ζ ω u.
    draw = random.Random(1)
    _, pace, damping = draw.uniform(0.15, 0.35), draw.uniform(0.6, 1.0), draw.uniform(0.7, 1.0)
    slip = car.front / (car.front + car.rear) * car.mass * speed**2 / 200 / car.stiffness_rear
    lateral = car.rear * speed / 200 - speed * slip
    assert offset == pytest.approx(2 * damping * lateral / pace, abs=0.03)
    assert abs(lateral) > 0.1
    # To the left all have the same sign.
    assert min(min(row["yaw_rate"], row["curvature"]) for row in settled) > 0


def test_a_drive_depends_on_the_seed_and_its_number_alone(driving: dict[str, Any], tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.csv", "two.csv", "other.csv"))
    driving["write"](str(one), drives=1, seconds=5.0)
    driving["write"](str(two), drives=2, seconds=5.0)
    driving["write"](str(other), drives=1, seconds=5.0, seed=1)
    assert two.read_text().startswith(one.read_text())
    assert other.read_text() != one.read_text()
    with open(two, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["drive"] for row in rows] == ["d00"] * 50 + ["d01"] * 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "other.csv", "two.csv"]


@pytest.mark.parametrize(
    "options",
    [
        ["--drives", "0"],
        ["--drives", "1.5"],
        ["--seconds", "0"],
        ["--seconds", "3601"],
        ["--seconds", "nan"],
        ["--seconds", "x"],
        ["--seed", "x"],
        ["--speed", "3"],
    ],
)
def test_options_out_of_range_write_nothing(
    driving: dict[str, Any], options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["driving.py", str(tmp_path / "drives.csv"), *options])
    with pytest.raises(SystemExit, match="2"):
        driving["main"]()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finished_is_not_left_behind(
    driving: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drives.csv").mkdir()
    monkeypatch.setattr("sys.argv", ["driving.py", str(tmp_path / "drives.csv"), "--drives", "1", "--seconds", "1"])
    with pytest.raises(SystemExit, match="2"):
        driving["main"]()
    assert "drives.csv: Is a directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["drives.csv"]


def test_a_folder_that_is_not_there_is_named(
    driving: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["driving.py", str(tmp_path / "none" / "drives.csv")])
    with pytest.raises(SystemExit, match="2"):
        driving["main"]()
    assert "drives.csv: No such file or directory" in capsys.readouterr().err
