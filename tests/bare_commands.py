"""Commands in one process that has the packages of a plain installation, without any extra; run as a script.

Reads a JSON list of commands, a list of arguments each, from standard input, and answers with a JSON list of exit codes
and outputs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def requirements(texts: Sequence[str], extra: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, extra) of the distributions that some requirements name here."""
    from packaging.requirements import Requirement

    for text in texts:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield from ((requirement.name, wanted) for wanted in ("", *requirement.extras))


def plain_installation(folder: Path) -> Path:
    """Link the packages that momentumrnn needs without extras, and what these need, into a folder of their own."""
    import tomllib

    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting, known = list(requirements(project["dependencies"])), set()
    while waiting:
        if (next_one := waiting.pop()) in known:
            continue
        known.add(next_one)
        distribution = metadata.distribution(next_one[0])
        waiting += requirements(distribution.requires or [], next_one[1])
        for name in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / name
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(name))).resolve())
    # What `doctor` reads the extras from; without the source, which is that of this repository.
    for file in metadata.distribution("momentumrnn").files or []:
        if file.parts[0].endswith(".dist-info") and not (link := folder / file.parts[0]).exists():
            link.symlink_to(Path(str(metadata.distribution("momentumrnn").locate_file(file.parts[0]))).resolve())
    return folder


def main() -> None:
    """Run the commands."""
    from typer.testing import CliRunner

    from momentum_cli import cli

    answers = []
    for arguments in json.load(sys.stdin):
        done = CliRunner().invoke(cli.app, arguments)
        unexpected = done.exception is not None and not isinstance(done.exception, SystemExit)
        answers.append([done.exit_code, done.output + (repr(done.exception) if unexpected else "")])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
