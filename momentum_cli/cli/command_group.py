"""The frame around every command: errors become a message and an exit code, and only one process writes.

0 is success, 130 and 143 are SIGINT and SIGTERM, 141 is a closed pipe; the others are in `momentum_cli.errors`.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from momentum_cli.cli.completion import in_bash
from momentum_cli.cli.usage import help_command, is_usage_error, usage_message
from momentum_cli.errors import Interrupted, MomentumError, RecipeError, RunError, Stopped, out_of_memory, system_error
from momentum_cli.messages import refuse
from momentum_cli.ui import terminal

BROKEN_PIPE = 141
USAGE = 2
_FLAGS = ("--debug", "--release-memory")


# Texts that may be empty: without a prompt a text begins as if after a line break.
_MAY_BE_EMPTY = ("prompt",)


class Command(TyperCommand):
    """A command whose help shows types only where they say something, and whose values are not empty."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, for help and for parsing."""
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        _refuse_empty(self, ctx, args)
        return list(super().parse_args(ctx, args))


class CommandGroup(TyperGroup):
    """A group of commands whose errors are shown without a traceback."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for parameter in self.params:
            _convert_only_given(parameter)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, for help and for parsing."""
        parameters = _without_types(super().get_params(ctx))
        for parameter in parameters:
            # Typer takes False as it is, but converts None; see `_convert_only_given`.
            if getattr(parameter, "is_flag", False) and parameter.default is None:
                parameter.default = False
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options of the whole program."""
        _refuse_empty(self, ctx, args)
        return list(super().parse_args(ctx, args))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command and exit.

        Args:
            args: Arguments, those of the process when None. ``--debug``, ``--release-memory`` and ``--plugin FILE``
                may appear anywhere in them.
        """
        given = list(sys.argv[1:] if args is None else args)
        as_json, debug = _has(given, "--json"), _has(given, "--debug")
        extra["standalone_mode"] = False
        warnings.showwarning = terminal.print_warning
        if not terminal.is_main_process():
            _silence_stdout()
            # The main process gives the same warnings.
            warnings.simplefilter("ignore")
        try:
            with in_bash():
                result = super().main(_before_command(given), *rest, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_stdout()
            sys.exit(BROKEN_PIPE)
        except Exception as error:
            if debug:
                terminal.print_traceback()
            sys.exit(_failed(error, as_json, debug))
        # A command returns nothing; a number is the code of typer.Exit.
        sys.exit(result if isinstance(result, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command of a context.

        Typer turns a closed pipe and Ctrl-C into its own exit codes, without a message; so they are handled here.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted", signal.SIGINT) from None
        except Stopped as stop:
            raise Interrupted("interrupted", stop.number) from None
        except BrokenPipeError:
            # Nobody reads what is still buffered; without this Python would complain about it at exit.
            _silence_stdout()
            raise typer.Exit(BROKEN_PIPE) from None


def _refuse_empty(command: Any, ctx: Any, args: list[str]) -> None:
    """Refuse an empty value, which a path would take for the current folder.

    Raises:
        typer.BadParameter: One is empty.
    """
    if ctx.resilient_parsing:  # the shell completes a command that is not finished
        return
    given, _, _ = command.make_parser(ctx).parse_args(args=list(args))
    for parameter in command.get_params(ctx):
        value = given.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        if "" in values and parameter.name not in _MAY_BE_EMPTY:
            message = refuse("", "", "not be empty", "perhaps a variable of the shell is not set")
            raise typer.BadParameter(message, ctx=ctx, param=parameter)


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        # "--json <bool>" reads as if it took a value.
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        # The name of an argument says enough; "<list[str]>" adds nothing.
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
    return parameters


def _convert_only_given(parameter: Any) -> None:
    """Let an option of the whole program without a value stay empty.

    Typer converts even the missing value, by pydantic, whose import a command's help would wait for.
    """
    if parameter.required or parameter.callback is not None:
        return
    convert = parameter.process_value
    nothing = () if parameter.multiple else None

    def process_value(context: Any, value: Any) -> Any:
        return nothing if value is None else convert(context, value)

    parameter.process_value = process_value


def _failed(error: Exception, as_json: bool, debug: bool) -> int:
    """Show the error that ended a command and return its exit code."""
    if Stopped.latest is not None and not isinstance(error, Interrupted):
        error = Interrupted("interrupted", Stopped.latest.number)
    if isinstance(error, OSError):
        error = _of_system(error)
    elif not isinstance(error, MomentumError) and (short := out_of_memory(error)) is not None:
        error = RunError(short)
    name = type(error).__name__
    if isinstance(error, MomentumError):
        details = {"problems": entries} if (entries := getattr(error, "entries", None)) else {}
        return _report(str(error), name, error.exit_code, as_json, details)
    if is_usage_error(error):
        code = _report(usage_message(error), name, USAGE, as_json)
        if not as_json and (command := help_command(error)):
            terminal.print_hint(f"{command} shows the options")
        return code
    hint = "" if debug else "\nThis looks like a bug; rerun with --debug for a traceback."
    return _report(f"{name}: {error}{hint}", name, 1, as_json)


def _of_system(error: OSError) -> MomentumError:
    """Convert an unexpected error of the system to an error about the output, a file or the current folder."""
    if error.filename is None and isinstance(error, FileNotFoundError):
        return RecipeError("the current folder no longer exists; change to another one")
    if error.filename is None:
        # Other writers name their file. What is still buffered would fail again when Python exits.
        _silence_stdout()
        return system_error(error, "standard output")
    return system_error(error)


def _report(message: str, name: str, code: int, as_json: bool, details: dict[str, Any] | None = None) -> int:
    """Show an error and return its exit code."""
    if terminal.is_main_process():
        if as_json:
            terminal.print_json({"error": {"type": name, "message": message, "exit_code": code, **(details or {})}})
        terminal.print_error(message)
    elif code in (1, 3, 4):
        # A wrong recipe or a signal concerns every process; the main one reports it.
        terminal.print_error(f"process {os.environ.get('RANK', os.environ.get('LOCAL_RANK'))}: {message}")
    return code


def _has(args: Sequence[str], option: str) -> bool:
    return option in (args[: args.index("--")] if "--" in args else args)


def _before_command(args: list[str]) -> list[str]:
    """Move the options of the whole program, `_FLAGS` and ``--plugin FILE``, in front of the command."""
    end = args.index("--") if "--" in args else len(args)
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < end:
        width = 2 if args[index] == "--plugin" else 1
        if args[index : index + width] == ["--plugin"]:
            # The file is missing, and moved to the front the option would take the command as its value.
            return ["--plugin"]
        own = args[index] in (*_FLAGS, "--plugin") or args[index].startswith("--plugin=")
        (front if own else rest).extend(args[index : min(index + width, end)])
        index += width
    return [*front, *rest, *args[end:]]


def _silence_stdout() -> None:
    # This includes what libraries and child processes write to the file descriptor.
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives until the process ends
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)
