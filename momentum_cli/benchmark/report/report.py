"""`momentumrnn report`: benchmarks, trainings and searches as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.report.page import page
from momentum_cli.benchmark.report.search import is_search, search_folder, search_page
from momentum_cli.benchmark.report.sources import differences, read_sources, require_one_machine
from momentum_cli.benchmark.report.training import finished_folder, is_training, read_training, training_page
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.pages.document import MARK
from momentum_cli.runs.files import write_text
from momentum_cli.runs.output import check_output_file

__all__ = ["report", "write_report"]


def report(paths: Sequence[Path], *, out: Path | None = None, force: bool = False) -> dict[str, Any]:
    """Write the report of benchmarks and trainings; a single training, or a search, has a page of its own kind.

    Args:
        paths: their folders.
        out: the file; None: ``report.html`` in the folder if only one is given, else in the current folder.
        force: put results of different machines into one report, which then says so.

    Returns:
        ``report`` (the file), ``sources``, ``warnings``.

    Raises:
        RecipeError: The results are of different machines, or `out` is not a report or cannot be written.
        DataError: A folder is unfinished or damaged.
    """
    if not paths:
        raise RecipeError("name one or more folders of benchmarks or runs")
    warnings: list[str] = []
    if len(paths) == 1 and is_training(paths[0]):
        folder = finished_folder(paths[0])
        with _as_written(f"{folder / 'result.json'}", "train again"):
            training = read_training(folder)
            names, content = [str(training.folder)], training_page(training)
    elif len(paths) == 1 and is_search(paths[0]):
        folder = search_folder(paths[0])
        with _as_written(f"{folder / 'tune.json'}", "the same search writes it again"):
            names, content = [str(folder)], search_page(folder)
    else:
        with _as_written(" or ".join(f"a file of {path}" for path in paths), "make the results again"):
            sources = read_sources(paths)
            if not force:
                require_one_machine(sources)
            warnings = [f"Results of different machines: {text}" for text in differences(sources)]
            names, content = [source.name for source in sources], page(sources, warnings)
    if out is None:
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        out = (folder if len(paths) == 1 else Path()) / "report.html"
    check_output_file(out, endings=(".html", ".htm"))
    try:
        if out.exists() and MARK not in out.read_text(encoding="utf-8", errors="replace")[:200]:
            raise RecipeError(f"--out {out} is not a report of momentumrnn and was not changed; name another file")
        write_text(out, content)
    except OSError as error:
        reason = error.strerror or error
        raise RecipeError(f"--out {out}: cannot be written: {reason}; name a file elsewhere") from error
    return {"report": str(out), "sources": names, "warnings": warnings}


@contextmanager
def _as_written(where: str, remedy: str) -> Iterator[None]:
    """Refuse files whose content is not what this version writes, as far as their readers have not found out before.

    Args:
        where: The files.
        remedy: What to do.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where} is damaged or of another version: {found}; {remedy}") from error


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a finished benchmark."""
    return Path(report([folder], out=folder / "report.html")["report"])
