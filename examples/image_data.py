"""Pictures for the comparison of optimizers: data sets, and folders with one folder per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor

from momentum_cli.data import MNIST, Digits, Task
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, did_you_mean, refuse
from momentum_cli.wording import printable

# Training and validation pictures are drawn with this seed, whatever the seed of a run.
DRAW_SEED = 0


class Pictures(NamedTuple):
    """(n, C, H, W) uint8 and their classes, (n,) int64."""

    images: Tensor
    classes: Tensor


class Data(NamedTuple):
    """The splits, the mean and standard deviation of the training pixels, (1, C, 1, 1), and the number of classes."""

    train: Pictures
    validation: Pictures
    test: Pictures
    offset: Tensor
    scale: Tensor
    classes: int


def load(name: str, folder: Path, train: int, validation: int, size: int) -> Data:
    """Load a data set, or a folder with `train` and `test` in it, each with one folder per class.

    Args:
        name: A key of `SOURCES`, or the folder.
        folder: Where the data sets are.
        train: Training pictures, >= 1, drawn from those that are there.
        validation: Validation pictures, >= 1, drawn from the others.
        size: Height and width to which the pictures of a folder are brought.

    Raises:
        DataError: The data are missing, damaged or too few.
    """
    if name in SOURCES:
        known, test = SOURCES[name](folder)
    elif name and Path(name).is_dir():
        known, test = _read_folder(Path(name), size)
    else:
        message = refuse("--data", printable(name), "be a folder or one of " + ", ".join(SOURCES))
        raise DataError(message + did_you_mean(name, SOURCES))
    count = len(known.classes)
    if train + validation > count:
        asked = Said(f"{train:,} and {validation:,}")
        raise DataError(refuse("--train and --validation", asked, f"be at most {count:,} together, all there are"))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(DRAW_SEED))
    ours, others = (
        Pictures(*(part[chosen] for part in known)) for chosen in (order[:train], order[train:][:validation])
    )
    values = ours.images.double()
    # A picture of one brightness has no deviation.
    scale = values.std((0, 2, 3), keepdim=True).clamp_min(1.0).float()
    classes = int(torch.cat([known.classes, test.classes]).max()) + 1
    return Data(ours, others, test, values.mean((0, 2, 3), keepdim=True).float(), scale, classes)


def _read_task(task: Task, folder: Path) -> tuple[Pictures, Pictures]:
    """Read a task of this package whose sequences are pictures, row by row."""
    dataset: Any = task.load(folder)
    train, test = (Pictures(split.inputs[:, None], split.targets) for split in (dataset.train, dataset.test))
    return train, test


def _read_published(name: str, folder: Path) -> tuple[Pictures, Pictures]:
    """Read a data set of torchvision, which downloads it if it is not there."""
    cls = getattr(torchvision.datasets, name)
    try:
        train, test = (_as_pictures(cls(folder, train=train, download=True)) for train in (True, False))
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{name} is not in {folder}, or is damaged, and the download failed: {printable(str(error)).strip()}\n"
            f"Put its original files where torchvision.datasets.{name} looks for them below that folder, or name "
            "another one with --data-dir or MOMENTUMRNN_DATA."
        ) from error
    return train, test


def _as_pictures(published: Any) -> Pictures:
    images = torch.as_tensor(published.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return Pictures(images, torch.as_tensor(published.targets))


def _read_folder(folder: Path, size: int) -> tuple[Pictures, Pictures]:
    try:
        splits = [torchvision.datasets.ImageFolder(folder / name) for name in ("train", "test")]
    except OSError as error:
        raise DataError(f"{folder}: must hold train and test, each with one folder per class: {error}") from error
    if splits[0].classes != splits[1].classes:
        only = sorted(set(splits[0].classes) ^ set(splits[1].classes))
        raise DataError(f"{folder}: train and test must have the same classes; not in both: {', '.join(only)}")
    train, test = (_read_images(split.samples, size) for split in splits)
    return train, test


def _read_images(samples: Sequence[tuple[str, int]], size: int) -> Pictures:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    images = []
    for path, _ in samples:
        try:
            with Image.open(path) as image:
                images.append(pil_to_tensor(image.convert("RGB").resize((size, size))))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{printable(path)}: {refuse('', Said(str(error)), 'be a picture')}") from error
    return Pictures(torch.stack(images), torch.tensor([label for _, label in samples]))


SOURCES: dict[str, Callable[[Path], tuple[Pictures, Pictures]]] = {
    "digits": partial(_read_task, Digits(pixels_per_step=8, validation="none")),
    "mnist": partial(_read_task, MNIST(pixels_per_step=28, validation="none")),
    "fashion-mnist": partial(_read_published, "FashionMNIST"),
    "cifar-10": partial(_read_published, "CIFAR10"),
}
