"""The recurrent Jacobian: the effect of one step of the recurrence on a small change of its state.

It is the Jacobian of the whole state, for an LSTM (h, c), at a fixed driven input: a dynamics reads only the input, so
d does not depend on the state, and momentum affects this matrix only through the operating point.

Axes: B batch, N numbers of the state of one sequence (H, for an LSTM 2 H).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.inspection.gradients.tape import Step
from momentum_cli.recurrence.protocol import Recurrence


@dataclass(frozen=True)
class Spectrum:
    """Spectra of the recurrent Jacobian at one step.

    Eigenvalue moduli describe the effect of many such steps on a gradient, and do not depend on the units of h and c;
    singular values bound the effect of one step (in Euclidean norms), and do depend on them.

    Args:
        t: The step from h_{t-1} to h_t, from 1.
        moduli: (N,) largest first; the median over sequences for each rank.
        singular_values: (N,) likewise.
    """

    t: int
    moduli: Tensor
    singular_values: Tensor


def recurrent_jacobian(recurrence: Recurrence, step: Step, sequence: int) -> Tensor:
    """Return d state_t / d state_{t-1} of one sequence of a batch, with the driven input d_t fixed.

    Args:
        recurrence: The recurrence of the step.
        step: The recorded step; its tensors may be part of a graph.
        sequence: Row of the batch.

    Returns:
        (N, N): row i is the gradient of the i-th number of the new state; integer counters are fixed, too.
    """
    before = [tensor[sequence].detach() for tensor in step.before]
    moving = [number for number, tensor in enumerate(before) if tensor.is_floating_point()]
    size = sum(before[number].numel() for number in moving)
    # A step treats the rows of a batch separately: with N copies of the sequence, each differentiated for one number of
    # its new state, one backward pass gives the whole matrix.
    state = [tensor.expand(size, *tensor.shape).clone() for tensor in before]
    inputs = [state[number].requires_grad_() for number in moving]
    bias_hh = None if step.bias_hh is None else step.bias_hh.detach()
    with torch.enable_grad():
        d = step.d[sequence].detach().expand(size, -1)
        after = recurrence.step(d, tuple(state), step.weight_hh.detach(), bias_hh)
        outputs = torch.cat([after[number] for number in moving], 1)
    rows = torch.autograd.grad(outputs, inputs, torch.eye(size, dtype=outputs.dtype))
    return torch.cat(rows, 1)


def spectrum(recurrence: Recurrence, step: Step, t: int, sequences: int) -> Spectrum:
    """Return the spectra at one step, as medians over the first sequences of the batch.

    Args:
        recurrence: The recurrence of the step.
        step: The recorded step.
        t: Its number, from 1.
        sequences: Number of sequences, >= 1.
    """
    moduli, singular = [], []
    for sequence in range(min(sequences, len(step.d))):
        matrix = recurrent_jacobian(recurrence, step, sequence)
        moduli.append(torch.linalg.eigvals(matrix).abs().sort(descending=True).values)
        singular.append(torch.linalg.svdvals(matrix))
    return Spectrum(t, torch.stack(moduli).median(0).values, torch.stack(singular).median(0).values)
