"""The sums of an evaluation: metrics of a split, and their variation with the sequences that are in it.

Axes: B batch, T time, n sequences, S sums, m judged steps, C classes, V vocabulary, R resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from momentum_cli.data.batching import stream
from momentum_cli.ranking import Ranking
from momentum_cli.training.calibration import conformity, shifts
from momentum_cli.training.objective import Objective, Scores

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RESAMPLES = 1000
"""Resamples of a bootstrap."""
LEVEL = 0.95
"""Share of the resamples that an error bar covers."""
# Resamples of metrics that are not sums: each takes as long as a pass over all answers.
_RESAMPLES_OF_ALL = 200
# Steps of a text whose sums are kept together: few next to a block of a resample, many next to the 8 bytes of a sum.
_PIECE = 32


class _Judged(NamedTuple):
    """Steps or sequences whose class is judged."""

    owners: np.ndarray  # (m,) places of their sequences
    true: np.ndarray  # (m,)
    answers: np.ndarray  # (m,)
    ranking: Ranking | None


class Tally:
    """The metrics of a split, batch by batch.

    Args:
        objective: Objective of the data set.
        device: Device of outputs and targets.
        keep: Keep the sums of each sequence, for `intervals`; 8 bytes for each sum.
        calibrating: Keep the values that `shifts` needs.
    """

    def __init__(
        self, objective: Objective, device: torch.device | str, *, keep: bool = False, calibrating: bool = False
    ) -> None:
        self._calibrating = calibrating and bool(objective.quantiles)
        self._of_text = False
        self._objective, self._keep = objective, keep
        self._totals = torch.zeros(len(objective.sums), dtype=torch.float64, device=device)
        self._covered = torch.zeros(2, len(objective.quantiles) // 2, dtype=torch.float64, device=device)
        self._terms = torch.zeros((), dtype=torch.float64, device=device)
        self._conformity: list[Tensor] = []
        self._whole = bool(objective.confusions or objective.rankings)
        self._classes = 0
        # One entry for each batch; the places of its sequences in the split bring them into one order at the end.
        self._places: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._owners: list[Tensor] = []
        self._true: list[Tensor] = []
        self._answers: list[Tensor] = []
        self._ranked: list[Tensor] = []

    def add(
        self,
        outputs: Tensor,
        targets: Tensor,
        places: Tensor,
        units: Tensor | None = None,
        naive_errors: Tensor | None = None,
        texts: tuple[str, ...] = (),
        references: tuple[str, ...] = (),
        attacked: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            outputs, targets, texts, references, attacked: As for `Scores`.
            places: (B,) int64, which sequences of the split they are.
            units, naive_errors: As in `momentum_cli.data.Batch`.
        """
        scores = Scores(self._objective, outputs, targets, units, naive_errors, texts, references, attacked)
        sums = scores.totals()
        self._totals += sums.sum(0)
        if self._keep:
            self._places.append(places.cpu())
            self._sums.append(sums.cpu())
        if self._objective.quantiles:
            self._add_intervals(scores)
        if self._whole:
            judged = scores.judged
            owners = places.to(judged.device).view(-1, *[1] * (judged.ndim - 1)).expand(judged.shape)
            self._classes = outputs.shape[-1]
            self._owners.append(owners[judged].cpu())
            self._true.append(scores.true_classes[judged].cpu())
            self._answers.append(scores.answers[judged].cpu())
            if self._objective.rankings:
                self._ranked.append(scores.class_scores[judged].cpu())

    def add_windows(self, outputs: Tensor, targets: Tensor, positions: Tensor) -> None:
        """Add windows of a text, which is one long sequence, as pieces of a few steps.

        Args:
            outputs: (B, T, V).
            targets: (B, T).
            positions: (B, T) int64, where the steps are in the text.
        """
        self._of_text = True
        whole = targets.shape[1] // _PIECE * _PIECE
        if whole:
            pieces = (outputs[:, :whole].reshape(-1, _PIECE, outputs.shape[-1]), targets[:, :whole].reshape(-1, _PIECE))
            self.add(*pieces, positions[:, :whole:_PIECE].flatten())
        if whole < targets.shape[1]:
            self.add(outputs[:, whole:], targets[:, whole:], positions[:, whole])

    def _add_intervals(self, scores: Scores) -> None:
        pairs, counted = len(self._objective.quantiles) // 2, scores.counted.unsqueeze(-1)
        low, high = scores.quantiles[..., :pairs], scores.quantiles.flip(-1)[..., :pairs]
        wanted = scores.wanted.unsqueeze(-1)
        inside = ((low <= wanted) & (wanted <= high) & counted).flatten(0, -2).sum(0)
        self._covered += torch.stack([inside.double(), (high - low).flatten(0, -2).sum(0)])
        self._terms += counted.sum()
        if self._calibrating:
            flat = scores.targets.reshape(len(scores.targets), -1)
            found = self._objective.predicted_quantiles(scores.outputs.float(), flat)
            self._conformity.append(conformity(found, flat).cpu())

    def coverage(self) -> list[dict[str, float]]:
        """Return each predicted interval, the widest first; [] without quantiles.

        Returns:
            ``level`` that it should cover, ``coverage`` that it has, and its mean ``width`` in the original unit.
        """
        levels, count = self._objective.quantiles, float(self._terms)
        inside, widths = self._covered.tolist()
        return [
            {"level": levels[-1 - number] - levels[number], "coverage": inside[number] / count, "width": width / count}
            for number, width in enumerate(widths)
            if count
        ]

    def shifts(self) -> list[list[float]] | None:
        """Return the calibration of the intervals on this split; see `momentum_cli.training.calibration.shifts`."""
        if not self._conformity:
            return None
        return shifts(torch.cat(self._conformity), self._objective.quantiles)

    def share(self, fabric: Fabric) -> None:
        """Bring together the sums of all processes; each of them calls it once, after its last batch."""
        if fabric.world_size == 1:
            return
        for name in ("_totals", "_covered", "_terms"):
            setattr(self, name, fabric.all_reduce(getattr(self, name), reduce_op="sum"))
        if not (self._keep or self._whole or self._calibrating):
            return
        names = ("_places", "_sums", "_owners", "_true", "_answers", "_ranked", "_conformity")
        everyone: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(everyone, (self._classes, [getattr(self, name) for name in names]))
        self._classes = max(classes for classes, _ in everyone)
        for number, name in enumerate(names):
            setattr(self, name, [one for _, lists in everyone for one in lists[number]])

    def metrics(self) -> dict[str, float]:
        """Return the metrics in the order of the objective; reading them waits for the device."""
        found = self._objective.results(self._totals)
        if self._whole:
            judged = self._judged()
            found |= self._of_all(judged, np.ones(len(judged.owners)))
        return {name: found[name] for name in self._objective.metrics}

    def intervals(self, block: int = 1) -> dict[str, tuple[float, float]]:
        """Return the range in which each metric lies in 95 % of bootstrap resamples of the sequences.

        The resamples are drawn from a fixed seed. Sequences that share steps, as the windows of a series do, are drawn
        as blocks of neighbours, the last sequence being a neighbour of the first. A text is drawn in blocks, too: of
        its n pieces n^(1/3) neighbours together, the best rate of growth for a variance.

        Args:
            block: Neighbours that are drawn together, >= 1; not used for a text.

        Reference: Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 7 (1979); percentile
        intervals. Politis and Romano, A Circular Block-Resampling Procedure for Stationary Data (1992). Hall, Horowitz
        and Jing, On Blocking Rules for the Bootstrap with Dependent Data, Biometrika 82 (1995).
        """
        places = torch.cat(self._places)
        order = places.argsort()
        sums = torch.cat(self._sums)[order]
        if self._of_text:
            sums = sums[sums[:, self._objective.sums.index("terms")] > 0]
            block = round(len(sums) ** (1 / 3))
        count = len(sums)
        judged = self._judged() if self._whole else None
        at = None if judged is None else np.searchsorted(places[order].numpy(), judged.owners)
        values: dict[str, list[float]] = {name: [] for name in self._objective.metrics}
        for number in range(RESAMPLES):
            weights = _draw(count, block, number)
            found = self._objective.results(torch.from_numpy(weights) @ sums)
            if judged is not None and number < _RESAMPLES_OF_ALL:
                found |= self._of_all(judged, weights[at])
            for name, value in found.items():
                values[name].append(value)
        ends = 100 * np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return {name: _percentiles(each, ends) for name, each in values.items()}

    def worst(self, count: int, apart: int = 1) -> list[tuple[int, float]]:
        """Return the place and the mean loss of the sequences with the largest mean loss, the worst first.

        Args:
            count: The most sequences to return.
            apart: Least distance of their places, >= 1, because one of several windows that share steps is enough.
        """
        places = torch.cat(self._places)
        order = places.argsort()
        sums = torch.cat(self._sums)[order]
        total, terms = (sums[:, self._objective.sums.index(name)] for name in ("loss", "terms"))
        mean = torch.where(terms > 0, total / terms, -torch.inf)
        found: list[tuple[int, float]] = []
        for row in mean.argsort(descending=True, stable=True).tolist():
            place = int(places[order[row]])
            if len(found) == count or not terms[row] > 0:
                break
            if all(abs(place - other) >= apart for other, _ in found):
                found.append((place, float(mean[row])))
        return found

    def _judged(self) -> _Judged:
        """Return everything that is judged, in one order."""
        owners = torch.cat(self._owners)
        order = owners.argsort(stable=True)
        true, answers = (torch.cat(each)[order].numpy() for each in (self._true, self._answers))
        ranking = Ranking(torch.cat(self._ranked)[order].numpy(), true) if self._ranked else None
        return _Judged(owners[order].numpy(), true, answers, ranking)

    def _of_all(self, judged: _Judged, weights: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._objective.confusions:
            size = self._classes
            cells = judged.true * size + judged.answers
            counts = np.bincount(cells, weights, minlength=size * size).reshape(size, size)
            for name, metric in self._objective.confusions.items():
                assert metric.of_confusion is not None
                found[name] = metric.of_confusion(counts)
        for name, metric in self._objective.rankings.items():
            assert metric.of_scores is not None
            assert judged.ranking is not None
            found[name] = metric.of_scores(judged.ranking, weights)
        return found


def _draw(count: int, block: int, number: int) -> np.ndarray:
    """Return how often each of `count` sequences is in a resample, (count,) float64 that sum to `count`."""
    generator = stream("bootstrap", count, block, number)
    block = max(1, min(block, count))
    starts = torch.randint(count, (-(-count // block),), generator=generator)
    drawn = (starts[:, None] + torch.arange(block)).flatten()[:count] % count
    return np.bincount(drawn.numpy(), minlength=count).astype(np.float64)


def _percentiles(values: list[float], ends: np.ndarray) -> tuple[float, float]:
    known = np.array(values)[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, ends).tolist()
    return low, high
