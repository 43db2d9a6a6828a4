"""The numbers of an inspection, JSON-able: gradient norms, spectra and impulse responses of each subject.

Axes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from momentum_cli.data import Batch, Dataset
from momentum_cli.inspection.gradients.gradient_flow import GradientFlow, gradient_flow, spread
from momentum_cli.inspection.gradients.impulse import impulse_response, memory, memory_closed_form
from momentum_cli.inspection.gradients.jacobian import spectrum
from momentum_cli.inspection.gradients.passes import KINDS
from momentum_cli.inspection.gradients.subjects import Subject
from momentum_cli.recipe.building import model_section
from momentum_cli.training.objective import Objective

QUARTERS = (0.25, 0.5, 0.75)
"""Positions in the sequence where the recurrent Jacobian is computed."""
JACOBIAN_SEQUENCES = 4
"""Number of sequences; each is an eigenvalue problem with hundreds of unknowns."""
_DIGITS = 6


def measure(subject: Subject, dataset: Dataset, batch: Batch) -> dict[str, Any]:
    """Return the gradient norms and the spectra of one subject.

    Args:
        subject: The model.
        dataset: The data set that defines the loss.
        batch: B sequences of T steps.

    Returns:
        ``label``, ``cell``, ``dynamics``, ``stage``, ``loss``, ``gradients`` (name of the quantity -> ``median``,
        ``lower`` and ``upper`` quartile over the batch, T numbers each; of the first layer, forward), ``layers`` (the
        same for every layer and direction), ``jacobian`` (a list, one entry per step ``t``: ``moduli``,
        ``singular_values``, largest first); of a translation model all this of its encoder, and ``attention``, see
        `passes.attention_maps`.
    """
    kind = KINDS[model_section(subject.recipe)]
    flow = gradient_flow(subject.model, batch, Objective.of(dataset), kind.begin)
    return {
        "label": subject.label,
        "cell": subject.recipe.model.cell,
        "dynamics": str(subject.model.layer.dynamics),
        "stage": subject.stage,
        "loss": flow.loss,
        "gradients": {name: _rounded(spread(norms)) for name, norms in flow.first().items()},
        "layers": [
            {
                "layer": layer.layer,
                "direction": layer.direction,
                "gradients": {name: _rounded(spread(norms)) for name, norms in layer.norms.items()},
            }
            for layer in flow.layers
        ],
        "jacobian": _spectra(flow, batch.inputs.shape[1]),
        **({"attention": kind.attention(subject.model.eval(), dataset, batch)} if kind.attention else {}),
    }


def _spectra(flow: GradientFlow, length: int) -> list[dict[str, Any]]:
    """Return the spectra of the first layer, whose first direction comes first on the tape."""
    times = dict.fromkeys(max(1, round(quarter * length)) for quarter in QUARTERS)
    found = [spectrum(flow.tape.recurrence, flow.tape.steps[t - 1], t, JACOBIAN_SEQUENCES) for t in times]
    return [
        {
            "t": each.t,
            "moduli": _numbers(each.moduli),
            "singular_values": _numbers(each.singular_values),
        }
        for each in found
    ]


def measure_impulses(subjects: Sequence[Subject], length: int) -> list[dict[str, Any]]:
    """Return the impulse response of the dynamics of each cell, once per label.

    The impulse is in the middle of the sequence, at step ``(T + 1) // 2``.

    Returns:
        ``label``, ``dynamics``, ``arrival``, ``response`` (lags 0 … T - arrival), ``memory`` (effective length in
        steps), ``memory_closed_form`` (or None), ``forgotten_after`` (steps until below 5 % of the peak, or None).
    """
    arrival = (length + 1) // 2
    entries = []
    for subject in {subject.label: subject for subject in subjects}.values():
        dynamics = subject.model.layer.dynamics
        response = impulse_response(dynamics, length, arrival)
        lasting = memory(response)
        entries.append(
            {
                "label": subject.label,
                "dynamics": str(dynamics),
                "arrival": arrival,
                "response": _numbers(response),
                "memory": lasting.length,
                "memory_closed_form": memory_closed_form(dynamics, length, arrival),
                "forgotten_after": lasting.forgotten_after,
            }
        )
    return entries


def _numbers(values: Tensor) -> list[float]:
    return [_short(value) for value in values.tolist()]


def _rounded(curves: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [_short(value) for value in values] for name, values in curves.items()}


def _short(value: float) -> float:
    """Round to six significant digits, which cuts the file to a third and is finer than the spread over the batch."""
    return float(f"{value:.{_DIGITS}g}")
