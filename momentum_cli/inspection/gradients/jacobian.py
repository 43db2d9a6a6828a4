"""The recurrent Jacobian: what one step of the recurrence does to a small change of its state.

It is taken of the whole state, for an LSTM of (h, c), at a fixed driven input: a dynamics reads the input only, so
d does not move with the state, and momentum is not in this matrix but through the operating point.

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

    Eigenvalue moduli tell what many such steps do to a gradient, and do not change when h and c are measured in other
    units; singular values bound one step (of Euclidean norms), and do.

    Args:
        t: The step from h_{t-1} to h_t, from 1.
        moduli: (N,) largest first; of each rank the median over sequences.
        singular_values: (N,) likewise.
    """

    t: int
    moduli: Tensor
    singular_values: Tensor


def recurrent_jacobian(recurrence: Recurrence, step: Step, sequence: int) -> Tensor:
    """Return d state_t / d state_{t-1} of one sequence of a batch, the driven input d_t held.

    Args:
        recurrence: Whose step it is.
        step: Recorded; its tensors may be part of a graph.
        sequence: Row of the batch.

    Returns:
        (N, N): row i is the gradient of the i-th number of the new state; integer counters are held, too.
    """
    before = [tensor[sequence].detach() for tensor in step.before]
    moving = [number for number, tensor in enumerate(before) if tensor.is_floating_point()]
    size = sum(before[number].numel() for number in moving)
    # A step treats the rows of a batch apart: N copies of the sequence, each differentiated for one number of its new
    # state, give the whole matrix in one pass back.
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
        recurrence: Whose step it is.
        step: Recorded.
        t: Its number, from 1.
        sequences: How many to take, >= 1.
    """
    moduli, singular = [], []
    for sequence in range(min(sequences, len(step.d))):
        matrix = recurrent_jacobian(recurrence, step, sequence)
        moduli.append(torch.linalg.eigvals(matrix).abs().sort(descending=True).values)
        singular.append(torch.linalg.svdvals(matrix))
    return Spectrum(t, torch.stack(moduli).median(0).values, torch.stack(singular).median(0).values)
