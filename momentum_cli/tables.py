"""The keys of a family's literal table, read from its source.

Importing a table imports whatever its objects need, above all torch, which takes seconds: too long for ``--help``, for
completion in a shell, and for the type of an option.
"""

from __future__ import annotations

import ast
from pathlib import Path

_PACKAGE = Path(__file__).parent


def table_entries(file: str, table: str, package: Path = _PACKAGE) -> dict[str, ast.expr]:
    """Return the entries of a table, ``TABLE: dict[…] = {"key": …}``, as in its source.

    Args:
        file: Path below the package, such as ``dynamics/__init__.py``.
        table: Its name.
        package: Folder of the package.

    Raises:
        LookupError: The file does not contain the table.
    """
    path = package / file
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == table and isinstance(node.value, ast.Dict):
            return {
                key.value: value
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    raise LookupError(f"{path} has no literal table {table}")


def table_names(file: str, table: str) -> tuple[str, ...]:
    """Return the keys of a table, in order; see `table_entries`."""
    return tuple(table_entries(file, table))
