"""Plugins: a recurrence or dynamics of the user is a cell like any other, and its mistakes have a file and a line."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from plugin_state import unregistered
from untrained import write_checkpoint

from momentum_cli import CustomRNN, HeavyBall
from momentum_cli.cells import plugins
from momentum_cli.cells.catalogue import LAYERS, all_cells
from momentum_cli.cells.find import parse_cell
from momentum_cli.cells.names import Cell
from momentum_cli.cells.plugins import load_plugin, loaded_files
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.cells import describe_cells
from momentum_cli.recipe.building import build_layer, build_model
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recipe.schema import recipe_schema
from momentum_cli.recurrence import RECURRENCES
from momentum_cli.training.trained import load_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal_gated_unit.py"

SIGNS = (Path(__file__).parents[1] / "sign_momentum.py").read_text(encoding="utf-8")
LAZY = (Path(__file__).parents[1] / "lazy_average.py").read_text(encoding="utf-8")
DOCS = Path(__file__).parents[2] / "docs" / "plugins.md"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with unregistered():
        yield


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# A recurrence.


def test_a_recurrence_gets_a_cell_for_each_dynamics() -> None:
    before = all_cells()
    plugin = load_plugin(EXAMPLE)
    assert (plugin.name, plugin.names) == ("minimal_gated_unit.py", ("mgu",))
    added = {name: cell for name, cell in all_cells().items() if name not in before}
    expected = {f"{name}-mgu".removeprefix("identity-"): Cell(name, "mgu") for name in DYNAMICS}
    assert added == expected
    assert "mgu" not in RECURRENCES
    listed = {entry["name"]: entry for entry in describe_cells()}
    assert "h' = (1-f)h + fn" in listed["adam-mgu"]["equation"]
    assert listed["adam-mgu"]["options"].keys() == {"momentum", "beta2", "step_size", "eps"}
    assert "momentum-mgu" in recipe_schema()["properties"]["cells"]["properties"]
    assert load_plugin(EXAMPLE) is plugin  # a second time changes nothing


def test_a_recurrence_with_a_forget_gate_takes_its_bias(tmp_path: Path) -> None:
    text = (
        "from momentum_cli import Recurrence\nfrom momentum_cli.recurrence import RECURRENCES as OURS\n"
        'RECURRENCES = {"mine": Recurrence("mine", 4, ("h", "c"), OURS["lstm"].step, "", forget_gate=1)}\n'
    )
    load_plugin(write(tmp_path, text))
    recipe = load_recipe("digits", ["model.cell=adam-mine", "model.forget_bias=3", "model.hidden_size=2"])
    model = build_model(recipe, 1, 3, "last")
    assert model.layer.bias_hh_l0.tolist()[2:4] == [3.0, 3.0]
    load_plugin(EXAMPLE)
    with pytest.raises(RecipeError, match="mgu has no forget gate"):
        load_recipe("digits", ["model.cell=mgu", "model.forget_bias=3"])


def test_the_example_is_the_unit_of_the_paper() -> None:
    load_plugin(EXAMPLE)
    torch.manual_seed(0)
    layer: Any = CustomRNN(LAYERS["mgu"].recurrence, 3, 4, dynamics=HeavyBall(0.6, 0.7), dtype=torch.float64)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    h, v = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 8, dtype=torch.float64)
    expected = []
    for x_t in x:
        v = 0.6 * v + 0.7 * (x_t @ layer.weight_ih_l0.T + layer.bias_ih_l0)
        w, b = layer.weight_hh_l0, layer.bias_hh_l0
        f = torch.sigmoid(v[:, :4] + h @ w[:4].T + b[:4])
        candidate = torch.tanh(v[:, 4:] + (f * h) @ w[4:].T + b[4:])
        h = (1 - f) * h + f * candidate
        expected.append(h)
    torch.testing.assert_close(layer(x)[0], torch.stack(expected))
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 36


def test_recipes_name_the_plugin_and_never_run_it() -> None:
    load_plugin(EXAMPLE)
    recipe = load_recipe("digits", ["model.cell=momentum-mgu", "cells.mgu=null"])
    assert recipe.plugins == ["minimal_gated_unit.py"]
    assert build_layer(recipe, 8).recurrence.name == "mgu"
    content = recipe.dump()
    assert content["plugins"] == ["minimal_gated_unit.py"]
    assert "plugins" not in load_recipe("digits").dump()
    assert loaded_files() == (str(EXAMPLE.resolve()),)


def test_without_the_plugin_a_recipe_says_which(tmp_path: Path) -> None:
    with unregistered():
        load_plugin(EXAMPLE)
        load_recipe("digits", ["model.cell=momentum-mgu"]).save(tmp_path / "own.yaml")
        run = write_checkpoint(tmp_path / "mgu.safetensors", "model.cell=momentum-mgu")
    with pytest.raises(
        RecipeError, match=r"needs the plugin minimal_gated_unit.py, .* --plugin PATH/minimal"
    ) as caught:
        load_recipe(tmp_path / "own.yaml")
    assert "unknown cell" not in str(caught.value)
    with pytest.raises(DataError, match=r"needs the plugin minimal_gated_unit.py.*never run plugins by themselves"):
        load_model(run)
    assert not plugins.LOADED
    with pytest.raises(RecipeError, match=r"unknown cell 'momentum-mgu'.*your own cells need --plugin FILE.py"):
        load_recipe("digits", ["model.cell=momentum-mgu"])
    load_plugin(EXAMPLE)
    assert load_model(run).recipe.model.cell == "momentum-mgu"


# Dynamics.


def test_a_dynamics_gets_a_cell_for_each_recurrence(tmp_path: Path) -> None:
    load_plugin(write(tmp_path, LAZY))
    assert parse_cell("lazy") == parse_cell("lazy-lstm") == Cell("lazy", "lstm")
    assert all_cells()["lazy-gru"] == Cell("lazy", "gru")
    assert DYNAMICS["lazy"].equation == "m' = (1 - pace) m + pace u; d = m'"
    (lazy,) = (entry for entry in describe_cells() if entry["name"] == "lazy")
    assert lazy["options"] == {"pace": {"default": 0.5, "range": "(0, 1]"}}
    load_plugin(EXAMPLE)  # and a recurrence that comes later has it too
    assert all_cells()["lazy-mgu"] == Cell("lazy", "mgu")
    with pytest.raises(RecipeError, match=r"pace: must be in \(0, 1\], got 2"):
        load_recipe("digits", ["model.cell=lazy", "cells.lazy.pace=2"])
    with pytest.raises(RecipeError, match="did you mean 'pace'"):
        load_recipe("digits", ["model.cell=lazy", "cells.lazy.paces=0.3"])


@pytest.mark.parametrize("backend", ["reference", "native", "auto"])
def test_a_linear_dynamics_of_the_user_runs_on_every_backend_that_takes_one(tmp_path: Path, backend: str) -> None:
    load_plugin(write(tmp_path, LAZY))
    recipe = load_recipe("digits", ["model.cell=lazy", "model.hidden_size=5", f"model.backend={backend}"])
    torch.manual_seed(0)
    layer: Any = build_layer(recipe, 3)
    x = torch.randn(7, 2, 3)
    # An average with pace 1/2 is a velocity with momentum 1/2 and step size 1/2.
    twin: Any = build_layer(load_recipe("digits", ["model.cell=momentum", "model.hidden_size=5"]), 3)
    twin.dynamics, twin.backend = HeavyBall(0.5, 0.5), "reference"
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x)[0], twin(x)[0])
    state = layer(x[:3])[1]
    torch.testing.assert_close(layer(x[3:], state)[0], twin(x)[0][3:])


# Mistakes: file, line, exit code 2.

STEP = "Lazy.step = lambda self, u, state: ({})\n"
SCAN = "Lazy.scan = lambda self, u, state=None, lengths=None: (u, (u[-1],))\n"
INIT = (
    "SignMomentum.init = lambda self, u: (u.new_zeros(len(u)),)\n"
    "SignMomentum.step = lambda self, u, state: (u + state[0].unsqueeze(1), state)\n"
)
GOOD_STEP = "def step(d, state, weight_hh, bias_hh):\n    return (torch.tanh(d),)\n"
HEAD = "import torch\nfrom momentum_cli import Recurrence\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import torch\nimport nothing_of_that_name\n", 2, "ModuleNotFoundError: No module named"),
        ("def f(:\n", 1, "SyntaxError"),
        ("x = 1\n\ny = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("x = 1\n", None, "defines neither of RECURRENCES and DYNAMICS"),
        ("RECURRENCES = []\nDYNAMICS = 1\n", None, "`RECURRENCES` must be a dict of name and object, got list"),
        (HEAD + 'RECURRENCES = {\n  "lstm": None}\n', 4, "the name 'lstm' is taken"),
        (HEAD + 'RECURRENCES = {"momentum": None}\n', 3, "the name 'momentum' is taken"),
        (HEAD + 'RECURRENCES = {"modrelu": None}\n', 3, "the name 'modrelu' is taken"),
        (HEAD + 'RECURRENCES = {"My-Cell": None}\n', 3, "must be lower-case letters"),
        (HEAD + 'RECURRENCES = {"mine": torch.tanh}\n', 3, "`mine` must be a momentum_cli.Recurrence"),
        (HEAD + GOOD_STEP + 'RECURRENCES = {"mine": Recurrence("m", 1, ("h",), step, "")}\n', 5, "listed as 'mine'"),
        (
            HEAD + GOOD_STEP + 'RECURRENCES = {"mine": Recurrence("mine", 0, ("h",), step, "")}\n',
            5,
            "`gates` must be an integer >= 1, got 0",
        ),
        (
            HEAD + GOOD_STEP + 'RECURRENCES = {"mine": Recurrence("mine", 2, ("h",), step, "")}\n',
            3,
            r"must return h as \(2, 3\) torch.float32, got \(2, 6\)",
        ),
        (
            HEAD + GOOD_STEP + 'RECURRENCES = {"mine": Recurrence("mine", 1, ("h", "z"), step, "")}\n',
            3,
            r"must return a tuple of 2 \(h, z\), got 1 tensors",
        ),
        (
            HEAD + "\ndef step(d, state):\n    return state\n"
            'RECURRENCES = {"mine": Recurrence("mine", 1, ("h",), step, "")}\n',
            4,
            "takes 2 positional arguments but 4 were given",
        ),
        (
            HEAD + "def step(d, state, w, b):\n    return (d + b,)\n"
            'RECURRENCES = {"mine": Recurrence("mine", 1, ("h",), step, "")}\n',
            3,
            "with bias_hh None",
        ),
        ("DYNAMICS = {'mine': 3}\n", 1, "`mine` must be a frozen dataclass"),
        (LAZY.replace("(FormDynamics)", ""), None, "Lazy has no state_names, init, step, scan; derive it from"),
        (
            LAZY.replace("equation: ClassVar[str] =", "formula: ClassVar[str] ="),
            None,
            "Lazy has no equation; derive it from",
        ),
        (LAZY.replace("default=0.5, ", ""), None, "every option needs a default"),
        (LAZY.replace('"(0, 1]"', '"(0.5, 1]"'), None, r"`pace` must be in \(0.5, 1\], got 0.5"),
        (LAZY.replace("Filter(gain=self.pace, decay=1 - self.pace)", "0.5"), None, "`form` must be a Filter, Moments"),
        (LAZY + STEP.format("2 * self.form.step(u, state)[0], state"), None, "scan and step of Lazy disagree"),
        (LAZY + STEP.format("u, (u,)") + SCAN, None, "form and step of Lazy disagree"),
        (
            LAZY.replace("1 - self.pace)", "lambda k: k.float())"),
            None,
            "must be one float64 number for each step number",
        ),
        (LAZY.replace("1 - self.pace)", "lambda k: k / k.sum())"), None, "scan and step of Lazy disagree"),
        (SIGNS.replace("(velocity,)", "velocity"), None, "must return a tuple of 1"),
        (SIGNS + INIT, None, "must have the shape of u"),
    ],
)
def test_mistakes_name_the_file_and_the_line(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = write(tmp_path, text)
    before = (dict(LAYERS), dict(DYNAMICS))
    with pytest.raises(RecipeError, match=message) as caught:
        load_plugin(path)
    assert str(caught.value).startswith(f"{path.resolve()}:{line}: " if line else str(path.resolve()))
    assert caught.value.exit_code == 2
    # nothing of it stays
    assert before == (LAYERS, DYNAMICS)
    assert not plugins.LOADED


def test_files_that_are_no_plugins(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="file not found"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(RecipeError, match=r"its name must end in \.py"):
        load_plugin(write(tmp_path, "", "recipe.yaml"))
    load_plugin(EXAMPLE)
    with pytest.raises(RecipeError, match=r"a plugin called minimal_gated_unit\.py is loaded already"):
        load_plugin(write(tmp_path, LAZY, EXAMPLE.name))
    with pytest.raises(RecipeError, match="the name 'mgu' is taken"):
        load_plugin(write(tmp_path, EXAMPLE.read_text(encoding="utf-8"), "copy.py"))


def test_a_list_of_plugins_in_a_recipe_is_checked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"needs the plugin other\.py"):
        load_recipe("digits", ["plugins=[other.py]"])
    with pytest.raises(RecipeError, match="must be a list of names"):
        load_recipe("digits", ["plugins=other.py"])


# Installed packages.


def test_an_installed_plugin_is_found_when_its_cell_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "mgu", "minimal_gated_unit"

        def load(self) -> Any:
            import importlib.util

            spec = importlib.util.spec_from_file_location("minimal_gated_unit", EXAMPLE)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module

    asked: list[str] = []

    def entry_points(group: str) -> list[Entry]:
        asked.append(group)
        return [Entry()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    plugins._searched.clear()
    load_recipe("digits")
    assert not asked  # nobody pays for it who does not need it
    recipe = load_recipe("digits", ["model.cell=adam-mgu"])
    assert asked == ["momentumrnn.plugins"]
    assert recipe.plugins == ["mgu"]
    assert loaded_files() == ()


def test_a_broken_installed_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("bad", "no_such_module_anywhere", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    plugins._searched.clear()
    with pytest.raises(RecipeError, match=r"the installed plugin bad \(no_such_module_anywhere\) cannot be imported"):
        parse_cell("mgu")


def test_the_document_shows_plugins_that_load(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert EXAMPLE.read_text(encoding="utf-8").endswith(blocks[0])
    names = [load_plugin(write(tmp_path, block, f"block{i}.py")).names for i, block in enumerate(blocks)]
    assert names == [("mgu",), ("lazy",), ("signs",)]


# The command line.


def run(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "momentum_cli", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_option_stands_anywhere(tmp_path: Path) -> None:
    done = run("validate", "digits", "model.cell=sr-mgu", "--plugin", str(EXAMPLE), "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["plugins"] == [EXAMPLE.name]
    broken = write(tmp_path, "x = (\n")
    done = run("--plugin=mine.py", "cells", "list", folder=tmp_path)
    assert done.returncode == 2
    assert f"{broken}:1: the plugin raised SyntaxError" in done.stderr.replace("\n", "")
