"""The adding and the copying problem: generated long-memory tasks.

Axes: `n` sequences, `T` time steps, `D` input channels.

Each split is drawn from a separate random stream, keyed by (task, data_seed, split): neither the training seed nor the
size of another split changes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from momentum_cli.data.batching import check_seed, stream
from momentum_cli.data.dataset import Dataset, Split, Task
from momentum_cli.data.naive import Constant
from momentum_cli.data.sizes import Sizes
from momentum_cli.machine import require_memory
from momentum_cli.messages import refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    import torch

LICENCE = "generated; no licence applies"


def _check_at_least(minimum: int, **values: int) -> None:
    for name, value in values.items():
        if value < minimum:
            raise ValueError(refuse(name, value, f"be at least {minimum}"))


@dataclass(frozen=True)
class Adding(Task):
    """Add the two marked numbers of a sequence.

    Channel 0 is uniform in [0, 1); channel 1 is 1 at one step of the first half and one step of the second half
    (each uniform), else 0. The target is the sum of the two marked values, the loss their mean squared error. Always
    answering 1 gives the variance as error, 2 / 12 = 0.1667; `Dataset.naive` answers the training mean.

    Args:
        length: T, steps, >= 2; the first half has T // 2 steps.
        train_size, validation_size, test_size: sequences, >= 1.
        data_seed: seed of the data, in [0, 2**32), apart from the training seed.

    Raises:
        ValueError: an option is outside its range.

    Reference: Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, section 5.4, in the
    form of Arjovsky, Shah and Bengio, ICML 2016, section 4.2, used ever since (values in [0, 1) instead of [-1, 1], one
    mark in each half, fixed length, unscaled sum).
    """

    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "loss")

    length: int = 200
    train_size: int = 50_000
    validation_size: int = 2_000
    test_size: int = 5_000
    data_seed: int = 0

    def __post_init__(self) -> None:
        _check_at_least(2, length=self.length)
        _check_at_least(1, train_size=self.train_size, validation_size=self.validation_size, test_size=self.test_size)
        check_seed("data_seed", self.data_seed)

    def sizes(self) -> Sizes:
        """Return the sizes of the data, which follow from the options."""
        return Sizes(self.train_size, self.length, 2, 1, "last", "mse")

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Generate the splits; `data_dir` and `progress` are not used.

        Returns:
            Dataset with inputs (n, T, 2) float32 and targets (n,) float32.

        Raises:
            RunError: There is not enough memory.
        """
        sequences = self.train_size + self.validation_size + self.test_size
        require_memory(sequences * (self.length * 2 + 1) * 4, "task.length, task.train_size")
        train = self._split(self.train_size, stream("adding", self.data_seed, "train"))
        return Dataset(
            name="adding",
            train=train,
            validation=self._split(self.validation_size, stream("adding", self.data_seed, "validation")),
            test=self._split(self.test_size, stream("adding", self.data_seed, "test")),
            input_size=2,
            output_size=1,
            output="last",
            loss="mse",
            metrics=self.metrics,
            labels=None,
            preprocessing={"kind": "none", "channels": ["value", "mark"], "length": self.length},
            licence=LICENCE,
            naive=(Constant("training mean", train.targets.mean(0, keepdim=True)),),
        )

    def _split(self, n: int, generator: torch.Generator) -> Split:
        import torch

        half = self.length // 2
        values = torch.rand(n, self.length, generator=generator)
        first = torch.randint(0, half, (n, 1), generator=generator)
        second = torch.randint(half, self.length, (n, 1), generator=generator)
        marked = torch.cat((first, second), 1)
        marks = torch.zeros(n, self.length).scatter_(1, marked, 1.0)
        return Split(torch.stack((values, marks), 2), values.gather(1, marked).sum(1))


