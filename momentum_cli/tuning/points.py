"""Points of a search space that depend only on their number, not on earlier trials."""

from __future__ import annotations

from collections.abc import Sequence

from momentum_cli.tuning.space import Space, Values


def sobol(count: int, names: Sequence[str], seed: int = 0) -> list[dict[str, float]]:
    """Return the first points of a scrambled Sobol sequence in the unit cube: name of a coordinate -> place in [0, 1).

    Reference: Owen, Randomly permuted (t, m, s)-nets and (t, s)-sequences, 1995 (torch.quasirandom.SobolEngine).
    """
    import torch

    engine = torch.quasirandom.SobolEngine(len(names), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    rows = engine.draw(count, dtype=torch.float64).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]


def quasi_random(space: Space, count: int, seed: int) -> list[Values]:
    """Return the first `count` points of a quasi-random sequence in a search space.

    All coordinates are drawn for every point, and a point uses those that have an effect; so points with one cell cover
    its options evenly whatever the others do.
    """
    return [space.draw(lambda key, axis, at=at: axis.at(at[key])) for at in sobol(count, space.keys, seed)]  # type: ignore[misc]
