"""Parameters of a layer in the form that other programs expect."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.messages import refuse


class PlainWeights(NamedTuple):
    """Parameters of one layer in one direction of a plain layer that runs on the filtered input.

    As in `torch.nn`; of an orthogonal RNN ``weight_hh`` is B and ``bias_hh`` is b of modReLU.

    Axes: D channels of the filtered input, H hidden, G gates * H.
    """

    weight_ih: Tensor  # (G, D)
    weight_hh: Tensor  # (G, H)
    bias_ih: Tensor | None  # (G,)
    bias_hh: Tensor | None  # (G,)


def plain_weights(layer: RecurrentLayer, suffix: str) -> PlainWeights:
    """Return the parameters named ``…{suffix}``, with the input bias where the form of the dynamics needs it.

    A filter acts on the projected input with its bias, that is, on the input and a constant 1: the bias becomes the
    weight of another channel, and no bias remains.

    Raises:
        ValueError: The output is projected (``proj_size``), which only TorchScript exports.
    """
    if layer.proj_size:
        raise ValueError(refuse("proj_size", layer.proj_size, "be 0 for an export that is not TorchScript"))
    form = layer.dynamics.form
    with torch.no_grad():
        weights = layer.weights(suffix, layer.tensor("weight_ih" + suffix).dtype)
    weight_ih, weight_hh, bias_ih, bias_hh = (None if w is None else w.detach() for w in weights[:4])
    assert weight_ih is not None
    assert weight_hh is not None
    if bias_ih is not None and isinstance(form, Filter) and not form.is_identity:
        weight_ih = torch.cat((weight_ih, bias_ih.unsqueeze(1)), 1)
        bias_ih = torch.zeros_like(bias_ih)
    return PlainWeights(weight_ih, weight_hh, bias_ih, bias_hh)


def suffixes(layer: RecurrentLayer) -> list[list[str]]:
    """Return the suffixes of parameter names of each layer, one or two directions."""
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    return [[f"_l{number}{end}" for end in ends] for number in range(layer.num_layers)]
