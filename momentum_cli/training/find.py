"""Finding the run for `--resume`: a folder, or the newest run of a recipe."""

from __future__ import annotations

import re
from pathlib import Path

from momentum_cli.cells.catalogue import all_cells
from momentum_cli.errors import DataError
from momentum_cli.messages import did_you_mean
from momentum_cli.reading import expanded
from momentum_cli.recipe.document import ENDINGS

_WHAT = "a run is a folder made by momentumrnn train that contains recipe.yaml"
_SHOWN = 5


def find_run(run: str | None, base: Path = Path("runs")) -> Path:
    """Return the folder of a run.

    Args:
        run: A run folder or a file in it; a recipe's name for its newest run in `base`; None for the newest of all.
        base: The folder with the numbered run folders.

    Raises:
        DataError: No such run exists; the message explains what counts as one and suggests the nearest or a few.
    """
    if run is not None and (path := expanded(run)).exists():
        # A checkpoint is one folder deeper.
        for folder in (path, *list(path.parents)[:2]):
            if (folder / "recipe.yaml").is_file():
                return folder
        if path.suffix not in ENDINGS:
            raise DataError(f"{run}: not a run; {_WHAT}; {_there(path if _runs_in(path) else base)}")
    found = _runs_in(base)
    if run is None:
        candidates = list(found.values())
    else:
        name = Path(run).stem if run.endswith(ENDINGS) else Path(run).name
        numbered = re.compile(f"{re.escape(name)}-({'|'.join(map(re.escape, all_cells()))})-[0-9]+")
        candidates = [folder for name, folder in found.items() if numbered.fullmatch(name)]
    if candidates:
        return max(candidates, key=lambda folder: (folder.stat().st_mtime, folder.name))
    if run is None:
        raise DataError(f"no run in {base}; {_WHAT}")
    hint = did_you_mean(str(base / Path(run).name), [str(folder) for folder in found.values()])
    raise DataError(f"{run}: no such run{hint or f'; {_WHAT}; {_there(base)}'}")


def _runs_in(folder: Path) -> dict[str, Path]:
    return {entry.name: entry for entry in sorted(folder.glob("*")) if (entry / "recipe.yaml").is_file()}


def _there(folder: Path) -> str:
    """Return a phrase that names the runs in a folder, the newest first."""
    runs = sorted(_runs_in(folder).values(), key=lambda run: run.stat().st_mtime, reverse=True)
    if not runs:
        return f"there are none in {folder}"
    return f"there are {', '.join(map(str, runs[:_SHOWN]))}{', …' if len(runs) > _SHOWN else ''}"
