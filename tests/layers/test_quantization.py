"""torch.ao.quantization says what it does not do to our layers, and quantizes those around them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from momentum_cli import GRU, LSTM, RNN, OrthogonalRNN


def quantized(model: nn.Module, kinds: set[type[nn.Module]] | None) -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(quantization|quantize_per_tensor).*")  # deprecated in torch
        result: nn.Module = torch.ao.quantization.quantize_dynamic(model, kinds)  # type: ignore[no-untyped-call]
    return result


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN, OrthogonalRNN])
def test_what_cannot_be_quantized_is_refused(kind: Any) -> None:
    model = nn.Sequential(kind(3, 4))
    with pytest.raises(TypeError, match=rf"cannot quantize a momentum_cli\.{kind.__name__}.*--quantize int8"):
        quantized(model, {kind})
    assert torch.isfinite(model(torch.zeros(2, 1, 3))[0]).all()


def test_what_stays_in_float32_is_named_and_the_rest_is_quantized() -> None:
    model = nn.ModuleDict({"layer": LSTM(3, 4), "head": nn.Linear(4, 2)})
    with pytest.warns(UserWarning, match=r"momentum_cli\.LSTM stays in float32.*--quantize int8"):
        result = quantized(model, None)
    assert type(result["head"]) is not nn.Linear  # type: ignore[index]
    x = torch.randn(5, 2, 3)
    assert torch.equal(result["layer"](x)[0], model["layer"](x)[0])  # type: ignore[index, operator]
    assert "qconfig" not in vars(result["layer"])  # type: ignore[index]
