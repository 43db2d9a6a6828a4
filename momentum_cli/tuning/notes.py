"""What the trials of a study say about themselves, checked where it is read: anyone may have written a journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.messages import refuse

_NUMBER = (int, float)
_PERHAPS = (int, float, type(None))
# Attributes that a trial may have, and the facts about one that is over; see `momentum_cli.tuning.trial.facts_of`.
_NOTES: dict[str, type] = {
    "place": int,
    "attempt": int,
    "continues": int,
    "values": dict,
    "worker": dict,
    "from": dict,
    "facts": dict,
}
_WORKER: dict[str, Any] = {"host": str, "folder": str}
_FACTS: dict[str, Any] = {
    "status": str,
    "folder": str,
    "error": (str, type(None)),
    "best": _PERHAPS,
    "value": _PERHAPS,
    "test": _PERHAPS,
    "parameters": _PERHAPS,
    "steps": int,
    "epochs": int,
    "train_seconds": _NUMBER,
    "wall_seconds": _NUMBER,
    "elapsed": _NUMBER,
    "to_target": (dict, type(None)),
    "curve": list,
}
_WORDS = {int: "an integer", str: "text", list: "a list", dict: "an object", (str, type(None)): "text"}
_STATES = ("done", "pruned", "failed")


def check_notes(notes: Mapping[str, Any]) -> None:
    """Refuse attributes of a trial that this program has not written so.

    Args:
        notes: Its attributes; those of other names are not looked at.

    Raises:
        ValueError: One is missing or is something else.
    """
    _check(notes, {name: kind for name, kind in _NOTES.items() if name in notes})
    for name in ("worker", "from"):
        _check(notes.get(name, {}), _WORKER if name in notes else {})
    if "facts" not in notes:
        return
    facts = notes["facts"]
    _check(notes, {"values": dict})
    _check(facts, _FACTS | ({"host": (str, type(None))} if "host" in facts else {}))
    if facts["status"] not in _STATES:
        raise ValueError(refuse("status", facts["status"], f"be one of {', '.join(_STATES)}"))
    if facts["to_target"] is not None:
        _check(facts["to_target"], {"steps": int, "train_seconds": _NUMBER})
    for point in facts["curve"]:
        if not isinstance(point, list) or len(point) != 2 or not all(isinstance(each, _NUMBER) for each in point):
            raise ValueError(refuse("curve", point, "be pairs of a step and a value"))


def _check(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if name not in content or not isinstance(content[name], kind):
            raise ValueError(refuse(name, content.get(name), f"be {_WORDS.get(kind, 'a number')}"))
