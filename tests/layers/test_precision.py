"""The number types of a layer, from the dtype of its parameters and autocast."""

from __future__ import annotations

import pytest
import torch

from momentum_cli.layers.precision import choose_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("parameters", "autocast", "device", "can", "expected"),
    [
        (F32, None, CPU, True, (F32, F32, F32)),
        (F64, None, CPU, True, (F64, F64, F64)),
        (F64, BF16, CPU, True, (F64, F64, F64)),  # whoever chose float64 wants it
        (BF16, None, CPU, True, (F32, BF16, BF16)),
        (BF16, None, CPU, False, (F32, F32, BF16)),
        (F32, BF16, CPU, True, (F32, BF16, BF16)),
        (F32, BF16, CPU, False, (F32, F32, BF16)),
        (F16, None, CPU, True, (F32, F32, F16)),
        (F32, F16, CPU, True, (F32, F32, F32)),
        (F32, BF16, CUDA, True, (F32, F32, F32)),
        (BF16, None, CUDA, True, (BF16, BF16, BF16)),
    ],
)
def test_the_choice(
    parameters: torch.dtype,
    autocast: torch.dtype | None,
    device: torch.device,
    can: bool,
    expected: tuple[torch.dtype, ...],
) -> None:
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        assert choose_precision(parameters, device, lambda: can) == expected
