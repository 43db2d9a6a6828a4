"""Loss and metrics of a data set as sums, so that batches, micro-batches and processes add up exactly.

Axes: B batch, T time, K targets, Q quantiles, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from momentum_cli.data import NOT_SCORED, Dataset, scored_terms
from momentum_cli.messages import Said, refuse
from momentum_cli.metrics import METRICS, Metric
from momentum_cli.text_scores import BLEU_SUMS, CHRF_SUMS, bleu_sums, chrf_sums

# Twice the largest relative error of a float32.
_ROUNDING = 2.0**-23


@dataclass(frozen=True)
class Objective:
    """The loss and metrics that a data set asks of a model.

    Args:
        loss: ``"cross_entropy"``, ``"mse"`` or ``"pinball"``.
        output: ``"last"`` or ``"every"``.
        metric_steps: With output ``"every"``, the steps over which accuracy is taken; None for every scored one.
        target_scale, target_offset: For each of K targets, original = scaled * scale + offset, for metrics of values;
            None for 1 and 0.
        quantiles: Q levels in rising order, each in (0, 1), that a model of loss ``"pinball"`` predicts of every
            target; () for other losses.
        shifts: Shift of each quantile of each of K targets before it is judged, (K, Q) in the scaled unit, see
            `momentum_cli.training.calibration`; None: no shift.
        metrics: Keys of `momentum_cli.metrics.METRICS`, in the order of a result.
        spell: For a model that answers in words, the function from its tokens to text; else None.
    """

    loss: str
    output: str
    metric_steps: slice | None = None
    target_scale: tuple[float, ...] | None = None
    target_offset: tuple[float, ...] | None = None
    quantiles: tuple[float, ...] = ()
    shifts: tuple[tuple[float, ...], ...] | None = None
    metrics: tuple[str, ...] = ("loss",)
    spell: Callable[[Sequence[int]], str] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Objective:
        """Return the objective of a data set; the loss comes first among its metrics."""
        metrics = dict.fromkeys(("loss", *dataset.metrics))
        return cls(
            dataset.loss,
            dataset.output,
            dataset.metric_steps,
            dataset.target_scale,
            dataset.target_offset,
            dataset.quantiles,
            None,
            tuple(metrics),
            dataset.spell,
        )

    def spelled(self, written: Sequence[Sequence[int]] | None) -> tuple[str, ...]:
        """Return the texts of answers in words, one for each sequence; () for other answers."""
        if written is None or self.spell is None:
            return ()
        return tuple(map(self.spell, written))

    def calibrated(self, shifts: Sequence[Sequence[float]] | None) -> Objective:
        """Return the objective with the shifts of a calibrated model, if any."""
        return self if shifts is None else replace(self, shifts=tuple(map(tuple, shifts)))

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the sums that the metrics are computed from, keys of `SUMS`."""
        return tuple(dict.fromkeys(name for metric in self._found.values() for name in metric.added))

    @property
    def confusions(self) -> dict[str, Metric]:
        """Those of the metrics that are functions of the confusion matrix."""
        return {name: metric for name, metric in self._found.items() if metric.of_confusion is not None}

    @property
    def rankings(self) -> dict[str, Metric]:
        """Those of the metrics that are functions of all scores."""
        return {name: metric for name, metric in self._found.items() if metric.of_scores is not None}

    @property
    def _found(self) -> dict[str, Metric]:
        return {name: METRICS[name] for name in self.metrics}

    def scored(self, targets: Tensor) -> Tensor:
        """Return how many terms of the loss each sequence has, (B,) int64; see `momentum_cli.data.scored_terms`."""
        return scored_terms(targets)

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the loss over everything scored.

        Args:
            outputs: (B, O) or (B, T, O), in any floating dtype; the loss is computed in float32 or above.
            targets: As in `momentum_cli.data.Batch`. What is not scored there adds 0 and has the gradient 0, whatever
                the output is.
        """
        outputs = _wide(outputs)
        if self.loss == "pinball":
            return self._pinball(outputs, targets).sum()
        if self.loss == "mse":
            return mse_loss(*_counted(outputs, targets), reduction="sum")
        return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum")

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the loss of each sequence, (B,); outputs and targets as for `loss_sum`."""
        outputs = _wide(outputs)
        if self.loss == "pinball":
            each = self._pinball(outputs, targets)
        elif self.loss == "mse":
            each = mse_loss(*_counted(outputs, targets), reduction="none")
        else:
            each = cross_entropy(
                outputs.flatten(0, -2), targets.flatten(), ignore_index=NOT_SCORED, reduction="none"
            ).view(targets.shape)
        return _by_sequence(each)

    def predicted_quantiles(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the quantiles of each target in rising order, the shape of targets and Q.

        A model may predict a higher quantile below a lower one; sorting them never makes the loss larger
        (Chernozhukov, Fernández-Val, Galichon, Econometrica 78 (2010), proposition 4).
        """
        found = outputs.reshape(*targets.shape, len(self.quantiles)).sort(-1).values
        return found if self.shifts is None else (found + found.new_tensor(self.shifts)).sort(-1).values

    def _pinball(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each target, the mean over the quantiles, in the shape of targets."""
        counts = ~targets.isnan()
        found = self.predicted_quantiles(outputs, targets)
        found = torch.where(counts.unsqueeze(-1), found, 0.0)
        wanted = torch.where(counts, targets, 0.0).to(found.dtype)
        return pinball(found, wanted, self.quantiles)

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the `sums` of each sequence of a batch, (B, S) float64 on the device of outputs."""
        return Scores(self, outputs, targets).totals()

    def results(self, totals: Tensor) -> dict[str, float]:
        """Turn added `totals`, (S,), into those metrics of an evaluation that are functions of sums."""
        sums = dict(zip(self.sums, totals.tolist(), strict=True))
        return {
            name: metric.of_totals([sums[one] for one in metric.added])
            for name, metric in self._found.items()
            if metric.added
        }


def pinball(found: Tensor, wanted: Tensor, quantiles: tuple[float, ...]) -> Tensor:
    """Return the quantile loss, the mean over the quantiles, in the shape of `wanted`.

    For a level q and an error e = wanted - found that is max(q e, (q - 1) e).

    Args:
        found: (…, Q) predicted quantiles.
        wanted: (…).
        quantiles: Q levels.

    Reference: Koenker and Bassett, Regression Quantiles, Econometrica 46 (1978).
    """
    levels = found.new_tensor(quantiles)
    error = wanted.unsqueeze(-1) - found
    return torch.maximum(levels * error, (levels - 1.0) * error).mean(-1)


@dataclass(frozen=True)
class Scores:
    """A batch whose outputs are judged; values that several sums need are computed once.

    Args:
        objective: Objective of the data set.
        outputs, targets: As for `Objective.loss_sum`.
        units: As in `momentum_cli.data.Batch`; None: those of the objective.
        naive_errors: As in `momentum_cli.data.Batch`, for `mase`.
        texts: Answers to each sequence, for a model that answers in words.
        references: The right answers.
        attacked: The worst outputs under an attack, for `robust_accuracy`; see `momentum_cli.training.worst`.
    """

    objective: Objective
    outputs: Tensor
    targets: Tensor
    units: Tensor | None = None
    naive_errors: Tensor | None = None
    texts: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    attacked: Tensor | None = None

    def totals(self) -> Tensor:
        """Return the sums of the objective for each sequence, (B, S) float64 on the device of outputs."""
        names = self.objective.sums
        if not names:
            return torch.zeros(len(self.targets), 0, dtype=torch.float64, device=self.outputs.device)
        return torch.stack([SUMS[name](self).double() for name in names], 1)

    @cached_property
    def losses(self) -> Tensor:
        """Sum of the loss of each sequence, (B,)."""
        return self.objective.losses(self.outputs, self.targets)

    @cached_property
    def judged(self) -> Tensor:
        """Mask of the classes that count in the accuracy, (B,) or (B, T) bool."""
        return self._steps(self.targets != NOT_SCORED)

    @cached_property
    def correct(self) -> Tensor:
        """Mask of the classes that count and are right, the shape of `judged`."""
        return (self.answers == self.true_classes) & self.judged

    @property
    def withstood(self) -> Tensor:
        """Mask of the classes that count and are right under the attack, the shape of `judged`."""
        if self.attacked is None:
            raise ValueError(refuse("attacked", None, "be given for robust_accuracy"))
        return replace(self, outputs=self.attacked).correct

    @property
    def true_classes(self) -> Tensor:
        """True classes, the shape of `judged`."""
        return self._steps(self.targets)

    @property
    def class_scores(self) -> Tensor:
        """Logarithms of the probabilities of the classes, float64, the shape of `judged` and C."""
        # In float64: in single precision, all classes that a model is sure of would tie.
        return self._steps(self.outputs.double().log_softmax(-1))

    @cached_property
    def answers(self) -> Tensor:
        """Predicted classes, the shape of `judged`."""
        return self._steps(self.outputs.argmax(-1))

    @cached_property
    def counted(self) -> Tensor:
        """Mask of the values that have a target, the shape of targets, bool."""
        return ~self.targets.isnan()

    @cached_property
    def quantiles(self) -> Tensor:
        """Predicted quantiles in the original unit, float64, the shape of targets and Q; 0 without a target."""
        scaled = self.objective.predicted_quantiles(_wide(self.outputs), self.targets).double()
        return torch.where(self.counted.unsqueeze(-1), self._restored(scaled, 1), 0.0)

    @cached_property
    def predicted(self) -> Tensor:
        """Predicted values in the original unit, float64, the shape of targets; of quantiles the median."""
        if self.objective.quantiles:
            return self.quantiles[..., self.objective.quantiles.index(0.5)]
        shaped = self.outputs.reshape(self.targets.shape).double()
        return torch.where(self.counted, self._restored(shaped), 0.0)

    @cached_property
    def wanted(self) -> Tensor:
        """Targets in the original unit, float64, 0 where there is none."""
        found, offset = self._restored(self.targets.double()), self._unit[1]
        # A target of 0 comes back from float32 as a tiny remainder, by which no error may be divided.
        rounding = (found if offset is None else found - offset).abs() * _ROUNDING
        return torch.where(self.counted & (found.abs() > rounding), found, 0.0)

    @cached_property
    def errors(self) -> Tensor:
        """Errors of the values in their original unit, float64, 0 without a target, in the shape of targets."""
        if self.objective.quantiles:
            return self.predicted - self.wanted
        # Not from the restored values: adding a large offset would round away the digits that matter.
        predicted, wanted = _counted(self.outputs, self.targets)
        error = predicted.double() - wanted.double()
        scale, _ = self._unit
        return error if scale is None else error * scale

    @cached_property
    def bleu(self) -> Tensor:
        """`BLEU_SUMS` of each sequence, (B, 10) float64."""
        return self._of_texts(bleu_sums)

    @cached_property
    def chrf(self) -> Tensor:
        """`CHRF_SUMS` of each sequence, (B, 18) float64."""
        return self._of_texts(chrf_sums)

    def _of_texts(self, sums: Callable[[Sequence[str], Sequence[str]], list[list[int]]]) -> Tensor:
        if len(self.texts) != len(self.targets):
            raise ValueError(
                refuse("texts", Said(f"{len(self.texts)}"), f"be {len(self.targets)}, one for each sequence")
            )
        return self.outputs.new_tensor(sums(self.texts, self.references), dtype=torch.float64)

    @property
    def squares(self) -> Tensor:
        """Sum of the squared errors of each sequence, (B,)."""
        same = self.objective.loss == "mse" and self._unit[0] is None
        return self.losses if same else _by_sequence(self.errors.square())

    @property
    def percentages(self) -> Tensor:
        """Sum of the errors relative to the values, over values that are not 0, (B,)."""
        share = self.errors.abs() / self.wanted.abs()
        return _by_sequence(torch.where(self.wanted != 0, share, 0.0))

    @property
    def symmetric(self) -> Tensor:
        """Sum of the errors relative to the mean size of value and prediction, 0 where both are 0, (B,)."""
        size = (self.predicted.abs() + self.wanted.abs()) / 2
        return _by_sequence(torch.where(size > 0, self.errors.abs() / size, 0.0))

    @property
    def scaled(self) -> Tensor:
        """Weighted sum of the errors relative to those of the naive forecast in the training data, (B,)."""
        assert self.naive_errors is not None
        divisor, weight = self.naive_errors
        return _by_sequence(weight * self.errors.abs() / divisor)

    @property
    def weights(self) -> Tensor:
        """Sum of the weights of these errors, (B,)."""
        assert self.naive_errors is not None
        return _by_sequence(self.counted * self.naive_errors[1])

    @property
    def pinball(self) -> Tensor:
        """Sum of the quantile loss in the original unit, (B,)."""
        return _by_sequence(pinball(self.quantiles, self.wanted, self.objective.quantiles))

    def _restored(self, values: Tensor, behind: int = 0) -> Tensor:
        """Return scaled values (…, K) and `behind` more axes in their original unit."""
        scale, offset = (None if each is None else each[(..., *[None] * behind)] for each in self._unit)
        values = values if scale is None else values * scale
        return values if offset is None else values + offset

    @cached_property
    def _unit(self) -> tuple[Tensor | None, Tensor | None]:
        """Scale and offset of the targets, float64, (K,) or (B, K); None for 1 and 0."""
        if self.units is not None:
            return self.units[0], self.units[1]
        given = (self.objective.target_scale, self.objective.target_offset)
        scale, offset = (
            None if each is None else torch.tensor(each, dtype=torch.float64, device=self.targets.device)
            for each in given
        )
        return scale, offset

    def _steps(self, each: Tensor) -> Tensor:
        steps = self.objective.metric_steps
        return each if steps is None else each[:, steps]


def _column(name: str, number: int, scores: Scores) -> Tensor:
    found: Tensor = getattr(scores, name)
    return found[:, number]


SUMS: dict[str, Callable[[Scores], Tensor]] = {
    "loss": lambda scores: scores.losses,
    "terms": lambda scores: scored_terms(scores.targets),
    "correct": lambda scores: _by_sequence(scores.correct),
    "withstood": lambda scores: _by_sequence(scores.withstood),
    "judged": lambda scores: _by_sequence(scores.judged),
    "squares": lambda scores: scores.squares,
    "magnitudes": lambda scores: _by_sequence(scores.errors.abs()),
    "percentages": lambda scores: scores.percentages,
    "nonzero": lambda scores: _by_sequence(scores.wanted != 0),
    "symmetric": lambda scores: scores.symmetric,
    "scaled": lambda scores: scores.scaled,
    "weights": lambda scores: scores.weights,
    "pinball": lambda scores: scores.pinball,
    **{name: partial(_column, "bleu", number) for number, name in enumerate(BLEU_SUMS)},
    **{name: partial(_column, "chrf", number) for number, name in enumerate(CHRF_SUMS)},
}


def _by_sequence(each: Tensor) -> Tensor:
    """Return the sum over all axes but the first."""
    return each if each.ndim == 1 else each.flatten(1).sum(1)


def _wide(outputs: Tensor) -> Tensor:
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def _counted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of one shape, both 0 where the target is NaN."""
    counts = ~targets.isnan()
    # `where` and not a product: padding may be infinite, and 0 times that is not 0.
    shaped = outputs.reshape(targets.shape)
    return torch.where(counts, shaped, 0.0), torch.where(counts, targets, 0.0).to(outputs.dtype)
