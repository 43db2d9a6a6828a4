"""A page as one HTML file that loads nothing from elsewhere and runs no scripts.

The content security policy forbids both, so a browser would refuse anything that slipped in.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from momentum_cli import __version__
from momentum_cli.messages import counted
from momentum_cli.pages.style import STYLE
from momentum_cli.pages.table import Table
from momentum_cli.wording import NOTHING

MARK = "<!-- momentumrnn report -->"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, body: Iterable[str]) -> str:
    """Return the page.

    Args:
        title: Title, as text.
        body: Its elements, as HTML.
    """
    return "\n".join(
        [
            "<!doctype html>",
            MARK,
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            f"<footer>Written by momentumrnn {escape(__version__)}.</footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def table_of(table: Table, *, keys: Mapping[str, int] | None = None, words: bool = False) -> str:
    """Return a table that becomes cards on a small screen; `keys` puts the colour of a cell before its name."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = []
    for row in table.rows:
        texts = []
        for index, (name, text) in enumerate(zip(table.columns, row, strict=True)):
            key = ""
            if index == 0 and keys is not None and text in keys:
                key = f'<span class="key" style="background:var(--cell-{keys[text]})"></span>'
            long = ' class="long"' if len(text) > 40 else ""
            texts.append(f'<td{long} data-label="{escape(name)}"><span>{key}{_two_lines(text)}</span></td>')
        rows.append(f"<tr>{''.join(texts)}</tr>")
    style_class = "cards words" if words else "cards"
    return (
        f'<div class="scroll"><table class="{style_class}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _two_lines(text: str) -> str:
    """Return a number with its range below it, which keeps the columns narrow."""
    head, sign, deviation = text.partition(" ± ")
    if sign:
        unit = " %" if deviation.endswith(" %") else ""
        return f"{escape(head + unit)} <br><small>± {escape(deviation.removesuffix(' %'))}</small>"
    number, gap, extra = text.partition(" ") if text.endswith((")", "]")) else (text, "", "")
    if gap and extra[0] in "([":
        return f"{escape(number)} <br><small>{escape(extra)}</small>"
    return escape(text)


def where_and_how(environment: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts about the process and the machine of a result, by name.

    Args:
        environment: Environment of the process.
        machine: ``cpu``, ``cores``, ``threads``, ``devices``, ``torch``.
    """
    git = environment.get("git") or {}
    commit = f"{git['commit'][:12]}{' with changes' if git.get('changed') else ''}" if git.get("commit") else NOTHING
    packages = ", ".join(f"{name} {version}" for name, version in (environment.get("packages") or {}).items())
    return {
        "command": shlex.join(["momentumrnn", *environment.get("argv", [])[1:]]),
        "processor": f"{machine.get('cpu')}, {counted(machine.get('cores'), 'core')}, "
        f"{counted(machine.get('threads'), 'thread')} used",
        "devices": ", ".join(machine.get("devices") or []) or "none but the processor",
        "python": str(environment.get("python", NOTHING)),
        "system": str(environment.get("platform", NOTHING)),
        "packages": packages or NOTHING,
        "commit": commit,
        "started": str(environment.get("started", NOTHING)),
    }


def facts_list(facts: Mapping[str, str]) -> str:
    """Return facts as a list of definitions."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f'<dl class="facts">{items}</dl>'
