"""Plugins in tests: removes what they registered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from momentum_cli.cells import plugins
from momentum_cli.cells.catalogue import LAYERS
from momentum_cli.dynamics import DYNAMICS


@contextmanager
def unregistered() -> Iterator[None]:
    """Restore every table that a plugin writes into."""
    tables: list[dict[str, object]] = [DYNAMICS, LAYERS, plugins.LOADED]  # type: ignore[list-item]
    kept = [dict(table) for table in tables]
    searched, modules = list(plugins._searched), set(sys.modules)
    try:
        yield
    finally:
        for table, content in zip(tables, kept, strict=True):
            table.clear()
            table.update(content)
        plugins._searched[:] = searched
        for name in set(sys.modules) - modules:
            if name.startswith("momentumrnn_plugin_"):
                del sys.modules[name]
