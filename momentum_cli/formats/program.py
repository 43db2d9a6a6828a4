"""A loaded exported file: a function from inputs (and state) to outputs (and state)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from momentum_cli.formats.bundle import Bundle


class Program(Protocol):
    """A loaded model of any format.

    Attributes:
        bundle: Its description.
    """

    bundle: Bundle

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the program.

        Args:
            inputs: (B, T, D) float32, or tokens (B, T) int64.
            state: For a stateful program, the state that an earlier call returned, or None for zeros.

        Returns:
            (B, O) or (B, T, O) float32, and the state after the last step, empty unless stateful.

        Raises:
            ValueError: Names, shapes, types or tokens are not those of the bundle; see `Bundle.check`.
        """
        ...
