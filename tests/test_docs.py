"""The pages of the documentation: their programs run, their commands parse, and the site covers what is public."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

import momentum_cli
from momentum_cli.benchmark.running import runner
from momentum_cli.cli import app
from momentum_cli.data import TASKS
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.optim import OPTIMIZERS

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
PAGES = sorted((ROOT / "docs").glob("*.md"))
# Those whose programs only show a part of something that another test runs.
FRAGMENTS = {"tutorial.md", "first-hour.md", "driving.md", "plugins.md"}
PROGRAMS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    if page.name not in FRAGMENTS
    for number, text in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M))
]
COMMANDS = [
    pytest.param(line, id=f"{page.stem}-{number}")
    for page in [*PAGES, ROOT / "README.md"]
    for text in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M)
    for number, line in enumerate(text.replace("\\\n", " ").splitlines())
    if line.startswith("momentumrnn ")
]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the scripts of docs/site importable, as they are for each other."""
    monkeypatch.syspath_prepend(str(SITE))
    for name in ("api", "build", "checks", "commands", "recipe"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("text", PROGRAMS)
def test_every_program_of_a_page_runs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # one of them writes a file
    # A process per cell, which takes longer than the benchmark.
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    names: dict[str, Any] = {}
    exec(compile(text, "page", "exec"), names)
    assert names.keys() - {"__builtins__"}, "the program does nothing that can be seen"


@pytest.fixture(scope="module")
def program() -> Any:
    """The whole command line, which takes longer to build than to look into."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_a_page_exists_with_its_options(line: str, program: Any) -> None:
    command = program
    words = shlex.split(line, comments=True)[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    options = {name for parameter in (*command.params, *program.params) for name in parameter.opts}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in options | {"--help", "-h"}, line


def test_the_navigation_lists_every_page() -> None:
    config = tomllib.loads((SITE / "zensical.toml").read_text(encoding="utf-8"))
    listed = {
        page for part in config["project"]["nav"] for pages in part.values() for each in pages for page in each.values()
    }
    assert {page.name for page in PAGES} <= listed


@pytest.mark.usefixtures("site")
def test_the_reference_of_the_library_has_every_public_name() -> None:
    import api

    pages = api.pages()
    text = "\n".join(pages.values())
    shown = set(re.findall(r"^::: (?:[\w.]+\.)?(\w+)$", text, re.MULTILINE)) | set(
        re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    )
    families = [*DYNAMICS.values(), *TASKS.values(), *OPTIMIZERS.values()]
    own = {cls.__name__ for cls in families if cls.__module__.startswith("momentum_cli")}
    assert (set(momentum_cli.__all__) | own) - shown == set()


@pytest.mark.usefixtures("site")
def test_the_reference_of_commands_has_every_option() -> None:
    import commands

    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", commands.pages()["commands.md"], re.S | re.M))
    walked = dict(commands.walk(typer.main.get_command(app), "momentumrnn"))
    groups = {"": app, **{f" {group.name}": group.typer_instance for group in app.registered_groups}}
    registered = {
        f"momentumrnn{prefix} {command.name or command.callback.__name__}"
        for prefix, group in groups.items()
        for command in group.registered_commands
        if not command.hidden
    }
    assert set(sections) == {*registered, "momentumrnn"}
    for name, command in walked.items():
        for parameter in command.params:
            if not parameter.hidden:
                assert parameter.param_type_name == "argument" or f"`{parameter.opts[0]}`" in sections[name]
                assert " ".join(parameter.help.split())[:20].replace("|", "\\|") in sections[name]


@pytest.mark.usefixtures("site")
def test_the_reference_of_recipes_has_every_key_and_its_default() -> None:
    import recipe
    from typer.testing import CliRunner

    pages = recipe.pages()
    schema = json.loads(CliRunner().invoke(app, ["recipes", "schema"]).stdout)
    for model in schema["$defs"].values():
        for key, value in model["properties"].items():
            rows = [line for line in pages["recipe-keys.md"].splitlines() if line.startswith(f"| `{key}` |")]
            bound = f"≥ {value['minimum']}" if "minimum" in value else ""
            assert any(bound in row for row in rows), key
    assert "| `batch_size` | `128` | whole number ≥ 1 |" in pages["recipe-keys.md"]
    assert "### task.name: pmnist" in pages["recipe-keys.md"]
    assert "## momentum-gru\n" in pages["cells.md"]
    assert "## paper/timit-158\n" in pages["shipped-recipes.md"]


@pytest.mark.usefixtures("site")
def test_links_out_of_the_documentation_lead_to_pages_of_the_site(tmp_path: Path) -> None:
    import build

    pages = {page.relative_to(tmp_path / "pages") for page in build.write_pages(tmp_path / "pages")}
    assert Path("examples/cpp/classify.md") in pages
    plugins = (tmp_path / "pages" / "plugins.md").read_text(encoding="utf-8")
    assert "(examples/minimal_gated_unit.md)" in plugins
    assert "(architecture.md)" in (tmp_path / "pages" / "contributing.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("site")
def test_a_link_of_the_site_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    import checks

    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="sub/page.html#part">x</a><img src="no.png"><a href="https://a.b">y</a>'
    )
    (tmp_path / "sub" / "page.html").write_text('<h2 id="part"><a href="../index.html#gone">x</a><a href="#part">y</a>')
    assert checks.problems(tmp_path) == [
        "index.html: no.png leads nowhere",
        "sub/page.html: ../index.html#gone leads nowhere",
    ]
