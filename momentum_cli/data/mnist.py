"""MNIST read as a sequence of pixels, in scan order or under one fixed permutation.

The files are the four original IDX files, where torchvision keeps them: `data_dir/MNIST/raw`. They are read and
verified here rather than by `torchvision.datasets.MNIST`, which checks that files exist but not their content, prefers
an old `processed` folder if one exists, and downloads directly to the final names. Addresses and checksums of the
downloads are torchvision's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from momentum_cli.data.batching import check_seed
from momentum_cli.data.dataset import Dataset, Task, default_data_dir
from momentum_cli.data.download import fetch_gzipped, gunzip, md5, one_at_a_time
from momentum_cli.data.pixels import check_options, fixed_permutation, pixel_dataset, pixel_sizes
from momentum_cli.data.sizes import Sizes
from momentum_cli.errors import DataError
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from torch import Tensor

LICENCE = "CC BY-SA 3.0; Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits"
TRAIN_SIZE = 60_000


class IdxFile(NamedTuple):
    """An original file: the shape of its unsigned bytes, and the MD5 of the whole file."""

    shape: tuple[int, ...]
    md5: str

    @property
    def header(self) -> bytes:
        """The IDX header: two zeros, 8 for unsigned bytes, the number of axes, each axis as a big-endian uint32."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.header) + math.prod(self.shape)


