"""How a training is set up: what the import of Fabric brings with it."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from momentum_cli.training.launch import import_fabric


@pytest.mark.parametrize("installed", [True, False])
def test_fabric_finds_the_version_of_torchmetrics_and_nothing_else(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Fabric of a few lines stands in: the real one was imported long ago."""

    def version(package: str) -> str:
        if not installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return f"1.2.3 of {package}"

    (tmp_path / "lightning_fabric.py").write_text(
        "import sys\nfound = getattr(sys.modules.get('torchmetrics'), '__version__', None)\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("lightning_fabric", "torchmetrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(importlib.metadata, "version", version)
    import_fabric()
    fabric = sys.modules["lightning_fabric"]
    assert fabric.found == ("1.2.3 of torchmetrics" if installed else None)  # type: ignore[attr-defined]
    assert "torchmetrics" not in sys.modules
    # What the program imported itself stays.
    monkeypatch.delitem(sys.modules, "lightning_fabric")
    monkeypatch.setitem(sys.modules, "torchmetrics", fabric)
    import_fabric()
    assert sys.modules["torchmetrics"] is fabric
    monkeypatch.delitem(sys.modules, "lightning_fabric")
