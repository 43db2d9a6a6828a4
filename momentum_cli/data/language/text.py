"""A text as one long sequence of tokens, read in windows of parallel streams.

Axes: N tokens, B streams, T steps of a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from momentum_cli.data.batching import Groups, Sharing, Windows
from momentum_cli.data.dataset import NOT_SCORED, Batch
from momentum_cli.data.language.windows import WindowGroups, evaluation_windows
from momentum_cli.messages import Said, refuse

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Logits per window in evaluation: 64 MiB of float32. The cut of a text does not change the results.
_EVALUATION_LOGITS = 1 << 24
_EVALUATION_TOKENS = 4096


@dataclass(frozen=True)
class TokenText:
    """A text whose tokens are predicted from all tokens before them; implements `Sequences` with one-token sequences.

    The index of a batch is a table of positions (B, T), consecutive along T: position p means the input token p and the
    target p + 1. State is carried from a batch to the next one, whose positions continue the previous ones.

    Args:
        tokens: (N,) integers in [0, vocabulary_size), N >= 2.
        vocabulary_size: Different tokens.
    """

    tokens: Tensor
    vocabulary_size: int

    @property
    def lengths(self) -> None:
        """None: a window has no padding."""
        return None

    @property
    def longest(self) -> int:
        """1: a position is one step; see `momentum_cli.data.language.windows`."""
        return 1

    @property
    def scored(self) -> Tensor:
        """(N - 1,) ones: every position is one term of the loss."""
        import torch

        return torch.ones(1, dtype=torch.int64).expand(len(self))

    @property
    def class_counts(self) -> None:
        """None: they are not known before the text is read."""
        return None

    @property
    def batch_unit(self) -> str:
        """``"streams"``, which are read in parallel."""
        return "streams"

    @property
    def carried(self) -> bool:
        """True: a window starts from the state at the end of the previous one."""
        return True

    def __len__(self) -> int:
        return max(len(self.tokens) - 1, 0)

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return windows of `size` parallel streams.

        Raises:
            ValueError: There are no windows.
            DataError: The text has fewer positions than streams.
        """
        if windows is None:
            raise ValueError(refuse("windows", Said("none"), "be given, to cut the text"))
        return WindowGroups(len(self), size, windows.length, windows.variable, seed)

    def evaluation_groups(self, size: int) -> Iterator[Tensor]:
        """Yield windows of `size` parallel streams, short enough to hold their logits at once."""
        streams = min(size, len(self))
        return evaluation_windows(len(self), streams, self.evaluation_steps(streams))

    def parts(self, group: Tensor, size: int) -> tuple[Tensor, ...]:
        """Cut a group into parts of `size` streams."""
        import torch

        return torch.split(group, size)

    def scored_in(self, group: Tensor) -> int:
        """Return how many terms of the loss a group has."""
        return int(self.scored[group].sum())

    def batch(self, index: Tensor) -> Batch:
        """Read windows.

        Args:
            index: (B, T) positions >= 0; those beyond the text give token 0 and are not scored.

        Returns:
            Batch with inputs (B, T) and targets (B, T), both int64, on the device of the tokens.
        """
        there = index.to(self.tokens.device, non_blocking=True)
        beyond = there >= len(self)
        place = there.clamp(max=len(self) - 1)
        # Index in the compact dtype of the text, then widen only the batch.
        inputs, targets = self.tokens[place].long(), self.tokens[place + 1].long()
        return Batch(inputs.masked_fill(beyond, 0), targets.masked_fill(beyond, NOT_SCORED), None)

    def place(self, index: int) -> dict[str, Any]:
        """Return the number of a token in the text."""
        return {"number": index}

    def to(self, device: torch.device | str) -> TokenText:
        """Return the text on a device."""
        return replace(self, tokens=self.tokens.to(device))

    def head(self, count: int) -> TokenText:
        """Return the first `count` predicted tokens."""
        return replace(self, tokens=self.tokens[: count + 1])

    def evaluation_steps(self, streams: int) -> int:
        """Return T of the windows for evaluating `streams` streams."""
        tokens = min(_EVALUATION_TOKENS, _EVALUATION_LOGITS // self.vocabulary_size)
        return max(1, tokens // streams)
