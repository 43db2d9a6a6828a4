"""Keys of the tables as they are written: the same as those of the objects, and read without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from momentum_cli.cli.models import ExportFormat
from momentum_cli.formats.export import FORMATS
from momentum_cli.kernels import BACKENDS
from momentum_cli.recipe.sections import ModelOptions
from momentum_cli.tables import table_entries, table_names


def test_formats_and_backends_are_those_of_their_tables() -> None:
    assert table_names("formats/export.py", "FORMATS") == tuple(FORMATS) == tuple(entry.value for entry in ExportFormat)
    assert table_names("kernels/__init__.py", "BACKENDS") == tuple(BACKENDS)
    schema = ModelOptions.model_json_schema()["properties"]["backend"]
    assert schema["enum"] == ["auto", *BACKENDS]


def test_the_options_of_export_are_known_without_torch() -> None:
    code = "import sys; from momentum_cli.cli.models import ExportFormat; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_that_is_not_literal_is_missed(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text("TABLE: dict = make()\n", encoding="utf-8")
    with pytest.raises(LookupError, match="no literal table TABLE"):
        table_entries("made.py", "TABLE", tmp_path)
