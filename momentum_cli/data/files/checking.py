"""What a whole file says of itself: the mistakes that only all of it shows, and the range of each feature."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from momentum_cli.data.files.tables import rows_of_block
from momentum_cli.data.problems import Problems

if TYPE_CHECKING:
    from momentum_cli.data.files.gathering import Gathered
    from momentum_cli.data.files.splitting import Part


def find_identical(gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
    """Find sequences that are in two splits, number for number: such a test is no test."""
    seen: dict[bytes, tuple[str, int]] = {}
    for split, part in parts.items():
        for place in part.sequences.tolist():
            start, length = int(gathered.starts[place]), int(gathered.lengths[place])
            content = np.ascontiguousarray(gathered.features.read(start, start + length))
            key = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
            before = seen.setdefault(key, (split, place))
            if before[0] != split:
                one, other = str(gathered.names[before[1]]), str(gathered.names[place])
                text = f"sequences {one!r} ({before[0]}) and {other!r} ({split}) are identical"
                rows = [int(gathered.rows[before[1]]), int(gathered.rows[place])]
                problems.add("identical", text, rows, sequence=other)


def find_untrained(gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
    """Find classes that no training sequence has."""
    if gathered.targets is None:
        return
    trained = set(gathered.targets[parts["train"].sequences].tolist())
    for code in sorted(set(gathered.targets.tolist()) - trained):
        rows = gathered.rows[np.flatnonzero(gathered.targets == code)]
        problems.add("untrained_class", f"class {gathered.labels[code]!r} has no training sequence", rows)


def ranges(gathered: Gathered) -> list[dict[str, Any]]:
    """Return the range of each feature in original units; of a wide table and of text of all steps together."""
    columns, steps = gathered.features.columns, len(gathered.features)
    low, high, total, count = (np.full(columns, value) for value in (np.inf, -np.inf, 0.0, 0.0))
    size = rows_of_block(columns)
    for start in range(0, steps, size):
        block = gathered.features.read(start, min(start + size, steps)).astype(np.float64)
        present = ~np.isnan(block)
        low = np.minimum(low, np.where(present, block, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(present, block, -np.inf).max(0, initial=-np.inf))
        total += np.where(present, block, 0.0).sum(0)
        count += present.sum(0)
    names = gathered.feature_names if len(gathered.feature_names) == columns else ("all steps",)
    return [
        {
            "name": name,
            "minimum": float(low[place]) if count[place] else None,
            "maximum": float(high[place]) if count[place] else None,
            "mean": float(total[place] / count[place]) if count[place] else None,
            "missing": int(gathered.missing[place]),
        }
        for place, name in enumerate(names)
    ]
