"""Comparison of an exported file with its checkpoint, against the reference loop in float64.

Axes: B batch, T time, D input, O outputs.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data import Sequences
from momentum_cli.errors import TargetError
from momentum_cli.formats.program import Program
from momentum_cli.models.model import Model

TOLERANCE = 1e-4
"""Largest allowed difference from float64, relative to max(1, the largest output of the case)."""
INT8_TOLERANCE = 0.25
"""The same for int8 weights. Rounding makes a difference of some percent; a file beyond this is broken, or useless."""
SLACK = 8.0
"""A difference of up to this many times that of the layer's own float32 is allowed too: Adam and RMSProp divide by a
root that may be as small as sqrt(eps), and then float32 itself is far from float64."""
REAL_SAMPLES = 8
REAL_STEPS = 40
# (batch, length): different from the example's (3, 5), with batch 1, length 1 and more than a block of the filter.
SHAPES = ((1, 1), (4, 1), (1, 37), (2, 70), (5, 33))


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        inputs: ``"random"`` or ``"test samples"``.
        batch: B.
        steps: T.
        chunks: Number of calls for a sequence of a stateful program; 1 for other programs.
        max_abs: Largest absolute difference of outputs and states from the float64 reference.
        max_rel: The same relative to the largest absolute value of each tensor.
        float32: ``max_abs`` of the checkpoint's own layer in float32.
        passed: True if ``max_abs`` is within tolerance.
    """

    inputs: str
    batch: int
    steps: int
    chunks: int
    max_abs: float
    max_rel: float
    float32: float
    passed: bool


@dataclass(frozen=True)
class Parity:
    """All comparisons of one file."""

    cases: tuple[Case, ...]
    tolerance: float = TOLERANCE

    @property
    def max_abs(self) -> float:
        """The largest absolute difference."""
        return max(case.max_abs for case in self.cases)

    @property
    def max_rel(self) -> float:
        """The largest relative difference."""
        return max(case.max_rel for case in self.cases)

    def dump(self) -> dict[str, Any]:
        """Return plain mappings."""
        cases = [asdict(case) for case in self.cases]
        return {"max_abs": self.max_abs, "max_rel": self.max_rel, "tolerance": self.tolerance, "cases": cases}


def check_parity(
    program: Program, model: Model, samples: Sequences | None, seed: int = 0, tolerance: float = TOLERANCE
) -> Parity:
    """Compare a program with its checkpoint.

    Args:
        program: Loaded from the written file.
        model: The checkpoint's model, float32 on the CPU.
        samples: Real data, of which the first few sequences are used, or None.
        seed: Seed of the random inputs and the chunks.
        tolerance: Largest allowed difference, as `TOLERANCE`.

    Returns:
        The differences.

    Raises:
        TargetError: A difference is beyond tolerance, or a shape differs; the message shows every case.
    """
    generator = torch.Generator().manual_seed(seed)
    reference = copy.deepcopy(model).double()
    reference.use_backend("reference")
    cases = [("random", model.inputs.random(b, t, generator)) for b, t in SHAPES]
    if samples is not None:
        batch = samples.batch(next(samples.evaluation_groups(REAL_SAMPLES)))
        inputs = batch.inputs[:, :REAL_STEPS] if samples.carried else batch.inputs
        if batch.lengths is None:
            cases.append(("test samples", inputs))
        else:
            # Sequences of different lengths one by one, because a program takes no lengths.
            cases += [("test samples", one[None, :n]) for one, n in zip(inputs, batch.lengths.tolist(), strict=True)]
    compared = (_compare(name, program, model, reference, x, generator, tolerance) for name, x in cases)
    parity = Parity(tuple(compared), tolerance)
    if not all(case.passed for case in parity.cases):
        raise TargetError(
            "the exported program does not compute what the checkpoint does (float64 reference):\n"
            + "\n".join(case_text(case) for case in parity.cases)
        )
    return parity


def case_text(case: Case) -> str:
    """Return a case as a line of text."""
    cut = f" in {case.chunks} chunks" if case.chunks > 1 else ""
    return (
        f"{case.inputs} {case.batch} x {case.steps}{cut}: differs by {case.max_abs:.1e} absolute, {case.max_rel:.1e} "
        f"relative (the layer itself by {case.float32:.1e}): {'ok' if case.passed else 'beyond tolerance'}"
    )


def _compare(
    name: str,
    program: Program,
    model: Model,
    reference: Model,
    x: Tensor,
    generator: torch.Generator,
    tolerance: float,
) -> Case:
    stateful = program.bundle.stateful
    with torch.no_grad():
        expected, state = reference(x.double() if x.is_floating_point() else x)
        own, own_state = model(x)
    if stateful:
        got, after, chunks = _in_chunks(program, x, model.output == "every", generator)
        pairs = [(got, own, expected), *zip(after.values(), own_state, state, strict=True)]
    else:
        got, _ = program.run(x)
        chunks, pairs = 1, [(got, own, expected)]
    for one, _, two in pairs:
        if one.shape != two.shape:
            raise TargetError(f"the exported program returns the shape {tuple(one.shape)}, not {tuple(two.shape)}")
    differences = [(one.double() - two.double()).abs().max().item() for one, _, two in pairs]
    layer = max((own.double() - two.double()).abs().max().item() for _, own, two in pairs)
    scales = [two.double().abs().max().item() for _, _, two in pairs]
    relative = max(d / s if s > 0 else d for d, s in zip(differences, scales, strict=True))
    # Not "any beyond", because a difference that is NaN must fail.
    passed = all(d <= max(tolerance * max(1.0, s), SLACK * layer) for d, s in zip(differences, scales, strict=True))
    return Case(name, len(x), x.shape[1], chunks, max(differences), relative, layer, passed)


def _in_chunks(
    program: Program, x: Tensor, every: bool, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor], int]:
    """Feed a sequence in chunks of random length, and return the outputs, the state and the number of chunks."""
    steps = x.shape[1]
    outputs, at, count = [], 0, 0
    state: dict[str, Tensor] | None = None
    while at < steps:
        # Only the first chunks are short; a long sequence would otherwise take hundreds of calls.
        longest = 4 if count < 6 else max(steps // 8, 4)
        length = int(torch.randint(1, longest + 1, (1,), generator=generator))
        piece, state = program.run(x[:, at : at + length].contiguous(), state)
        outputs.append(piece)
        at += length
        count += 1
    assert state is not None
    return torch.cat(outputs, 1) if every else outputs[-1], state, count
