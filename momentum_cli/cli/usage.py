"""Errors in the command line, worded like all others: the option or argument, what it must be, what it was.

Typer's exceptions come from its own copy of click, which must not be imported; they are recognised by their attributes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from momentum_cli.messages import Said, describe_mistake, did_you_mean, refuse

if TYPE_CHECKING:
    from pydantic import BaseModel


def is_usage_error(error: BaseException) -> bool:
    """Return True if an exception is Typer's refusal of a command line."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def usage_message(error: Any) -> str:
    """Return the mistake in a command line.

    Args:
        error: An exception for which `is_usage_error` is true.
    """
    if getattr(error, "option_name", None) and hasattr(error, "possibilities"):
        name = error.option_name
        return f"no such option: {name}{_of_recipe(error) or did_you_mean(name, error.possibilities or ())}"
    if not hasattr(error, "param_hint"):
        return str(error.format_message())
    name = _name(error)
    if not name:
        return str(error.format_message())
    if type(error).__name__ == "MissingParameter":
        what = (getattr(error.param, "help", None) or "").strip().rstrip(".")
        return f"{name}: missing ({what[:1].lower()}{what[1:]})" if what else f"{name}: missing"
    return f"{name}: {_wrong_value(error)}"


# Options of other tools, and what to use here instead.
_ELSEWHERE = {
    "print_config": "momentumrnn recipes show RECIPE --resolved shows it",
    "cfg": "momentumrnn recipes show RECIPE --resolved shows it",
    "config": "the recipe is the first argument",
    "gpus": "use --devices",
    "num_workers": "data are read in the process itself",
}


def _of_recipe(error: Any) -> str:
    """Return what to write for an option that is a value of the recipe, or "" where it is none."""
    context = error.ctx
    takes_recipe = context is not None and any("RECIPE" in str(param.metavar) for param in context.command.params)
    if not takes_recipe:
        return ""
    name = error.option_name.lstrip("-").replace("-", "_")
    if name in _ELSEWHERE:
        return f"; {_ELSEWHERE[name]}"
    from momentum_cli.recipe.sections import ModelOptions, ScheduleOptions, TrainOptions

    sections: dict[str, type[BaseModel]] = {"train": TrainOptions, "model": ModelOptions, "schedule": ScheduleOptions}
    paths = [f"{section}.{name}" for section, options in sections.items() if name in options.model_fields]
    path = "optimizer.lr" if name in ("lr", "learning_rate") else paths[0] if paths else ""
    return f"; it is a value of the recipe: write {path}=VALUE" if path else ""


def help_command(error: Any) -> str:
    """Return the command that shows the help of the refused command, or "" if unknown."""
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else ""


def _name(error: Any) -> str:
    if error.param_hint is not None:
        return str(error.param_hint)
    param = error.param
    if param is None:
        return ""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name)
    name = " / ".join(option for option in param.opts if option.startswith("--"))
    context = error.ctx
    source = context.get_parameter_source(param.name) if context is not None else None
    return f"{param.envvar} (for {name})" if source is not None and source.name == "ENVIRONMENT" else name


def _wrong_value(error: Any) -> str:
    # Newer versions of Typer let pydantic check values, and show its messages.
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return str(error.message)
    detail = details()[0]
    if detail["type"] == "value_error":
        message = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
        choice = re.fullmatch(r"(.*) is not one of (.*)", message)
        if not choice:
            return message
        names = re.findall(r"'([^']*)'", choice[2])
        return refuse("", Said(choice[1]), f"be one of {choice[2]}") + did_you_mean(choice[1].strip("'"), names)
    # The command line is text, whatever is made of it.
    got = detail["input"]
    return describe_mistake({**detail, "input": got if isinstance(got, str) else str(got)})
