"""Comparison of an exported translation model with its checkpoint: token by token, and whole translations."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data import NOT_SCORED, Batch, Dataset, Sequences
from momentum_cli.data.translation.subwords import END
from momentum_cli.errors import TargetError
from momentum_cli.formats.parity import SLACK, TOLERANCE, Case, Parity, case_text
from momentum_cli.formats.translation.package import TranslationProgram
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import translate
from momentum_cli.progress import Ui
from momentum_cli.training.evaluation import tally
from momentum_cli.training.objective import Objective

SENTENCES = 32
"""Sentences of the test split that are translated by both."""
# (batch, tokens of the source, of the target) of random sentences: sizes other than the example's.
_SHAPES = ((1, 1, 1), (4, 1, 3), (1, 37, 5), (5, 23, 12))


def check(program: TranslationProgram, model: TranslationModel, samples: Sequences, seed: int = 0) -> Parity:
    """Compare the logits of each token against the reference loop in float64, and translate sentences with both.

    Translations may differ only where the reference scores both equally, to within `TOLERANCE`.

    Args:
        program: Loaded from the written file.
        model: The checkpoint's model, float32 on the CPU.
        samples: The test split.
        seed: Seed of the random sentences.

    Raises:
        TargetError: A difference is beyond tolerance; the message shows every case.
    """
    generator = torch.Generator().manual_seed(seed)
    reference = copy.deepcopy(model).double()
    reference.use_backend("reference")
    batches = [("random", _random(model, *shape, generator)) for shape in _SHAPES]
    index = torch.arange(min(SENTENCES, len(samples)))
    real = samples.batch(index)
    batches.append(("test samples", real))
    with torch.no_grad():
        cases = [_forced(name, program, model, reference, batch) for name, batch in batches]
        cases.append(_translated(program, model, reference, real))
    parity = Parity(tuple(cases))
    if not all(case.passed for case in cases):
        raise TargetError(
            "the exported program does not compute what the checkpoint does (float64 reference):\n"
            + "\n".join(case_text(case) for case in cases)
        )
    return parity


def compare_scores(
    program: TranslationProgram, model: TranslationModel, dataset: Dataset, size: int, ui: Ui
) -> dict[str, Any]:
    """Return the test metric of an archive and of its checkpoint; their losses must agree.

    Where two translations score equally, to the last digit, either may be chosen: the metric of the file is shown, but
    not compared.
    """
    found = []
    for answer in (lambda batch: model.answer(batch, None), program.answer):
        counted = tally(
            lambda batch, index, state, answer=answer: answer(batch),  # type: ignore[misc]
            dataset.test,
            Objective.of(dataset),
            size=size,
            on_progress=ui.evaluation_progress,
        )
        found.append(counted.metrics())
    own, got = found
    if not abs(got["loss"] - own["loss"]) <= 1e-4 * max(1.0, own["loss"]):
        raise TargetError(
            f"test loss: the exported file has {got['loss']:.6g}, the checkpoint {own['loss']:.6g}; the file was not "
            "written"
        )
    metric = dataset.metric
    return {"metric": metric, "file": got[metric], "checkpoint": own[metric], "samples": len(dataset.test)}


def _random(model: TranslationModel, batch: int, source: int, target: int, generator: torch.Generator) -> Batch:
    return Batch(
        model.inputs.random(batch, source, generator),
        torch.randint(model.output_size, (batch, target), generator=generator),
        torch.full((batch,), source),
    )


def _forced(
    name: str, program: TranslationProgram, model: TranslationModel, reference: TranslationModel, batch: Batch
) -> Case:
    """Compare the logits of the tokens of references."""
    counts = batch.targets != NOT_SCORED
    wanted, own, got = reference.forced(batch)[counts], model.forced(batch)[counts], program.forced(batch)[counts]
    difference, layer = ((one.double() - wanted).abs().max().item() for one in (got, own))
    scale = wanted.abs().max().item()
    passed = difference <= max(TOLERANCE * max(1.0, scale), SLACK * layer)
    steps = batch.targets.shape[1]
    return Case(name, len(batch.inputs), steps, steps, difference, difference / scale if scale else 0.0, layer, passed)


def _translated(
    program: TranslationProgram, model: TranslationModel, reference: TranslationModel, batch: Batch
) -> Case:
    """Compare whole translations by the score that the reference gives them."""
    assert batch.lengths is not None
    mine, theirs = (translate(one, batch.inputs, batch.lengths, model.search) for one in (model, program))
    worst = scale = 0.0
    for row, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        if one.tokens == other.tokens:
            continue
        source = batch.inputs[row : row + 1, : int(batch.lengths[row])]
        scores = [_score(reference, source, written.tokens) for written in (one, other)]
        worst, scale = max(worst, abs(scores[0] - scores[1])), max(scale, abs(scores[0]))
    longest = max(len(one.tokens) for one in mine) + 1
    passed = worst <= TOLERANCE * max(1.0, scale)
    relative = worst / scale if scale else 0.0
    return Case("whole translations", len(mine), longest, longest, worst, relative, 0.0, passed)


def _score(reference: TranslationModel, source: Tensor, tokens: list[int]) -> float:
    """Return the score by which the search compares translations."""
    targets = torch.tensor([[*tokens, END]])
    logs = reference.forced(Batch(source, targets, torch.tensor([source.shape[1]]))).log_softmax(2)
    total = float(logs[0].gather(1, targets[0][:, None]).sum())
    return reference.search.score(total, targets.shape[1])
