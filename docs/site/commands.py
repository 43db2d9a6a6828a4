"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import typer

from momentum_cli.cli import app

INTRO = """# Commands

`momentumrnn COMMAND --help` shows the same on the terminal. Options of the whole program may stand anywhere.
"""


def pages() -> dict[str, str]:
    """Return the page of all commands, by its file name."""
    program = typer.main.get_command(app)
    parts = [INTRO, "## momentumrnn", _parameters(program)]
    for name, command in walk(program, "momentumrnn"):
        usage = " ".join([name, *(_metavar(p) for p in command.params if p.param_type_name == "argument"), "[OPTIONS]"])
        parts += [f"## {name}", f"    {usage}", command.help.replace("\b\n", ""), _parameters(command)]
    return {"commands.md": "\n\n".join(part for part in parts if part) + "\n"}


def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that help shows, with its whole name."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from walk(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _parameters(command: Any) -> str:
    shown = [parameter for parameter in command.params if not parameter.hidden]
    rows = [f"| {_name(parameter)} | {_cell(parameter.help or '')}{_default(parameter)} |" for parameter in shown]
    return "\n".join(["| argument or option | meaning |", "|---|---|", *rows]) if rows else ""


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_cell(_metavar(parameter))}`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} `{_cell(parameter.metavar or parameter.name.upper())}`"


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name} …" if argument.nargs == -1 else name


def _default(parameter: Any) -> str:
    """Return a sentence on the default, where there is one and the help does not say it in words."""
    default = parameter.default
    if parameter.required or default is None or default is False or not parameter.show_default:
        return ""
    return f" Default: `{_cell(str(default.value if isinstance(default, enum.Enum) else default))}`."


def _cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
