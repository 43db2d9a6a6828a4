"""The results of `gpu.py` as text: one table for each item, columns as they come."""

from __future__ import annotations

from typing import Any


def as_text(document: dict[str, Any]) -> str:
    """Return all tables."""
    head = f"{document['started']}, device {document['settings']['device']}"
    if document["settings"]["device"] == "cpu":
        head += ": a rehearsal with tiny shapes and interpreted kernels; times mean nothing"
    return "\n\n".join([head, *(item_text(name, item) for name, item in document["items"].items())])


def item_text(name: str, item: dict[str, Any]) -> str:
    """Return the heading of an item and its table, or one line per value if it has a single row."""
    heading = f"## {name}: {item['status'].splitlines()[0]}" + (f" in {item['seconds']} s" if "seconds" in item else "")
    rows = [{key: show(value) for key, value in row.items()} for row in item["rows"]]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if len(rows) == 1:
        rows = [{"": key, " ": value} for key, value in rows[0].items()]
        columns = ["", " "]
    widths = {column: max(len(column), *(len(row.get(column, "")) for row in rows)) for column in columns}
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)] if rows else []
    table = ["  ".join(text.ljust(widths[c]) for c, text in zip(columns, line, strict=True)).rstrip() for line in lines]
    return "\n".join([heading, *table])


def show(value: Any) -> str:
    """Return a value with at most four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "-".join(map(show, value))
    return " ".join(str(value).split())
