"""Which run `--resume` means: a folder, or the newest run of a recipe."""

from __future__ import annotations

import re
from pathlib import Path

from momentum_cli.cells import CELLS
from momentum_cli.errors import RecipeError
from momentum_cli.lookup import nearest

_YAML = (".yaml", ".yml")


def find_run(run: str | None, base: Path = Path("runs")) -> Path:
    """Return the folder of a run.

    Args:
        run: A run folder or a file in it; a recipe's name for its newest run below `base`; None for the newest of all.
        base: Where numbered run folders are made.

    Raises:
        RecipeError: There is no such run; the message names the nearest one.
    """
    if run is not None and (path := Path(run).expanduser()).exists():
        # A checkpoint lies one folder below.
        for folder in (path, *list(path.parents)[:2]):
            if (folder / "recipe.yaml").is_file():
                return folder
        if path.suffix not in _YAML:
            raise RecipeError(f"{run}: not a run folder, there is no recipe.yaml in it")
    found = {entry.name: entry for entry in base.glob("*") if (entry / "recipe.yaml").is_file()}
    if run is None:
        candidates = list(found.values())
    else:
        name = Path(run).stem if run.endswith(_YAML) else Path(run).name
        numbered = re.compile(f"{re.escape(name)}-({'|'.join(map(re.escape, CELLS))})-[0-9]+")
        candidates = [folder for name, folder in found.items() if numbered.fullmatch(name)]
    if candidates:
        return max(candidates, key=lambda folder: (folder.stat().st_mtime, folder.name))
    close = nearest(Path(run).name, found) if run else None
    hint = f"; did you mean {base / close}?" if close else ""
    raise RecipeError(f"{run or base}: there is no run to resume{hint}")
