"""The floors of the package and what its files import; `python tests/floors.py PICTURE` draws them."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "momentum_cli"
FLOORS = [  # from the top; rooms in one row do not know each other
    ["__main__"],
    ["cli"],
    ["api"],
    ["inference"],
    ["benchmark", "formats", "inspection"],
    ["tuning"],
    ["cluster"],
    ["training"],
    ["recipe"],
    ["attacks", "cells", "models"],
    ["layers", "optim"],
    ["kernels", "loggers", "pages", "pictures", "ui"],
    ["data", "options", "recurrence", "runs", "wording"],
    ["dynamics", "machine", "metrics", "progress", "reading"],
    ["allocator", "errors", "messages", "ranking", "tables", "temporary", "text_scores"],
]
RANK = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@functools.cache
def imports(source: str) -> tuple[str, ...]:
    """Return every module of the package that a source imports: at the top, in a function, or for types only."""
    return tuple(_imports(source))


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "momentum_cli":
            assert node.level == 0
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # `from momentum_cli import __version__` names no module of the package.
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("momentum_cli."))


def room_of(module: str) -> str:
    """Return the folder or file at the top of the package that a module is in."""
    return module.split(".")[1]


def uses() -> dict[tuple[str, str], int]:
    """Return the number of files of a room that import another room, for each pair with any."""
    counts: dict[tuple[str, str], int] = {}
    for module, path in MODULES.items():
        found = {room_of(name) for name in imports(path.read_text(encoding="utf-8")) if "." in name}
        for room in found - {room_of(module)}:
            pair = room_of(module), room
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def draw(path: Path) -> None:
    """Draw who imports whom: a row and a column per room, floors as bands; right of the diagonal is down."""
    from matplotlib.patches import Rectangle

    from momentum_cli.pictures.style import GREY, PALETTE, TEXT, drawing

    order = [room for rooms in FLOORS for room in rooms]
    place = {room: number for number, room in enumerate(order)}
    names = [f"{room}/" if (ROOT / room).is_dir() else f"{room}.py" for room in order]
    with drawing(path, 9.0, 8.4) as figure:
        axes = figure.add_subplot()
        start = 0
        for floor, rooms in enumerate(FLOORS):
            corner, size = start - 0.5, len(rooms)
            color = "#eef3f8" if floor % 2 else "#f8f8f8"
            axes.add_patch(Rectangle((-0.5, corner), len(order), size, facecolor=color, zorder=0))
            axes.add_patch(Rectangle((corner, corner), size, size, facecolor="#d9dee4", zorder=1))
            axes.text(len(order) - 0.1, corner + size / 2, str(len(FLOORS) - floor), va="center", color=GREY)
            start += size
        for (room, used), count in uses().items():
            x, y = place[used], place[room]
            axes.add_patch(Rectangle((x - 0.42, y - 0.42), 0.84, 0.84, facecolor=PALETTE[0], zorder=2))
            axes.text(x, y + 0.03, str(count), ha="center", va="center", color="white", fontsize=7, zorder=3)
        axes.set_xticks(range(len(order)), names, rotation=90, fontsize=9)
        axes.set_yticks(range(len(order)), names, fontsize=9)
        axes.xaxis.tick_top()
        axes.set_xlim(-0.5, len(order) - 0.5)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.tick_params(length=0, colors=TEXT)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.supxlabel(
            "files of the row's room that import the column's; floors at the right", fontsize=9, color=GREY
        )


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
