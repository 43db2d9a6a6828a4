"""Converting raw data to the input of a model, by the description in the model.

Axes: T time, D input channels, P = height * width pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse


class Preparation:
    """Converts a raw sample to the model's input.

    Args:
        preprocessing: The ``preprocessing`` of a data set, from a checkpoint or an exported file.
        input_size: D.
    """

    def __init__(self, preprocessing: dict[str, Any], input_size: int) -> None:
        self.kind: str = preprocessing.get("kind", "none")
        self.input_size = input_size
        if self.kind == "pixels":
            self.height, self.width = int(preprocessing["height"]), int(preprocessing["width"])
            self.raw_max, self.scale = float(preprocessing["raw_max"]), float(preprocessing["scale"])
            order = preprocessing.get("permutation")
            self.permutation = None if order is None else np.asarray(order, np.int64)
        elif self.kind == "one-hot":
            self.tokens = [str(token) for token in preprocessing["tokens"]]

    def image(self, grey: np.ndarray) -> np.ndarray:
        """Return the input (T, D) for a grey image (height, width) in [0, 1].

        Raises:
            DataError: The model is not for images, or the size differs.
        """
        if self.kind != "pixels":
            raise DataError("the model does not take images; give arrays (NPY, NPZ, CSV)")
        if grey.shape != (self.height, self.width):
            got = " x ".join(str(size) for size in reversed(grey.shape))
            raise DataError(f"the image has {got} pixels, but the model takes {self.width} x {self.height}")
        return self.array(grey * self.raw_max)

    def array(self, raw: np.ndarray) -> np.ndarray:
        """Return the input (T, D) for one sample of an array.

        Args:
            raw: Pixel values in [0, raw_max], (height, width) or (P,); token numbers (T,); or, for a model of plain
                numbers, the input (T, D) itself, or flattened, (T * D,).

        Raises:
            DataError: The shape or a value is invalid.
        """
        if raw.dtype.kind not in "buif":
            raise DataError(refuse("the values", Said(raw.dtype), "be numbers"))
        values = raw.astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError("a value is not a finite number")
        if self.kind == "pixels":
            return self._pixels(values)
        if self.kind == "one-hot" and values.ndim == 1:
            if (values % 1 != 0).any() or values.min(initial=0) < 0 or values.max(initial=0) >= self.input_size:
                got = Said(f"{raw.min()} … {raw.max()}")
                raise DataError(refuse("the tokens", got, f"be integers in [0, {self.input_size - 1}]"))
            return np.eye(self.input_size, dtype=np.float32)[values.astype(np.int64)]
        if values.ndim == 1 and values.size and values.size % self.input_size == 0:
            values = values.reshape(-1, self.input_size)
        if values.ndim != 2 or values.shape[1] != self.input_size or not len(values):
            raise DataError(refuse("the shape", raw.shape, f"be (T, {self.input_size})"))
        return values.astype(np.float32)

    def is_single(self, shape: tuple[int, ...], kind: str) -> bool:
        """Return True if an array of this shape and dtype kind is one sample, not several."""
        if self.kind == "pixels":
            return len(shape) == 1 or shape == (self.height, self.width)
        if self.kind == "one-hot" and kind in "ui":
            return len(shape) == 1
        return len(shape) < 3

    def _pixels(self, values: np.ndarray) -> np.ndarray:
        pixels = self.height * self.width
        if values.shape not in ((self.height, self.width), (pixels,)):
            raise DataError(
                refuse("the shape", values.shape, f"be ({self.height}, {self.width}) or ({pixels},) pixels")
            )
        if values.min() < 0 or values.max() > self.raw_max:
            got = Said(f"{values.min():g} … {values.max():g}")
            raise DataError(refuse("the pixels", got, f"be in [0, {self.raw_max:g}]"))
        flat = values.reshape(-1)
        if self.permutation is not None:
            flat = flat[self.permutation]
        # In the order and precision of training: float32 pixels times the scale.
        return (flat.astype(np.float32) * np.float32(self.scale)).reshape(-1, self.input_size)
