"""The recordings of a folder, and the facts in their names: label, speaker, index, split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from momentum_cli.data.problems import Problems
from momentum_cli.data.speech.recordings import ENDINGS
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse

FIELDS = ("label", "speaker", "index", "split")


@dataclass(frozen=True)
class Recording:
    """A recording of a corpus.

    Args:
        path: The file.
        name: Its name in messages: its path relative to the folder.
        label, speaker, index, split: Parts of the name, or None.
        utterance: The utterance that the header of the file must name, if a corpus fixes it.
    """

    path: Path
    name: str
    label: str | None = None
    speaker: str | None = None
    index: int | None = None
    split: str | None = None
    utterance: str | None = None


def pattern_fields(pattern: str) -> tuple[str, ...]:
    """Return the fields of a pattern.

    A pattern is a path relative to the folder, without ending: ``{name}`` matches a part without ``/``, ``*`` matches
    anything.

    Raises:
        ValueError: A field is unknown or appears twice, or braces do not match.
    """
    found = re.findall(r"\{([^{}]*)\}", pattern)
    rest = re.sub(r"\{[^{}]*\}", "", pattern)
    if not pattern or "{" in rest or "}" in rest:
        raise ValueError(refuse("pattern", pattern, "be a path such as '{label}/*' or '{label}_{speaker}'"))
    for name in found:
        if name not in FIELDS:
            allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise ValueError(refuse("pattern", Said(f"{{{name}}}"), f"have fields out of {allowed}"))
        if found.count(name) > 1:
            raise ValueError(refuse("pattern", pattern, f"have the field {{{name}}} once"))
    return tuple(found)


def list_folder(folder: Path, pattern: str, problems: Problems) -> list[Recording]:
    """Return the recordings in a folder and all its subfolders, sorted by name.

    Args:
        folder: The folder.
        pattern: Pattern of their names, see `pattern_fields`.
        problems: Receives names that do not match.

    Raises:
        DataError: There are none.
    """
    parts = (
        f"(?P<{part[1:-1]}>[^/]+?)" if part.startswith("{") else ".*" if part == "*" else re.escape(part)
        for part in re.split(r"(\{\w+\}|\*)", pattern)
    )
    fits = re.compile("".join(parts), re.DOTALL)
    found = []
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    if not files:
        raise DataError(f"{folder}: the folder has no {', '.join(ENDINGS)} files")
    for file in files:
        name = file.relative_to(folder).as_posix()
        match = fits.fullmatch(file.relative_to(folder).with_suffix("").as_posix())
        fields = {} if match is None else match.groupdict()
        index = fields.get("index")
        if match is None or (index is not None and not index.isdecimal()):
            problems.add("name", f"{name}: the name does not fit the pattern {pattern}", sequence=name)
            continue
        found.append(
            Recording(
                file,
                name,
                fields.get("label"),
                fields.get("speaker"),
                None if index is None else int(index),
                fields.get("split"),
            )
        )
    return found
