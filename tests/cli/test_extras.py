"""Every command in a plain installation: it works without the extras, or names the one that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from bare_commands import PACKAGE, plain_installation

from momentum_cli.cli import app

TABLE = "t,a,label\n" + "".join(f"{n},{n % 7},{'xy'[n // 30 % 2]}\n" for n in range(600))
TEXT = """task: {name: language, path: words.txt, level: character}
model: {hidden_size: 8}
optimizer: {name: adam, lr: 0.01}
train: {max_steps: 2}
"""
_QUICK = "model.hidden_size=4 train.epochs=null train.max_steps=2 --accelerator cpu -q"
WORKING = [
    "init d.csv --target label --out mine.yaml",
    "validate mine.yaml",
    "summary mine.yaml",
    "data describe mine.yaml",
    "data check mine.yaml",
    f"train mine.yaml {_QUICK} --out run",
    "eval run -q",
    "inspect run -q --out looked",
    "report run",
    "export run --format torchscript -q",
    "export run --format pt2 -q",
    "export run --format safetensors -q",
    "predict run d.csv --out predicted.csv -q",
    f"bench mine.yaml --cells lstm --seeds 0 --out compared {_QUICK}",
    f"train text.yaml {_QUICK} --out told",
    "generate told --prompt a --length 3",
    "recipes list",
    "recipes show digits",
    "recipes copy digits digits.yaml",
    "recipes schema",
    "cells list",
    "doctor",
]
# A command, and the extra that it names.
REFUSED = [
    ("tune mine.yaml", "tune"),
    ("tune mine.yaml --cluster tcp://127.0.0.1:1", "tune"),
    ("bench mine.yaml --cells lstm --cluster tcp://127.0.0.1:1", "cluster"),
    ("export run --format onnx", "export"),
    ("export run --format onnx --quantize int8", "export"),
    ("train mine.yaml optimizer.name=pytorch_optimizer:lion", "optimizers"),
    ("validate mine.yaml optimizer.name=pytorch_optimizer:lion", "optimizers"),
    ("train multi30k", "translation"),
    ("data check multi30k", "translation"),
    *((f"train mine.yaml train.loggers=[{name}]", name) for name in ("tensorboard", "wandb", "mlflow", "trackio")),
    *((f"bench mine.yaml --cells lstm train.loggers=[{name}]", name) for name in ("tensorboard", "mlflow")),
]


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of all commands, each under its own name only."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words)
    else:
        for name, below in inner.items():
            if not below.hidden:
                yield from commands(below, (*words, name))


NAMES = list(commands(typer.main.get_command(app)))


def answers(lines: list[str], folder: Path) -> list[tuple[int, str]]:
    """Run commands in a plain installation; return their exit codes and outputs."""
    (site := folder / "site").mkdir()
    (work := folder / "work").mkdir()
    (work / "d.csv").write_text(TABLE)
    (work / "words.txt").write_text("a bad cab had a dad\n" * 200)
    (work / "text.yaml").write_text(TEXT)
    paths = os.pathsep.join(map(str, (PACKAGE, plain_installation(site))))
    done = subprocess.run(
        [sys.executable, "-S", PACKAGE / "tests" / "bare_commands.py"],
        input=json.dumps([line.split() for line in lines]),
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "300"},
    )
    assert done.returncode == 0, done.stderr
    return [(code, output) for code, output in json.loads(done.stdout)]


def test_every_command_is_listed_here() -> None:
    assert {name for name in NAMES if not any(line.startswith(f"{name} ") or line == name for line in WORKING)} == {
        "tune"
    }


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_help_of_every_command_needs_no_extra(tmp_path: Path) -> None:
    lines = [f"{name} --help" for name in NAMES]
    for line, (code, output) in zip(lines, answers(lines, tmp_path), strict=True):
        assert code == 0, f"{line}: {output}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_every_command_works_without_extras_or_names_the_one_it_needs(tmp_path: Path) -> None:
    found = answers([*WORKING, *(line for line, _ in REFUSED)], tmp_path)
    target_missed = 4
    wrong = [
        f"{line}: {code} {output}"
        for line, (code, output) in zip(WORKING, found, strict=False)
        if code not in (0, target_missed)
    ]
    for (line, extra), (code, output) in zip(REFUSED, found[len(WORKING) :], strict=True):
        if code not in (1, 2, 3) or f"momentumrnn[{extra}]" not in output:
            wrong.append(f"{line}: {code} {output}")
    assert wrong == []
