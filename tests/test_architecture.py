"""The layers of the package: a module imports only from lower floors, lazily or not, and for types too."""

from __future__ import annotations

import graphlib

import pytest
from floors import FILES, MODULES, RANK, ROOT, imports, room_of


def wrong_imports(own: str, source: str) -> list[str]:
    """Imports of a room, such as ``training``, that do not lead to a lower floor."""
    found = (module for module in imports(source) if "." in module)
    return [module for module in found if room_of(module) != own and RANK[room_of(module)] <= RANK[own]]


def test_every_module_has_a_layer() -> None:
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} == set(RANK)


def test_a_module_imports_only_lower_layers() -> None:
    found = {}
    for path in FILES:
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if wrong := wrong_imports(own, path.read_text(encoding="utf-8")):
            found[str(path.relative_to(ROOT))] = wrong
    assert found == {}


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
        "from momentum_cli import formats",
        "from momentum_cli.pictures.style import PALETTE",  # the same floor
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    assert wrong_imports("kernels", source) != []
    assert wrong_imports("kernels", "from momentum_cli.recurrence import RECURRENCES\nimport torch") == []


def test_no_file_is_long() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > 400} == {}
