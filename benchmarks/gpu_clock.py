"""Clocks of `gpu.py`: the time of a step for the host and for the device, and its memory.

A CUDA step is timed twice. Eagerly, from call to completion, with the share until the call returns: what a user sees.
As a replay of a CUDA graph, between two events: what the device needs when the host costs nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Step = Callable[[], Any]


class Card:
    """A CUDA device."""

    def wait(self) -> None:
        """Wait until all work is done."""
        torch.cuda.synchronize()

    def capture(self, step: Step) -> Step:
        """Return a replay of the step.

        Raises:
            RuntimeError: The step waits for the device, or does something else that a graph cannot hold.
        """
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        self.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def seconds(self, replay: Step) -> float:
        """Return the time between two events around a replay."""
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        replay()
        last.record()
        self.wait()
        return float(first.elapsed_time(last)) / 1e3

    def peak_bytes(self, step: Step) -> int | None:
        """Return the growth of the peak memory of all tensors by the step."""
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        self.wait()
        return torch.cuda.max_memory_allocated() - before


class Rehearsal:
    """The CPU in place of a card; it has no graphs, so a replay is the step itself."""

    def wait(self) -> None:
        """Return at once: nothing is asynchronous."""

    def capture(self, step: Step) -> Step:
        """Return the step."""
        return step

    def seconds(self, replay: Step) -> float:
        """Return the time of the step."""
        start = time.perf_counter()
        replay()
        return time.perf_counter() - start

    def peak_bytes(self, step: Step) -> int | None:
        """Return None."""
        return None


def clock(device: str) -> Card | Rehearsal:
    """Return the clock of a device."""
    return Card() if device == "cuda" else Rehearsal()


class Contender:
    """A step and its times, in milliseconds, round by round.

    Args:
        on: Clock of the device.
        step: Run twice to warm up, then captured.

    Attributes:
        wall, host: Of the eager step until it is done, and until the call returns.
        device: Of a replay; empty where there is none.
        replay: Of the captured step, or None.
        no_graph: Why there is none, or "".
    """

    def __init__(self, on: Card | Rehearsal, step: Step) -> None:
        self._on, self._step = on, step
        self.wall: list[float] = []
        self.host: list[float] = []
        self.device: list[float] = []
        self.replay: Step | None = None
        self.no_graph = ""
        for _ in range(2):
            start = time.perf_counter()
            step()
            on.wait()
            self.first_seconds = time.perf_counter() - start
        try:
            self.replay = on.capture(step)
        except RuntimeError as error:
            self.no_graph = str(error).splitlines()[0][:100]
            on.wait()

    def time(self) -> None:
        """Add one time of each kind."""
        self._on.wait()
        start = time.perf_counter()
        self._step()
        returned = time.perf_counter()
        self._on.wait()
        self.wall.append((time.perf_counter() - start) * 1e3)
        self.host.append((returned - start) * 1e3)
        if self.replay is not None:
            self.device.append(self._on.seconds(self.replay) * 1e3)


def problem_of(error: Exception) -> str:
    """Return what went wrong in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def interleave(contenders: dict[str, Contender], rounds: int, seconds: float) -> None:
    """Time contenders in turn, in an order that rotates; those that take more than 0.2 s in three rounds only.

    Args:
        contenders: By name.
        rounds: At most.
        seconds: No round begins later than this.
    """
    end = time.monotonic() + seconds
    for number in range(rounds if contenders else 0):
        names = [name for name, it in contenders.items() if number < 3 or it.first_seconds < 0.2]
        first = number % len(names)
        for name in names[first:] + names[:first]:
            contenders[name].time()
        if time.monotonic() > end:
            break


def middle(values: list[float]) -> float | None:
    """Return the median, or None without values."""
    return statistics.median(values) if values else None


def quartiles(values: list[float]) -> tuple[float, float] | None:
    """Return the lower and the upper quartile, or None for fewer than two values."""
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Return our time over theirs, round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=False)]
