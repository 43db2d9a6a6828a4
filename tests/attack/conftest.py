"""One warm process per pytest worker, and one set of subjects for all of them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_subjects import add_pt2, add_search, make_subjects
from attacked import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as commands:
        yield commands


@pytest.fixture(scope="session")
def subjects(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `make_subjects`; an attack that changes a file of it changes a copy."""
    base = tmp_path_factory.getbasetemp()
    # Workers share the parent of their folders.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "subjects.lock").open("w") as lock:
        if os.name == "posix":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / "subjects"
        if not (shared / "subjects.made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make_subjects(warm, folder)
            (shared / "subjects.made").touch()
    return folder


@pytest.fixture(scope="session")
def every_subject(warm: Warm, subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a pt2 file and, with Optuna, a search, which take seconds to make and to open."""
    folder = tmp_path_factory.mktemp("every") / "subject"
    shutil.copytree(subjects, folder)
    add_pt2(warm, folder)
    if importlib.util.find_spec("optuna") is not None:
        add_search(warm, folder)
    return folder
