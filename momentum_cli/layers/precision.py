"""The precision of a layer: rounding a state at each of T steps adds up, so none is kept below float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


class Precision(NamedTuple):
    """The number types of one run of a layer."""

    state: torch.dtype
    """Of states and sums, and of the parameters as backends receive them."""
    input: torch.dtype
    """Of the input as backends receive it; bfloat16 with a wider state asks for products in bfloat16."""
    output: torch.dtype


def choose_precision(parameters: torch.dtype, device: torch.device, can_narrow: Callable[[], bool]) -> Precision:
    """Choose by the dtype of the parameters and by autocast.

    On the CPU, layers with parameters below float32 compute in float32 and return the output in the parameters' dtype.
    Autocast to bfloat16 on the CPU gives an output in bfloat16, as `torch.nn.LSTM` does; elsewhere autocast changes
    nothing. In both cases products are taken in bfloat16 where a kernel can.

    Args:
        parameters: Dtype of the parameters.
        device: Device of the input.
        can_narrow: Returns True if a kernel can multiply in bfloat16; called only when that matters.
    """
    if device.type != "cpu":
        return Precision(parameters, parameters, parameters)
    state = torch.float32 if parameters in (torch.bfloat16, torch.float16) else parameters
    asked = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else parameters
    if asked != torch.bfloat16 or state != torch.float32:
        return Precision(state, state, parameters)
    return Precision(state, torch.bfloat16 if can_narrow() else state, torch.bfloat16)
