"""One warm process and one set of subjects for all attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_subjects import make_subjects
from attacked import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as commands:
        yield commands


@pytest.fixture(scope="session")
def subjects(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `make_subjects`; an attack that changes a file of it changes a copy."""
    folder = tmp_path_factory.mktemp("subjects")
    make_subjects(warm, folder)
    return folder
