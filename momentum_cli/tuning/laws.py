"""Learning-curve laws: the metric at the end of a run, predicted from its evaluations so far, with an interval.

With y the distance of the metric from its best value (1 - accuracy, or an error itself), S the sum of the schedule's
rate factors so far, and D the fall of the rate so far, with a fading memory,

    power law with offset   y = c + a (S + s)^-b
    with annealing          y = c + a (S + s)^-b - d D,    D = sum of D_k,  D_k = m D_{k-1} + (f_{k-1} - f_k)

c, a, d >= 0. The delay s lets a curve begin with a plateau. Future steps count by the rates that the schedule gives
them. For fixed exponent b and delay s, taken from a grid, both laws are linear, so their Bayesian regression has a
closed form; predictions are drawn from all of them in proportion to how well each explains the curve.

No run follows a law exactly: it strays from it, and an evaluation that is too good is followed by others. So the
residuals are not independent, but noise and a random walk over S, which goes on where it is at the last evaluation: the
more a run strays, the nearer the prediction is to its last values, and the wider its interval grows with the distance.

Reference: Tissue, Wang and Wang, Scaling Law with Learning Rate Annealing, 2024, arXiv 2408.11029 (equation 1; theirs
has one exponent and memory for all runs, fitted to many).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from momentum_cli.metrics import METRICS
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.training.schedule import scheduled

EXPONENTS = (0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
DELAYS = (0.0, 0.05, 0.2, 0.6, 2.0)
"""s, as a part of S at the end of the budget."""
WALKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Variance of the random walk over the whole budget, in variances of the noise of an evaluation."""
MEMORIES = (0.99,)
FEWEST_POINTS = 3
_DRAWS = 400
# Prior standard deviations in units of the largest distance seen.
_PRIOR = (0.5, 1.0, 0.5)


@dataclass(frozen=True)
class Forecast:
    """A predicted value of a metric.

    Args:
        value: The median of the prediction.
        low, high: Ends of the interval that holds 80 % of the prediction.
        optimistic: The value that one in twenty predictions beats.
    """

    value: float
    low: float
    high: float
    optimistic: float


@dataclass(frozen=True)
class Plan:
    """The learning rate of every step of a run, in terms of the laws.

    Args:
        sums: S after each step, (K,).
        drops: D summed over the steps, after each step, for each of `MEMORIES`, (M, K).
    """

    sums: np.ndarray
    drops: np.ndarray


def plan_of(recipe: Recipe, total_steps: int) -> Plan:
    """Return the plan of a run; a schedule that depends on the loss counts as one that never reduces the rate.

    Args:
        recipe: Its schedule is used.
        total_steps: Planned steps, >= 1.
    """
    lr = recipe.optimizer.lr
    factors = np.array([scheduled(recipe.schedule, step, total_steps, lr) for step in range(total_steps)])
    falls = np.concatenate([[0.0], factors[:-1] - factors[1:]])
    drops = []
    for memory in MEMORIES:
        fading, kept = np.empty(total_steps), 0.0
        for step, fall in enumerate(falls):
            kept = memory * kept + fall
            fading[step] = kept
        drops.append(np.cumsum(fading))
    return Plan(np.cumsum(factors), np.array(drops))


def forecast(
    metric: str, curve: Sequence[tuple[int, float]], plan: Plan, at: int | None = None, seed: int = 0
) -> Forecast | None:
    """Return the predicted value of a metric at a step.

    Args:
        metric: Its name.
        curve: (step, value) of the evaluations so far, in order; values that are not finite are left out.
        plan: Plan of the run.
        at: The step, from 1 to that of the end; None: the end.
        seed: Seed of the draws.

    Returns:
        None with fewer than three evaluations.
    """
    points = [(step, value) for step, value in curve if math.isfinite(value) and 0 < step <= len(plan.sums)]
    if len(points) < FEWEST_POINTS:
        return None
    steps = np.array([step for step, _ in points])
    rises = METRICS[metric].higher_is_better
    sign, offset = (-1.0, METRICS[metric].upper) if rises else (1.0, 0.0)
    y = offset + sign * np.array([value for _, value in points])
    scale = float(np.abs(y).max()) or 1.0
    end = len(plan.sums) if at is None else at
    drawn = scale * _draws(y / scale, steps, plan, end, np.random.default_rng(seed))
    # The metric cannot be better than its best value.
    values = sign * (np.maximum(drawn, 0.0) - offset)
    low, middle, high = (float(end) for end in np.quantile(values, (0.1, 0.5, 0.9)))
    optimistic = float(np.quantile(values, 0.95 if rises else 0.05))
    return Forecast(middle, low, high, optimistic)


def _draws(y: np.ndarray, steps: np.ndarray, plan: Plan, end: int, random: np.random.Generator) -> np.ndarray:
    """Return draws of y at a step from all laws in proportion to their evidence; |y| is at most 1."""
    far = (plan.sums[[*steps - 1, end - 1]] - plan.sums[steps[0] - 1]) / plan.sums[-1]
    # Covariances of a random walk at the evaluations and the end.
    walk = np.minimum(far[:, None], far)
    laws, residuals = _designs(steps, plan, end), [_Residuals.of(size * walk) for size in WALKS]
    fits = [_Fit.of(design, y, each, there) for each in residuals for design, there in laws]
    evidence = np.array([fit.evidence for fit in fits])
    share = np.exp(evidence - evidence.max())
    counts = random.multinomial(_DRAWS, share / share.sum())
    drawn = [fit.draw(count, random) for fit, count in zip(fits, counts, strict=True) if count]
    return np.concatenate(drawn)


