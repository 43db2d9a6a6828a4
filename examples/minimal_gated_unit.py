"""A minimal gated unit with any dynamics in front, as a plugin:

    momentumrnn train digits --plugin examples/minimal_gated_unit.py model.cell=momentum-mgu

Reference: Zhou, Wu, Zhang, Zhou, "Minimal Gated Unit for Recurrent Neural Networks", arXiv 1603.09420, section 3.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli import Recurrence


def mgu_step(d: Tensor, state: tuple[Tensor, ...], weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor, ...]:
    """f = σ(d_f + W_f h + b_f); n = tanh(d_n + W_n (f h) + b_n); h' = (1 - f) h + f n."""
    (h,) = state
    d_f, d_n = d.chunk(2, 1)
    weight_f, weight_n = weight_hh.chunk(2)
    bias_f, bias_n = (None, None) if bias_hh is None else bias_hh.chunk(2)
    f = torch.sigmoid(d_f + linear(h, weight_f, bias_f))
    n = torch.tanh(d_n + linear(f * h, weight_n, bias_n))
    return (torch.lerp(h, n, f),)


EQUATION = "f = σ(d_f + W_f h + b_f); n = tanh(d_n + W_n (f h) + b_n); h' = (1-f)h + fn"
RECURRENCES = {"mgu": Recurrence("mgu", gates=2, state_names=("h",), step=mgu_step, equation=EQUATION)}
