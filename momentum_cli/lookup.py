"""Names that do not exist: one wording for every family of names, with the nearest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# More names than this are a wall of text at the end of a message.
_READABLE = 12


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is most like `name`, or None when none is like it; case does not count."""
    folded = {candidate.casefold(): candidate for candidate in allowed}
    found = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown(kind: str, name: str, allowed: Iterable[str], owner: str = "", *, listed_by: str = "") -> str:
    """Return the message for a name that does not exist: what was got, the nearest name and all allowed ones.

    Args:
        kind: What the name stands for, such as "cell" or "key".
        name: What was got.
        allowed: The names that exist, in the order to show them.
        owner: What the names belong to, such as "optimizer adam"; "" for nothing.
        listed_by: A command that shows them, named in place of all names where there are too many to read.
    """
    names = list(allowed)
    of = f" of {owner}" if owner else ""
    return f"unknown {kind} {name!r}{of}{did_you_mean(name, names)} ({allowed_names(names, listed_by)})"


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean …?" with the nearest allowed name, or "" when none is like it."""
    close = nearest(name, allowed)
    return f"; did you mean {close!r}?" if close else ""


def allowed_names(names: Sequence[str], listed_by: str = "") -> str:
    """Return all names, or how many there are and the command that shows them when they are too many to read."""
    if listed_by and len(names) > _READABLE:
        return f"{listed_by} shows all {len(names)}"
    return f"allowed: {', '.join(names) or 'none'}"
