"""Images read as sequences: scan order, pixels per step, fixed permutation; shared by every pixel task.

Axes: `n` images, `P` = height * width pixels, `D` pixels per step, `T` = P / D steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.data.batching import check_seed, stratified_holdout
from momentum_cli.data.dataset import Dataset, Split
from momentum_cli.data.moved import MovedSplit, moves
from momentum_cli.data.naive import shares
from momentum_cli.data.sizes import Sizes
from momentum_cli.messages import refuse

if TYPE_CHECKING:
    from torch import Tensor


def check_options(
    pixels_per_step: int,
    pixels: int,
    validation: int | Literal["none"],
    train_size: int,
    split_seed: int,
    shift: int,
) -> None:
    """Check the options that every pixel task has.

    Raises:
        ValueError: pixels_per_step does not divide `pixels`, validation is neither "none" nor in [1, train_size - 1],
            shift would move half of an image out of it, or the seed is outside its range.
    """
    if pixels_per_step < 1 or pixels % pixels_per_step:
        divisors = ", ".join(str(d) for d in range(1, pixels + 1) if pixels % d == 0)
        raise ValueError(refuse("pixels_per_step", pixels_per_step, f"be a divisor of {pixels} ({divisors})"))
    if validation != "none" and (isinstance(validation, str) or not 1 <= validation < train_size):
        raise ValueError(refuse("validation", validation, f"be 'none' or a number in [1, {train_size - 1}]"))
    check_seed("split_seed", split_seed)
    side = math.isqrt(pixels)
    if not 0 <= shift < side / 2:
        raise ValueError(refuse("shift", shift, f"be in [0, {(side - 1) // 2}], less than half of {side} pixels"))


def pixel_sizes(pixels: int, pixels_per_step: int, validation: int | Literal["none"], train_size: int) -> Sizes:
    """Return the sizes of a pixel task; arguments as for `check_options`."""
    samples = train_size - (0 if validation == "none" else validation)
    return Sizes(samples, pixels // pixels_per_step, pixels_per_step, 10, "last", "cross_entropy")


def to_sequences(images: Tensor, pixels_per_step: int, permutation: Tensor | None = None) -> Tensor:
    """Read images as sequences: row by row from the top left, `permutation` applied, `pixels_per_step` at a time.

    x[t, j] = pixel[permutation[t * pixels_per_step + j]].

    Args:
        images: (n, height, width).
        pixels_per_step: D, divides height * width.
        permutation: (P,) int64, or None for the scan order.

    Returns:
        (n, T, D), dtype unchanged.
    """
    flat = images.reshape(len(images), -1)
    if permutation is not None:
        flat = flat.index_select(1, permutation)
    return flat.reshape(len(images), -1, pixels_per_step)


def fixed_permutation(pixels: int, seed: int) -> Tensor:
    """Return one random order of the pixels, (pixels,) int64.

    It is ``torch.randperm(pixels, generator=torch.Generator().manual_seed(seed))``: a Fisher-Yates shuffle driven by
    MT19937 on the CPU, independent of the training seed and of torch's global generator.
    """
    import torch

    return torch.randperm(pixels, generator=torch.Generator().manual_seed(seed))


def pixel_dataset(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    raw_max: int,
    pixels_per_step: int,
    permutation: Tensor | None,
    validation: int | Literal["none"],
    split_seed: int,
    shift: int,
    licence: str,
) -> Dataset:
    """Build the data set of a ten-digit classification task from its images.

    Args:
        train, test: images (n, height, width) uint8 and classes (n,) int64.
        raw_max: value of a white pixel; inputs are divided by it, so that they lie in [0, 1].
        pixels_per_step: D.
        permutation: (P,) int64 or None.
        validation: number of training images held out, the classes in proportion, or "none".
        split_seed: selects the images held out.
        shift: in training, each image is moved by up to that many pixels down or up and as many to the right or left,
            drawn anew in every epoch; >= 0.
        licence: licence and source.

    Returns:
        Dataset with inputs (n, T, D) uint8 and scale 1 / raw_max.
    """
    import torch

    def split(images: Tensor, classes: Tensor) -> Split:
        return Split(to_sequences(images, pixels_per_step, permutation), classes, scale=1.0 / raw_max)

    images, classes = train
    held_out = None
    if validation != "none":
        kept, held = stratified_holdout(classes, validation, torch.Generator().manual_seed(split_seed))
        held_out = split(images[held], classes[held])
        images, classes = images[kept], classes[kept]
    height, width = images.shape[1:]
    learned = split(images, classes)
    if shift:
        learned = MovedSplit(learned.inputs, classes, learned.scale, moves=moves(height, width, shift, permutation))
    preprocessing: dict[str, Any] = {
        "kind": "pixels",
        "height": height,
        "width": width,
        "raw_max": raw_max,
        "scale": 1.0 / raw_max,
        "pixels_per_step": pixels_per_step,
        "permutation": None if permutation is None else permutation.tolist(),
    }
    return Dataset(
        name=name,
        train=learned,
        validation=held_out,
        test=split(*test),
        input_size=pixels_per_step,
        output_size=10,
        output="last",
        loss="cross_entropy",
        metrics=("accuracy", "loss"),
        labels=tuple("0123456789"),
        preprocessing=preprocessing,
        licence=licence,
        naive=(shares("majority class", classes, 10),),
        input_range=(0.0, 1.0),
    )
