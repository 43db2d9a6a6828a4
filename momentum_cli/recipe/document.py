"""A YAML document that remembers where each of its values was written: a line of a file, or an override.

Scalars follow YAML 1.2: `1e-3` is a number and `off` a string, whereas PyYAML reads a string and a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import yaml

from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, describe_value, refuse, shortened
from momentum_cli.options import Path as Keys
from momentum_cli.options import Problem

ENDINGS = (".yaml", ".yml")
"""Endings of files that hold a recipe."""
MAX_BYTES = 1_000_000
"""Size of the largest recipe; YAML a hundred times as large would take a minute to read."""

# More nodes than any recipe has; aliases of aliases can make a small file expand without end.
_MAX_NODES = 20_000
# Only an escape can write one, "\\ud800"; no file can have it in its name, and none can be written with it.
_HALF = re.compile("[\ud800-\udfff]")
# Deeper than any recipe, and far from Python's own limit, which PyYAML takes seconds to reach.
_MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema, which ends where a text has more than a recipe can have.

    Aliases count where they are expanded, in `_check_nodes`.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol
    _nodes = 0
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes += 1
        _check_size(self._nodes, self._depth, self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_NUMBER = "-+0123456789."
# The words of each kind of value; one that is tagged as that kind, `!!int x`, must be among them.
_WORDS: dict[str, list[re.Pattern[str]]] = {}
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list(_NUMBER)),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list(_NUMBER)),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list(_NUMBER)),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
    _WORDS.setdefault(f"tag:yaml.org,2002:{_tag}", []).append(re.compile(_pattern))


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    # PyYAML would read 010 as octal 8
    try:
        return int(node.value)
    except ValueError as error:  # Python's own limit
        problem = f"a number has {len(node.value):,} digits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes every string that YAML 1.1 or 1.2 would read as something else: on, 1e5, null."""

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
        name: The file's name for messages, or "" without a file.

    Attributes:
        data: The content; a mapping.
        problems: Keys written twice, and overrides that could not be applied.

    Raises:
        RecipeError: The text is not YAML, or not a mapping; the message gives file and line.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._origins: dict[Keys, str] = {(): name}
        try:
            node, data = _parse(text)
        except _NotYamlError as error:
            where = f"{name}:{error.line}" if error.line else name
            raise RecipeError(f"{where}: not valid YAML: {error}") from error
        if node is None:
            raise RecipeError(f"{name}: empty; a recipe has at least task, model, optimizer and train")
        if not isinstance(data, dict):
            raise RecipeError(f"{name}:1: {refuse('a recipe', data, 'be a mapping of sections')}")
        self.data: dict[str, Any] = data
        self._locate(node, ())

    def extend(self, parent: Document) -> None:
        """Add the values of another recipe that this one does not have.

        Mappings are merged, except where ``name`` differs: the options of one optimizer are not those of another.
        Everything else, lists too, is replaced.

        Args:
            parent: The other recipe; it becomes part of this one.
        """
        self.problems = [*parent.problems, *self.problems]

        def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
            if over.get("name", under.get("name")) != under.get("name"):
                return over
            merged = dict(under)
            for key, value in over.items():
                inner = merged.get(key)
                merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
            return merged

        self.data = merge(parent.data, self.data)
        self._origins = parent._origins | self._origins

    def override(self, overrides: Iterable[str], complete: Callable[[str], str] = str) -> list[str]:
        """Apply `key.path=value` texts in order; values are YAML.

        Mistakes in the texts themselves are added to `problems`.

        Args:
            overrides: The texts.
            complete: Maps a key of one part to its whole path; a ValueError says why there is none.

        Returns:
            The texts without mistakes, with the whole path of each key.
        """
        applied = []
        for text in overrides:
            origin = f"override {text!r}"
            key, equals, value_text = text.partition("=")
            path = tuple(key.strip().split("."))
            if not equals or not all(path):
                remedy = f"; to leave a value out write {key[1:]}=null" if key.startswith("~") and key[1:] else ""
                self._refuse((), origin, f"an override must be key.path=value, such as model.cell=adam{remedy}")
                continue
            try:
                path = tuple(complete(path[0]).split(".")) if len(path) == 1 else path
            except ValueError as error:
                self._refuse(path, origin, str(error))
                continue
            try:
                _, value = _parse(value_text)
            except _NotYamlError as error:
                self._refuse(path, origin, f"the value is not valid YAML: {error}")
                continue
            self._set(path, value, origin)
            applied.append(f"{'.'.join(path)}={value_text}")
        return applied

    def _set(self, path: Keys, value: Any, origin: str) -> None:
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

    def _refuse(self, path: Keys, origin: str, message: str) -> None:
        # A path of its own, so that the problem points at this override and not at the value it failed to replace.
        marker = (*path, f"\0{self.name}{len(self.problems)}")
        self._origins[marker] = origin
        self.problems.append(Problem(marker, message))

    def _locate(self, node: yaml.Node, path: Keys) -> None:
        """Note where the keys below a node were written; `_parse` has checked that the nesting is finite."""
        if not isinstance(node, yaml.MappingNode):
            return
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for part in merged:
                    self._locate(part, path)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = key_node.value
            if key in lines:
                self._refuse((*path, key), f"{self.name}:{line}", f"written twice, first in line {lines[key]}")
            lines.setdefault(key, line)
            self._origins[(*path, key)] = f"{self.name}:{line}"
            self._locate(value_node, (*path, key))