@dataclass(frozen=True)
class Copying(Task):
    """Repeat a string of symbols after a long blank.

    With K = copy_length and S = symbols the input is K symbols drawn from 0 … S-1, delay - 1 blanks (S), one
    delimiter (S + 1) and K blanks, T = delay + 2 K steps, one-hot. The required output is delay + K blanks and then the
    K symbols. The loss is the cross-entropy averaged over all T steps, as in the literature; a model that gives blanks
    and, at the end, a uniform guess scores K log S / T (`Dataset.naive`). The accuracy covers only the K copied
    symbols (`Dataset.metric_steps`), since the blanks alone would give a useless model (T - K) / T.

    Args:
        delay: steps between the string and its repetition, >= 1 (T in the paper).
        symbols: S, >= 2.
        copy_length: K, >= 1.
        train_size, validation_size, test_size: sequences, >= 1.
        data_seed: seed of the data, in [0, 2**32), apart from the training seed.

    Raises:
        ValueError: an option is outside its range.

    Reference: Arjovsky, Shah and Bengio, Unitary Evolution Recurrent Neural Networks, ICML 2016, section 4.1
    (S = 8, K = 10). The output has S + 1 classes: the delimiter is never an answer.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")

    delay: int = 100
    symbols: int = 8
    copy_length: int = 10
    train_size: int = 50_000
    validation_size: int = 2_000
    test_size: int = 5_000
    data_seed: int = 0

    def __post_init__(self) -> None:
        _check_at_least(2, symbols=self.symbols)
        # one-hot inputs and the token table are bytes
        if self.symbols > 254:
            raise ValueError(refuse("symbols", self.symbols, "be at most 254"))
        _check_at_least(
            1,
            delay=self.delay,
            copy_length=self.copy_length,
            train_size=self.train_size,
            validation_size=self.validation_size,
            test_size=self.test_size,
        )
        check_seed("data_seed", self.data_seed)

    def sizes(self) -> Sizes:
        """Return the sizes of the data, which follow from the options."""
        length = self.delay + 2 * self.copy_length
        return Sizes(self.train_size, length, self.symbols + 2, self.symbols + 1, "every", "cross_entropy")

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Generate the splits; `data_dir` and `progress` are not used.

        Returns:
            Dataset with inputs (n, T, S + 2) uint8 one-hot and targets (n, T) int64.

        Raises:
            RunError: There is not enough memory.
        """
        sequences, steps = self.train_size + self.validation_size + self.test_size, self.sizes().length
        require_memory(sequences * steps * (self.symbols + 2 + 8), "task.delay, task.symbols, task.train_size")
        symbols = tuple(str(symbol) for symbol in range(self.symbols))
        return Dataset(
            name="copying",
            train=self._split(self.train_size, stream("copying", self.data_seed, "train")),
            validation=self._split(self.validation_size, stream("copying", self.data_seed, "validation")),
            test=self._split(self.test_size, stream("copying", self.data_seed, "test")),
            input_size=self.symbols + 2,
            output_size=self.symbols + 1,
            output="every",
            loss="cross_entropy",
            metrics=self.metrics,
            labels=(*symbols, "blank"),
            preprocessing={"kind": "one-hot", "tokens": [*symbols, "blank", "delimiter"]},
            licence=LICENCE,
            metric_steps=slice(-self.copy_length, None),
            naive=(self._memoryless(),),
        )

    def _memoryless(self) -> Constant:
        """Return the predictor of blanks and, at the end, of every symbol alike."""
        import torch

        steps = self.sizes().length
        value = torch.full((steps, self.symbols + 1), -math.inf)
        value[: -self.copy_length, self.symbols] = 0.0
        value[-self.copy_length :, : self.symbols] = -math.log(self.symbols)
        return Constant("blanks, then a guess", value, every=True)

    def _split(self, n: int, generator: torch.Generator) -> Split:
        import torch

        copy, blank, delimiter = self.copy_length, self.symbols, self.symbols + 1
        length = self.delay + 2 * copy
        string = torch.randint(0, self.symbols, (n, copy), generator=generator)
        tokens = torch.full((n, length), blank)
        tokens[:, :copy] = string
        tokens[:, copy + self.delay - 1] = delimiter
        targets = torch.full((n, length), blank)
        targets[:, -copy:] = string
        # bytes, written in place: torch's one_hot would make int64, eight times the memory
        inputs = torch.zeros(n, length, self.symbols + 2, dtype=torch.uint8).scatter_(2, tokens[..., None], 1)
        return Split(inputs, targets)