FILES: dict[str, IdxFile] = {
    "train-images-idx3-ubyte": IdxFile((TRAIN_SIZE, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": IdxFile((TRAIN_SIZE,), "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": IdxFile((10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": IdxFile((10_000,), "27ae3e4e09519cfbb04c329615203637"),
}


@dataclass(frozen=True)
class MNIST(Task):
    """Classify 28x28 digits read pixel by pixel (T = 784) or several pixels per step.

    Pixels 0 to 255 are scaled to 0 to 1, without normalisation. The validation set is held out of the 60,000 training
    images, the classes in proportion; the 10,000 test images are the original ones.

    Args:
        pixels_per_step: a divisor of 784; 1 is pixel by pixel, 28 is one row per step.
        validation: training images held out, in [1, 59999], or "none" to train on all 60,000.
        split_seed: selects the images held out, in [0, 2**32).
        shift: in training, each image is moved by up to that many pixels up or down and to the left or right, drawn
            anew in every epoch; pixels from outside are 0. In [0, 13]; 0 moves none.

    Raises:
        ValueError: an option is outside its range.

    Reference: Le, Jaitly and Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units,
    arXiv 1504.00941, section 4.2 (pixel-by-pixel MNIST); LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), 1998.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")

    pixels_per_step: int = 1
    validation: int | Literal["none"] = 5000
    split_seed: int = 0
    shift: int = 0

    def __post_init__(self) -> None:
        check_options(self.pixels_per_step, 784, self.validation, TRAIN_SIZE, self.split_seed, self.shift)

    def sizes(self) -> Sizes:
        """Return the sizes of the data, which the options determine."""
        return pixel_sizes(784, self.pixels_per_step, self.validation, TRAIN_SIZE)

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Describe if the four files are present and complete."""
        raw = data_dir / "MNIST" / "raw"
        absent = [name for name in FILES if not (raw / name).is_file()]
        damaged = [name for name in FILES if name not in absent and md5((raw / name).read_bytes()) != FILES[name].md5]
        if damaged:
            return f"damaged: {', '.join(damaged)} in {raw}; delete them, and the next use downloads them again"
        if absent:
            return f"missing: {', '.join(absent)}; the first use downloads them to {raw}"
        return "ready"

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the images from `data_dir/MNIST/raw`, downloading missing files.

        Returns:
            Dataset with inputs (n, 784 / pixels_per_step, pixels_per_step) uint8.

        Raises:
            DataError: a file is damaged, or absent and cannot be downloaded.
        """
        return _load("mnist", self, data_dir, progress)


@dataclass(frozen=True)
class PermutedMNIST(MNIST):
    """MNIST with the 784 pixels in one random order, the same for every image.

    The order is that of `momentum_cli.data.pixels.fixed_permutation`. It is kept in
    `Dataset.preprocessing["permutation"]`, so a trained model never depends on drawing it again.

    Args:
        pixels_per_step, validation, split_seed, shift: as for MNIST.
        permutation_seed: determines the order, in [0, 2**32).

    Raises:
        ValueError: an option is outside its range.

    Reference: as for MNIST. Each paper fixes one permutation, but not all the same.
    """

    permutation_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed("permutation_seed", self.permutation_seed)

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the images as `MNIST.load` does, and permute their pixels."""
        return _load("pmnist", self, data_dir, progress, fixed_permutation(784, self.permutation_seed))


def _load(
    name: str,
    task: MNIST,
    data_dir: Path | None,
    progress: DownloadProgress,
    permutation: Tensor | None = None,
) -> Dataset:
    raw = (default_data_dir() if data_dir is None else data_dir) / "MNIST" / "raw"
    missing = _missing(raw)
    if missing:
        _download(raw, missing, progress)
    train_images, train_classes, test_images, test_classes = (read_idx(raw, file) for file in FILES)
    return pixel_dataset(
        name,
        (train_images, train_classes.long()),
        (test_images, test_classes.long()),
        raw_max=255,
        pixels_per_step=task.pixels_per_step,
        permutation=permutation,
        validation=task.validation,
        split_seed=task.split_seed,
        shift=task.shift,
        licence=LICENCE,
    )


def _missing(raw: Path) -> list[str]:
    return [name for name in FILES if not (raw / name).exists() and not (raw / f"{name}.gz").exists()]


def _download(raw: Path, missing: Sequence[str], progress: DownloadProgress) -> None:
    # imported here, because torchvision takes seconds to import and only a first run needs it
    from torchvision.datasets import MNIST as Published  # type: ignore[import-untyped]  # noqa: N811

    archives = dict(Published.resources)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(raw):
            for name in _missing(raw):
                fetch_gzipped(
                    [f"{mirror}{name}.gz" for mirror in Published.mirrors],
                    raw / name,
                    archive_md5=archives[f"{name}.gz"],
                    content_md5=FILES[name].md5,
                    size=FILES[name].size,
                    progress=progress,
                )
    except OSError as error:
        raise DataError(
            f"MNIST is not in {raw}: no {', '.join(missing)}, and the download failed:\n{error}\n"
            f"Put these four files (as they are or with .gz) into {raw}: {', '.join(FILES)}; "
            f"or name a folder that contains MNIST/raw with --data-dir or MOMENTUMRNN_DATA."
        ) from error


def read_idx(raw: Path, name: str) -> Tensor:
    """Read and verify one of `FILES`, or its gzip file if there is only that. Nothing is written.

    Returns:
        uint8 tensor of the file's shape.

    Raises:
        DataError: the file cannot be read, is cut short, is not an IDX file of that shape, or differs from the
            original.
    """
    import torch

    expected = FILES[name]
    path = raw / name
    try:
        if path.exists():
            content = _read(path, expected.size)
        else:
            path = raw / f"{name}.gz"
            content = bytearray(gunzip(path.read_bytes(), expected.size))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}\n{_remedy(path)}") from error
    header = len(expected.header)
    problem = None
    if content[:header] != expected.header[: len(content)]:
        problem = f"not the original IDX file: it begins with {content[:header].hex()}, not {expected.header.hex()}"
    elif len(content) < expected.size:
        problem = f"cut short (an interrupted download?): {len(content)} bytes instead of {expected.size}"
    elif len(content) > expected.size:
        problem = f"too long: more than {expected.size} bytes"
    elif md5(content) != expected.md5:
        problem = f"damaged: its MD5 is {md5(content)} instead of {expected.md5}"
    if problem:
        raise DataError(f"{path}: {problem}.\n{_remedy(path)}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=header).reshape(expected.shape)


def _read(path: Path, size: int) -> bytearray:
    content = bytearray(size + 1)  # one more byte reveals a file that is too long, without reading all of it
    with path.open("rb") as file:
        filled = 0
        with memoryview(content) as view:
            while count := file.readinto(view[filled:]):
                filled += count
    del content[filled:]
    return content


def _remedy(path: Path) -> str:
    return f"Nothing was trained on it. Delete {path} and run again to download it, or put the original file there."