def scalar(text: str) -> Any:
    """Return the value of a word as in a recipe: a number, true, false, null or text.

    Raises:
        ValueError: It is not one word, but a list or a mapping, or not YAML.
    """
    try:
        _, value = _parse(text)
    except _NotYamlError as error:
        raise ValueError(f"the value is not valid YAML: {error}") from error
    if isinstance(value, dict | list) or (value is None and not text.strip()):
        raise ValueError(refuse("", value if value else Said("nothing"), "be a word or a number"))
    return value


class _NotYamlError(Exception):
    """A text that is not the YAML of a recipe, with the line of the mistake if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


_MERGE = "tag:yaml.org,2002:merge"
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq", "merge")
)


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the root of a YAML text, None for an empty one, and its content.

    Raises:
        _NotYamlError: It is not YAML, has tags that recipes do not use, or aliases that contain themselves.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_nodes(node)
        return node, loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _NotYamlError(f"it must not contain the character U+{ord(text[error.position]):04X}", line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "no reason given"
        if reason == "second occurrence" and error.context_mark:  # PyYAML's words for an anchor
            first = error.context_mark.line + 1
            reason = f"this anchor has the name of the one in line {first}; rename one of them, and its aliases"
        raise _NotYamlError(shortened(reason), mark.line + 1 if mark else None) from error
    except (ValueError, OverflowError) as error:  # in the version or the code of a character
        raise _NotYamlError(f"a number is too large ({error})", loader.line + 1 if loader else None) from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_size(nodes: int, depth: int, mark: yaml.Mark) -> None:
    if nodes > _MAX_NODES:
        raise yaml.MarkedYAMLError(problem=f"more than {_MAX_NODES:,} values", problem_mark=mark)
    if depth > _MAX_DEPTH:
        raise yaml.MarkedYAMLError(problem=f"nested more than {_MAX_DEPTH} deep", problem_mark=mark)


def _check_nodes(root: yaml.Node) -> None:
    """Refuse unknown tags, NUL, halves of characters, and aliases that contain themselves or expand too far."""
    count = 0

    def visit(node: yaml.Node, parents: frozenset[int]) -> None:
        nonlocal count
        count += 1
        if id(node) in parents:
            raise yaml.MarkedYAMLError(problem="an alias that contains itself", problem_mark=node.start_mark)
        _check_size(count, len(parents), node.start_mark)
        if node.tag not in _TAGS:
            problem = f"the tag {describe_value(node.tag)} is not used in recipes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            if "\0" in node.value:
                raise yaml.MarkedYAMLError(problem="a text must not contain NUL", problem_mark=node.start_mark)
            if (half := _HALF.search(node.value)) is not None:
                problem = f"a text must not contain U+{ord(half[0]):04X}, half of a character"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            words = _WORDS.get(node.tag)
            if words and not any(pattern.match(node.value) for pattern in words):
                kind = node.tag.rpartition(":")[2]
                problem = f"{describe_value(node.value)} does not fit its tag !!{kind}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            return
        below = parents | {id(node)}
        for child in node.value:
            for each in child if isinstance(child, tuple) else (child,):
                visit(each, below)

    visit(root, frozenset())


def in_comment(text: str) -> str:
    """Return a text in one line of printable characters: after a line break, a name could become keys of the recipe."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def visible(path: Sequence[str]) -> str:
    """Return a path as written in overrides, `model.hidden_size`."""
    return ".".join(part for part in path if not part.startswith("\0"))
