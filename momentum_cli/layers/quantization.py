"""The answer of a layer to `torch.ao.quantization`, which would leave it in float32 without a word."""

from __future__ import annotations

import warnings
from typing import Any

_ELSEWHERE = "for int8 weights export the trained model: momentumrnn export RUN --format onnx --quantize int8"


class QuantizationConfig:
    """The attribute ``qconfig`` of a layer, by which torch marks what it will quantize.

    Setting it to a configuration, as ``quantize_dynamic(model, {LSTM})`` does, is refused: torch has int8 kernels for
    its own layers only, and is about to remove `torch.ao.quantization`. Setting it to None, as
    ``quantize_dynamic(model)`` does to a layer that it leaves alone, is a warning, so that the other layers of the
    model can be quantized.
    """

    def __get__(self, layer: Any, owner: type | None = None) -> None:
        raise AttributeError("qconfig")  # torch would take any value for a configuration that was set

    def __set__(self, layer: Any, value: object) -> None:
        name = type(layer).__name__
        if value is not None:
            raise TypeError(f"torch.ao.quantization cannot quantize a momentum_cli.{name}; {_ELSEWHERE}")
        warnings.warn(f"momentum_cli.{name} stays in float32; {_ELSEWHERE}", UserWarning, stacklevel=2)

    def __delete__(self, layer: Any) -> None:
        """Do nothing: torch removes the attribute when it is done."""
