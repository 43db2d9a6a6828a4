"""The embedded task: 1,797 handwritten digits of 8x8 pixels, for a first run without a network."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from momentum_cli.data.batching import check_seed, stratified_holdout
from momentum_cli.data.dataset import Dataset, Task
from momentum_cli.data.pixels import check_options, fixed_permutation, pixel_dataset, pixel_sizes
from momentum_cli.data.sizes import Sizes
from momentum_cli.errors import DataError
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

FILE = Path(__file__).with_name("digits.npz")
MD5 = "35fa292850aefdac88ea117403394609"
TEST_SIZE = 360
"""A fifth of 1,797, rounded up: the customary 1,437 / 360."""
TEST_SEED = 0
"""Fixed, so that all runs are tested on the same 360 images; `split_seed` changes only the validation set."""
TRAIN_SIZE = 1797 - TEST_SIZE
PIXELS = 64
LICENCE = (
    "CC BY 4.0; E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49"
)


@dataclass(frozen=True)
class Digits(Task):
    """Classify 8x8 digits read a few pixels at a time.

    The file has no training and test split, so one is fixed here: 360 test images drawn with seed 0, the classes in
    proportion, and 1,437 for training, of which `validation` are held out. Pixels 0 to 16 are scaled to 0 to 1.

    Args:
        pixels_per_step: 1, 2, 4, 8, 16, 32 or 64; 8 is one row per step (T = 8), 1 is pixel by pixel (T = 64).
        validation: training images held out, in [1, 1436], or "none".
        split_seed: selects the images held out, in [0, 2**32).
        permutation_seed: reads the 64 pixels in one random order, the same for every image and drawn from this seed as
            that of `momentum_cli.data.mnist.PermutedMNIST` is, in [0, 2**32); None reads them row by row.
        shift: in training, each image is moved by up to that many pixels up or down and to the left or right, drawn
            anew in every epoch; pixels from outside are 0. In [0, 3]; 0 moves none.

    Raises:
        ValueError: an option is outside its range.

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998. The 1,797 images are UCI's own
    test file, with writers absent from its training file; a random division of it mixes writers, so accuracies here
    are not those of the UCI division.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")

    pixels_per_step: int = 8
    validation: int | Literal["none"] = 180
    split_seed: int = 0
    permutation_seed: int | None = None
    shift: int = 0

    def __post_init__(self) -> None:
        check_options(self.pixels_per_step, PIXELS, self.validation, TRAIN_SIZE, self.split_seed, self.shift)
        if self.permutation_seed is not None:
            check_seed("permutation_seed", self.permutation_seed)

    def sizes(self) -> Sizes:
        """Return the sizes of the data, which the options determine."""
        return pixel_sizes(PIXELS, self.pixels_per_step, self.validation, TRAIN_SIZE)

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Load the embedded images; `data_dir` and `progress` are not used.

        Returns:
            Dataset with inputs (n, 64 / pixels_per_step, pixels_per_step).

        Raises:
            DataError: the embedded file is missing or damaged.
        """
        import numpy as np
        import torch

        try:
            content = FILE.read_bytes()
        except OSError as error:
            raise DataError(f"{FILE}: cannot be read ({error}); reinstall momentumrnn") from error
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5:
            raise DataError(f"{FILE}: damaged (its MD5 is not {MD5}); reinstall momentumrnn")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            images = torch.from_numpy(arrays["images"])
            classes = torch.from_numpy(arrays["labels"].astype(np.int64))
        train, test = stratified_holdout(classes, TEST_SIZE, torch.Generator().manual_seed(TEST_SEED))
        return pixel_dataset(
            "digits",
            (images[train], classes[train]),
            (images[test], classes[test]),
            raw_max=16,
            pixels_per_step=self.pixels_per_step,
            permutation=None if self.permutation_seed is None else fixed_permutation(PIXELS, self.permutation_seed),
            validation=self.validation,
            split_seed=self.split_seed,
            shift=self.shift,
            licence=LICENCE,
        )
