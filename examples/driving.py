"""Write synthetic drives along curved roads as a CSV: what a car measures, and how its driver steers.

    python examples/driving.py drives.csv --drives 24 --seconds 90 --seed 0

One row is a tenth of a second:

| column | unit | |
|---|---|---|
| `drive` | | name of the drive: its own road and driver |
| `time` | s | |
| `speed` | m/s | |
| `yaw_rate` | rad/s | to the left is positive, as for all that follows |
| `offset` | m | of the car from the middle of its lane |
| `curvature` | 1/m | of the road at the point that the car reaches in a second |
| `steering` | degrees | angle of the steering wheel |

**Car.** The linear single-track or bicycle model (Riekert and Schunck 1940): both wheels of an axle are one, and its
lateral force is proportional to its slip angle. With mass m, yaw inertia J, distances a and b of the axles from the
centre of gravity, stiffnesses C_f and C_r, speed v, lateral speed u, yaw rate r and angle δ of the front wheels:

    m (u' + v r) = F_f + F_r        F_f = C_f (δ - (u + a r) / v)
    J r' = a F_f - b F_r            F_r = -C_r (u - b r) / v

**Road.** Straights and arcs of 60 to 400 m radius, with clothoids between them. With curvature κ at the place s of the
car, its offset e and its angle ψ to the lane change by  e' = u + v ψ,  ψ' = r - κ v,  s' = v.  The car brakes and
accelerates by at most 2 m/s² so that v² κ stays near 2.5 m/s² in the arcs ahead.

**Driver.** Two levels (Donges 1978): one steers by the curvature seen ahead, one corrects offset and angle. The wheel
angle that this asks for, with L = a + b and K = m (b C_r - a C_f) / (L C_f C_r), is

    δ* = (L + K v²) (κ(s + v p) - (ω² e + 2 ζ ω v ψ) / v²)

The hands follow it after a delay τ (0.15 to 0.35 s, by driver) and a lag of 0.15 s, so the preview time is
p = τ + 0.15 s. In front of the lag they tremble: an Ornstein-Uhlenbeck process that forgets in 0.5 s, with a standard
deviation of 0.0015 rad at the wheels. The steering gear divides by 16. Sensors have noise.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

STEP = 0.01  # seconds of an integration step
ROWS_PER_SECOND = 10
GEAR = 16.0
LAG = 0.15  # seconds
TREMOR, MEMORY = 0.0015, 0.5  # standard deviation in rad of the front wheels, and seconds


@dataclass(frozen=True)
class Car:
    """A middle-class car; SI units, stiffnesses are those of an axle in N/rad."""

    mass: float = 1500.0
    inertia: float = 2500.0
    front: float = 1.2
    rear: float = 1.5
    stiffness_front: float = 80_000.0
    stiffness_rear: float = 90_000.0

    def wheel_angle(self, curvature: float, speed: float) -> float:
        """Return the angle in rad of the front wheels that holds the car on a circle, in the steady state."""
        wheelbase = self.front + self.rear
        moment = self.rear * self.stiffness_rear - self.front * self.stiffness_front
        understeer = self.mass * moment / (wheelbase * self.stiffness_front * self.stiffness_rear)
        return (wheelbase + understeer * speed**2) * curvature

    def accelerations(self, angle: float, speed: float, lateral: float, yaw_rate: float) -> tuple[float, float]:
        """Return u' in m/s² and r' in rad/s²."""
        front = self.stiffness_front * (angle - (lateral + self.front * yaw_rate) / speed)
        rear = -self.stiffness_rear * (lateral - self.rear * yaw_rate) / speed
        turn = (self.front * front - self.rear * rear) / self.inertia
        return (front + rear) / self.mass - speed * yaw_rate, turn


class Road:
    """The curvature in 1/m of a road by its length in m, linear between corners."""

    def __init__(self, corners: list[tuple[float, float]]) -> None:
        self.corners = corners

    @classmethod
    def winding(cls, length: float, draw: random.Random) -> Road:
        """Return a road of straights and arcs at random."""
        corners = [(0.0, 0.0), (100.0, 0.0)]
        while corners[-1][0] < length:
            radius = math.exp(draw.uniform(math.log(60), math.log(400)))
            curvature = draw.choice((-1, 1)) / radius
            clothoid = draw.uniform(30, 60)
            # An arc turns by 20 to 90 degrees.
            arc = radius * math.radians(draw.uniform(20, 90))
            for stretch, value in (
                (clothoid, curvature),
                (arc, curvature),
                (clothoid, 0.0),
                (draw.uniform(0, 150), 0.0),
            ):
                corners.append((corners[-1][0] + stretch, value))
        return cls(corners)

    def curvature(self, place: float) -> float:
        """Return the curvature at a place; after the last corner the road is straight."""
        for (start, first), (end, last) in zip(self.corners, self.corners[1:], strict=False):
            if start <= place < end:
                return first + (last - first) * (place - start) / (end - start)
        return 0.0


def drive(road: Road, seconds: float, draw: random.Random, car: Car | None = None) -> Iterator[dict[str, float]]:
    """Yield what a car measures in a drive, without the noise of its sensors, ten rows per second."""
    car = car or Car()
    delay, pace, damping = draw.uniform(0.15, 0.35), draw.uniform(0.6, 1.0), draw.uniform(0.7, 1.0)
    cruise = draw.uniform(18, 28)
    asked = deque([0.0] * round(delay / STEP))
    place = lateral = yaw_rate = offset = angle = wheel = tremor = 0.0
    speed = cruise
    for number in range(round(seconds / STEP)):
        if number % round(1 / STEP / ROWS_PER_SECOND) == 0:
            yield {
                "time": number * STEP,
                "speed": speed,
                "yaw_rate": yaw_rate,
                "offset": offset,
                "curvature": road.curvature(place + speed),
                "steering": math.degrees(GEAR * wheel),
            }
        sharpest = max(abs(road.curvature(place + ahead)) for ahead in range(0, 80, 10))
        wanted = min(cruise, math.sqrt(2.5 / sharpest)) if sharpest > 0 else cruise
        speed += STEP * max(-2.0, min(2.0, wanted - speed))
        seen = road.curvature(place + speed * (delay + LAG))
        correction = (pace**2 * offset + 2 * damping * pace * speed * angle) / speed**2
        asked.append(car.wheel_angle(seen - correction, speed))
        tremor += STEP * -tremor / MEMORY + math.sqrt(2 * STEP / MEMORY) * draw.gauss(0, TREMOR)
        wheel += STEP * (asked.popleft() + tremor - wheel) / LAG
        sideways, turn = car.accelerations(wheel, speed, lateral, yaw_rate)
        # The yaw rate and the lateral speed first: then the explicit step is stable for all speeds here.
        lateral, yaw_rate = lateral + STEP * sideways, yaw_rate + STEP * turn
        offset += STEP * (lateral + speed * angle)
        angle += STEP * (yaw_rate - road.curvature(place) * speed)
        place += STEP * speed


# Standard deviation of the noise of a sensor, and the decimals that are written.
SENSORS = {"speed": (0.05, 2), "yaw_rate": (0.002, 4), "offset": (0.02, 3), "curvature": (0.0, 5), "steering": (0.2, 1)}


def write(path: str, drives: int = 24, seconds: float = 90.0, seed: int = 0) -> None:
    """Write drives with different roads and drivers to a CSV, completely or not at all."""
    unfinished = f"{path}.part"
    try:
        with open(unfinished, "w", newline="", encoding="utf-8") as file:
            _write_rows(file, drives, seconds, seed)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(unfinished)


def _write_rows(file: TextIO, drives: int, seconds: float, seed: int) -> None:
    table = csv.writer(file)
    table.writerow(["drive", "time", *SENSORS])
    for number in range(drives):
        # A drive is the same whatever the number of drives.
        draw = random.Random(f"{seed}-{number}")
        road = Road.winding(30 * seconds, draw)
        for row in drive(road, seconds, draw):
            values = [f"{row[name] + draw.gauss(0, noise):.{digits}f}" for name, (noise, digits) in SENSORS.items()]
            table.writerow([f"d{number:02d}", f"{row['time']:.1f}", *values])


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", help="the CSV to write")
    parser.add_argument("--drives", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=90.0, help="of each drive")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.drives < 1 or not 1 <= options.seconds <= 3600:
        parser.error("--drives must be >= 1, and --seconds from 1 to 3600")
    try:
        write(options.path, options.drives, options.seconds, options.seed)
    except OSError as error:
        parser.error(f"{options.path}: {error.strerror}")


if __name__ == "__main__":
    main()