def _designs(steps: np.ndarray, plan: Plan, end: int) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Return the columns of each law at the evaluations, (n, 2 or 3), and at the end."""
    sums, last = plan.sums[steps - 1], plan.sums[end - 1]
    designs = []
    for exponent, delay in itertools.product(EXPONENTS, DELAYS):
        begin = delay * plan.sums[-1]
        power, there = ((sums + begin) / sums[-1]) ** -exponent, ((last + begin) / sums[-1]) ** -exponent
        # In units of its first value, so that one prior serves every exponent.
        power, there = power / power[0], there / power[0]
        plain = np.stack([np.ones_like(power), power], axis=1)
        designs.append((plain, np.array([1.0, there])))
        for drops in plan.drops:
            whole = drops[-1]
            # Before the rate has fallen noticeably, the effect of its fall could be anything; then the prior decides.
            if whole > 0:
                column = -drops[steps - 1] / whole
                designs.append((np.column_stack([plain, column]), np.array([1.0, there, -drops[end - 1] / whole])))
    return designs


@dataclass(frozen=True)
class _Residuals:
    """The distances of a run from its law, in standard deviations of the noise.

    Args:
        whitening: (n, n) inverse of the Cholesky factor of their covariance at the evaluations.
        carried: (n,) the weights of the whitened distances in the expected one at the end.
        variance: Its variance, given those at the evaluations.
    """

    whitening: np.ndarray
    carried: np.ndarray
    variance: float

    @classmethod
    def of(cls, walk: np.ndarray) -> _Residuals:
        """Return noise of variance 1 plus a walk with covariances (n + 1, n + 1), the last one that of the end."""
        whitening = np.linalg.inv(np.linalg.cholesky(np.eye(len(walk) - 1) + walk[:-1, :-1]))
        carried = whitening @ walk[:-1, -1]
        return cls(whitening, carried, 1.0 + max(0.0, float(walk[-1, -1] - carried @ carried)))


@dataclass(frozen=True)
class _Fit:
    """A Bayesian linear regression with unknown noise: a normal-inverse-gamma posterior.

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3 and exercise 3.12, for residuals that
    are correlated after both sides are multiplied by the inverse of their Cholesky factor.
    """

    mean: np.ndarray
    factor: np.ndarray
    shape: float
    rate: float
    there: np.ndarray
    kept: float
    variance: float
    evidence: float

    @classmethod
    def of(cls, design: np.ndarray, y: np.ndarray, residuals: _Residuals, there: np.ndarray) -> _Fit:
        """Fit a design (n, p) to y (n,); `there` (p,) is its row at the end."""
        count, width = design.shape
        white, seen = residuals.whitening @ design, residuals.whitening @ y
        prior = _NOISE_UNITS * np.diag(1.0 / np.square(_PRIOR[:width]))
        precision = prior + white.T @ white
        covariance = np.linalg.inv(precision)
        mean = covariance @ (white.T @ seen)
        residual = float(seen @ seen - mean @ precision @ mean)
        shape, rate = _NOISE
        shape_n, rate_n = shape + count / 2, rate + max(0.0, residual) / 2
        evidence = 0.5 * (np.linalg.slogdet(prior)[1] - np.linalg.slogdet(precision)[1])
        evidence += shape * math.log(rate) - shape_n * math.log(rate_n) + math.lgamma(shape_n) - math.lgamma(shape)
        evidence += float(np.log(np.diag(residuals.whitening)).sum())
        # The law at the end, and what of the distances so far is left then.
        reach, kept = there - residuals.carried @ white, float(residuals.carried @ seen)
        factor = np.linalg.cholesky(covariance)
        return cls(mean, factor, shape_n, rate_n, reach, kept, residuals.variance, float(evidence))

    def draw(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Return draws of the prediction with its noise, limited to possible ones: a falling law, a value above 0."""
        tries = 8 * count
        variance = self.rate / random.gamma(self.shape, size=tries)
        normal = random.standard_normal((tries, len(self.mean)))
        coefficients = self.mean + np.sqrt(variance)[:, None] * (normal @ self.factor.T)
        values = self.kept + coefficients @ self.there
        values += np.sqrt(self.variance * variance) * random.standard_normal(tries)
        fine = np.flatnonzero((coefficients >= 0).all(axis=1) & (values > 0))
        chosen: np.ndarray = values[random.choice(fine, count) if len(fine) else np.arange(count)]
        return chosen


# The closed form needs the prior of the coefficients in units of the noise's variance; this estimate of the noise gives
# the prior its width in the units of y.
_NOISE_UNITS = 4e-4
# Prior of the noise's variance, by shape and rate: worth three evaluations with a few hundredths of the first distance.
_NOISE = 1.5, 1.5e-3
