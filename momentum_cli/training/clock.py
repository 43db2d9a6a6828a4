"""The scored clock of a training: seconds between pairs of marks, measured without making a device wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Timer(Protocol):
    """Marks on a timeline."""

    def mark(self) -> Any:
        """Set a mark after all work requested so far."""

    def reached(self, mark: Any) -> bool:
        """Return True if the work before a mark is done; does not wait."""

    def wait(self, mark: Any) -> None:
        """Wait until the work before a mark is done."""

    def seconds(self, start: Any, stop: Any) -> float:
        """Return the seconds between two marks that have been reached."""


class HostTimer:
    """Marks on the host's timeline: work is done when its call returns.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.mark = now

    def reached(self, mark: float) -> bool:
        """Return True."""
        return True

    def wait(self, mark: float) -> None:
        """Return at once."""

    def seconds(self, start: float, stop: float) -> float:
        """Return the difference."""
        return stop - start


class CudaTimer:
    """Marks on the timeline of a CUDA stream: events that the card time-stamps when it reaches them.

    The time between two marks includes all work of the card and its waiting for the host; the host's work between one
    pair of marks and the next does not count. The card's clock has a resolution of half a microsecond.

    Args:
        device: The device, whose current stream is used.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> torch.cuda.Event:
        """Record an event."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def reached(self, mark: torch.cuda.Event) -> bool:
        """Return True if the card has reached an event."""
        return bool(mark.query())  # type: ignore[no-untyped-call]

    def wait(self, mark: torch.cuda.Event) -> None:
        """Wait until the card has reached an event."""
        mark.synchronize()

    def seconds(self, start: torch.cuda.Event, stop: torch.cuda.Event) -> float:
        """Return the seconds between two events."""
        return float(start.elapsed_time(stop)) / 1000.0


class Clock:
    """The sum of the times between all calls of `start` and `stop`.

    Args:
        timer: The timeline on which the marks are set.

    Attributes:
        seconds: The sum so far: of all pairs after `read`, of those known to be over after `stop`.
    """

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.seconds = 0.0
        self._since: Any = None
        self._running = False
        self._pairs: deque[tuple[Any, Any]] = deque()

    @classmethod
    def of(cls, device: torch.device) -> Clock:
        """Return a clock for the work of a device."""
        return cls(CudaTimer(device) if device.type == "cuda" else HostTimer())

    def start(self) -> None:
        """Begin or continue counting."""
        self._since, self._running = self.timer.mark(), True

    def stop(self) -> float:
        """Stop counting; return the time of the work known to be over, without waiting for the rest."""
        if self._running:
            self._pairs.append((self._since, self.timer.mark()))
            self._running = False
        while self._pairs and self.timer.reached(self._pairs[0][1]):
            self.seconds += self.timer.seconds(*self._pairs.popleft())
        return self.seconds

    def read(self) -> float:
        """Stop counting, wait until all counted work is over, and return the sum."""
        self.stop()
        if self._pairs:
            self.timer.wait(self._pairs[-1][1])
            self.stop()
        return self.seconds
