"""Names that do not exist: one wording for every family of names, with the nearest one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is most like `name`, or None when none is like it; case does not count."""
    folded = {candidate.casefold(): candidate for candidate in allowed}
    found = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown(kind: str, name: str, allowed: Iterable[str], owner: str = "") -> str:
    """Return the message for a name that does not exist: what was got, the nearest name and all allowed ones.

    Args:
        kind: What the name stands for, such as "cell" or "key".
        name: What was got.
        allowed: The names that exist, in the order to show them.
        owner: What the names belong to, such as "optimizer adam"; "" for nothing.
    """
    names = list(allowed)
    close = nearest(name, names)
    hint = f"; did you mean {close!r}?" if close else ""
    of = f" of {owner}" if owner else ""
    return f"unknown {kind} {name!r}{of}{hint} (allowed: {', '.join(names) or 'none'})"
