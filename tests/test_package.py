"""The package as it is installed: what the metadata, the README and the checks of a fresh clone promise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed(project: dict[str, dict[str, dict[str, list[str]]]]) -> None:
    """A package that is not listed works here and is missing after an installation."""
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("momentum_cli/**/__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_an_editable_installation_is_a_path(project: dict[str, dict[str, dict[str, object]]]) -> None:
    """With any other mapping setuptools makes it an import hook, in which type checkers find no package."""
    assert project["tool"]["setuptools"]["package-dir"] == {"": "."}


def test_the_recipes_are_in_the_wheel_and_in_the_source_distribution(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        "-e",
        str(tmp_path),
        "build_py",
        "-d",
        str(tmp_path / "lib"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = {path.relative_to(ROOT / "recipes") for path in (ROOT / "recipes").rglob("*.yaml")}
    installed = tmp_path / "lib" / "momentum_cli" / "recipes"
    assert {path.relative_to(installed) for path in installed.rglob("*.yaml")} == names
    sources = (tmp_path / "momentumrnn.egg-info" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
    assert {f"recipes/{name.as_posix()}" for name in names} <= set(sources)


def test_the_checks_of_a_fresh_clone_run_the_command_of_the_readme() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    test_command = next(block.strip() for block in blocks if ".venv/bin/pytest" in block)
    assert test_command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for name in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_importing_the_package_or_its_command_line_does_not_import_torch() -> None:
    heavy = "('torch', 'numpy', 'pydantic')"
    code = f"import sys, momentum_cli, momentum_cli.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_same_everywhere(project: dict[str, dict[str, str]]) -> None:
    import momentum_cli

    assert project["project"]["version"] == momentum_cli.__version__
    assert f"## {momentum_cli.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"version: {momentum_cli.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
