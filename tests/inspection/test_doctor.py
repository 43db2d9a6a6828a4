"""`momentumrnn doctor` for people: what is missing comes with its cost and the remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from momentum_cli.data import TASKS
from momentum_cli.errors import SettingError
from momentum_cli.inspection import doctor
from momentum_cli.kernels.fused import library


def report(tmp_path: Path, capsys: pytest.CaptureFixture[str], **changes: object) -> list[str]:
    doctor.print_report(doctor.examine(tmp_path) | changes)
    return capsys.readouterr().out.splitlines()


def test_every_extra_says_what_is_missing_without_it() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert doctor._WITHOUT.keys() == project["optional-dependencies"].keys()


def test_what_is_missing_comes_with_its_cost_and_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = {"packages": {"onnx": None, "onnxscript": None, "onnxruntime": "1.20"}, "install": "pip install THIS"}
    kernels = {"cpu": {"momentum": "not built"}, "status": {"available": False, "reason": "no g++", "cost": "slow"}}
    lines = report(
        tmp_path,
        capsys,
        packages={"torch": "2.14", "soundfile": None},
        extras={"export": extra},
        backends={"fused": kernels},
    )
    text = "\n".join(lines)
    (packages,) = [line for line in lines if line.startswith("packages")]
    assert "torch 2.14" in packages
    assert "soundfile" not in packages
    (missing,) = [line for line in lines if line.startswith("soundfile")]
    assert "MISSING" in missing
    assert "pip install" in missing
    assert "missing onnx, onnxscript: cannot export, evaluate or predict ONNX files" in text
    assert "pip install THIS" in text
    assert "not available: no g++" in text
    assert "without it: slow" in text


def test_backends_say_what_they_cannot_run_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"cpu": {"momentum": None, "adam": "not linear", "rmsprop": "not linear", "sr": "too new"}}
    lines = [line.strip() for line in report(tmp_path, capsys, backends={"native": answers})]
    assert "backend native  cpu: momentum" in [
        " ".join(line.split()).replace("native cpu", "native  cpu") for line in lines
    ]
    assert "not adam, rmsprop: not linear" in lines
    assert "not sr: too new" in lines


def test_every_task_stands_under_data_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = report(tmp_path, capsys)
    names = [name.strip() for line in lines for name in line[line.find("  ") :].partition(":")[0].split(",")]
    assert sorted(name for name in names if name in TASKS) == sorted(TASKS)
    assert "your own recordings" in next(line for line in lines if "speech-classify" in line)


@pytest.mark.parametrize("name", ["MOMENTUMRNN_TRITON", "MOMENTUMRNN_ISA"])
def test_a_wrong_environment_variable_is_a_mistake_of_usage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a bug, which the command line would ask to report."""
    if name == "MOMENTUMRNN_ISA" and library.load()[0] is None:
        pytest.skip("the kernel library was not built")
    monkeypatch.setenv(name, "nope")
    with pytest.raises(SettingError, match=f"{name}.*'nope'|'nope' of {name}") as caught:
        doctor.examine(tmp_path)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ({"kept": True, "reason": None}, "kept between the steps of commands (--release-memory returns it)"),
        (
            {"kept": False, "reason": "the C library is not glibc"},
            "when it is freed: the C library is not glibc, which slows",
        ),
    ],
)
def test_what_happens_to_memory_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], memory: dict[str, object], said: str
) -> None:
    (line,) = [line for line in report(tmp_path, capsys, memory=memory) if line.startswith("memory")]
    assert said in line
