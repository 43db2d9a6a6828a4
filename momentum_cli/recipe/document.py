"""A YAML document that remembers where each of its values was written: a line of a file, or an override.

Scalars follow YAML 1.2: `1e-3` is a number and `off` a word, where PyYAML alone reads a word and a truth value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from momentum_cli.errors import RecipeError
from momentum_cli.messages import describe_value, refuse
from momentum_cli.options import Path, Problem

# More nodes than any recipe has; aliases of aliases can make a small file expand without end.
_MAX_NODES = 20_000


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol


_NUMBER = "-+0123456789."
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list(_NUMBER)),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list(_NUMBER)),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list(_NUMBER)),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    # PyYAML would read 010 as octal 8
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes every text which YAML 1.1 or 1.2 would read as something else: on, 1e5, null."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012 - PyYAML's own protocol
        first: [
            *_Loader.yaml_implicit_resolvers.get(first, ()),
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in {*_Loader.yaml_implicit_resolvers, *yaml.SafeDumper.yaml_implicit_resolvers}
    }


class Document:
    """The content of a recipe with its overrides, and where each value comes from.

    Args:
        text: YAML.
        name: The file's name for messages, or "" when there is no file.

    Attributes:
        data: The content; a mapping.
        problems: Keys written twice, and overrides that could not be applied.

    Raises:
        RecipeError: The text is not YAML, or not a mapping; the message gives file and line.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._origins: dict[Path, str] = {(): name}
        self._nodes = 0
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._locate(node, (), ())
                data = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{name}:{mark.line + 1}" if mark else name
            raise RecipeError(f"{where}: not valid YAML: {error.problem or error.context}") from error
        # A ValueError is a number of more digits than Python reads.
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise RecipeError(f"{name}: not valid YAML: {error}") from error
        finally:
            loader.dispose()
        if node is None:
            raise RecipeError(f"{name}: empty; a recipe has at least task, model, optimizer and train")
        if not isinstance(data, dict):
            raise RecipeError(f"{name}:1: {refuse('a recipe', data, 'be a mapping of sections')}")
        self.data: dict[str, Any] = data

    def override(self, overrides: Iterable[str]) -> None:
        """Apply `key.path=value` texts in order; values are YAML.

        Mistakes in the texts themselves are added to `problems`.
        """
        for text in overrides:
            origin = f"override {text!r}"
            key, equals, value_text = text.partition("=")
            path = tuple(key.strip().split("."))
            if not equals or not all(path):
                self._refuse((), origin, "an override must be key.path=value, such as model.cell=adam")
                continue
            try:
                value = yaml.load(value_text, Loader=_Loader)
            except (yaml.YAMLError, RecursionError, ValueError) as error:
                reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
                self._refuse(path, origin, f"the value is not valid YAML: {reason}")
                continue
            self._set(path, value, origin)

    def _set(self, path: Path, value: Any, origin: str) -> None:
        target = self.data
        for depth, key in enumerate(path[:-1], 1):
            inner = target.setdefault(key, {})
            if inner is None:
                inner = target[key] = {}
            if not isinstance(inner, dict):
                at = ".".join(path[:depth])
                self._refuse(path, origin, f"{at} is {describe_value(inner)}, which has no keys")
                return
            self._origins.setdefault(path[:depth], origin)
            target = inner
        target[path[-1]] = value
        for old in [old for old in self._origins if old[: len(path)] == path]:
            del self._origins[old]
        self._origins[path] = origin

    def origin(self, path: Sequence[str]) -> str:
        """Return where the value at `path`, or the nearest one around it, was written: "FILE:LINE" or the override."""
        parts = tuple(path)
        while parts not in self._origins:
            parts = parts[:-1]
        return self._origins[parts]

    def _refuse(self, path: Path, origin: str, message: str) -> None:
        # A path of its own, so that the problem points at this override and not at the value it failed to replace.
        marker = (*path, f"\0{len(self.problems)}")
        self._origins[marker] = origin
        self.problems.append(Problem(marker, message))

    def _locate(self, node: yaml.Node, path: Path, parents: tuple[int, ...]) -> None:
        self._nodes += 1
        if id(node) in parents or self._nodes > _MAX_NODES:
            raise yaml.MarkedYAMLError(problem="aliases without end", problem_mark=node.start_mark)
        if not isinstance(node, yaml.MappingNode):
            return
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for part in merged:
                    self._locate(part, path, (*parents, id(node)))
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = key_node.value
            if key in lines:
                self._refuse((*path, key), f"{self.name}:{line}", f"written twice, first in line {lines[key]}")
            lines.setdefault(key, line)
            self._origins[(*path, key)] = f"{self.name}:{line}"
            self._locate(value_node, (*path, key), (*parents, id(node)))


def visible(path: Sequence[str]) -> str:
    """Return a path as people write it, `model.hidden_size`."""
    return ".".join(part for part in path if not part.startswith("\0"))
