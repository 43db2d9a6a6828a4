"""The layers of the package: a module imports only what stands on a lower floor, lazily or not, and types too."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "momentum_cli"
LAYERS = [  # from the top; names in one row do not know each other
    {"__main__"},
    {"cli"},
    {"inference"},
    {"benchmark", "export", "inspection"},
    {"training"},
    {"recipe"},
    {"cells", "models"},
    {"layers", "optim"},
    {"kernels", "pictures", "ui"},
    {"data", "options", "recurrence", "runs", "wording"},
    {"dynamics", "errors", "machine", "messages", "metrics", "progress"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(source: str) -> Iterator[str]:
    """Every module of the package that a source imports, anywhere in it: at the top, in a function, for types."""
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
    return module.split(".")[1]


def wrong_imports(own: str, source: str) -> list[str]:
    """Imports of a room, such as ``training``, that do not lead to a lower floor."""
    found = (module for module in imports(source) if "." in module)
    return [module for module in found if room_of(module) != own and RANK[room_of(module)] <= RANK[own]]


def test_every_module_has_a_layer() -> None:
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} == set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_lower_layers(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert wrong_imports(own, path.read_text(encoding="utf-8")) == []


def test_no_file_imports_in_a_circle() -> None:
    graph = {module: set(imports(path.read_text(encoding="utf-8"))) - {module} for module, path in MODULES.items()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(MODULES)


@pytest.mark.parametrize(
    "source",
    [
        "from momentum_cli.training.trainer import Trainer",
        "def step():\n    from momentum_cli.cli import main",
        "if TYPE_CHECKING:\n    from momentum_cli.recipe.recipe import Recipe",
        "import momentum_cli.benchmark.bench",
        "from momentum_cli import export",
        "from momentum_cli.pictures.style import PALETTE",  # the same floor
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    assert wrong_imports("kernels", source) != []
    assert wrong_imports("kernels", "from momentum_cli.recurrence import RECURRENCES\nimport torch") == []


def test_no_file_is_long() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > 400} == {}
