"""Human-readable output of commands: words and units, no keys, and tables that fit."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from momentum_cli.recipe.recipe import describe_recipes
from momentum_cli.ui import results, terminal
from momentum_cli.ui.screen import Screen

EXPORTED: dict[str, Any] = {
    "file": "a.onnx",
    "bytes": 11_010,
    "format": "onnx",
    "stateful": True,
    "checkpoint": "last.safetensors",
    "cell": "adam",
    "task": "digits",
    "parity": {"max_abs": 9.07123e-8, "max_rel": 1.62961e-7, "tolerance": 1e-4},
    "test": {"metric": "accuracy", "file": 0.25, "checkpoint": 0.5, "samples": 1360},
    "seconds": 12.7659,
}


def facts(text: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in (line.split("  ", 1) for line in text.splitlines())}


def test_an_export_is_told_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    results.print_export(EXPORTED)
    assert facts(capsys.readouterr().out) == {
        "file": "a.onnx",
        "size": "10.8 KiB",
        "format": "onnx, stateful",
        "model": "adam on digits",
        "checkpoint": "last.safetensors",
        "parity": "differs by 9.1e-08 absolute, 1.6e-07 relative at most; limit 0.0001",
        "test accuracy": "25.00 %, of the checkpoint 50.00 %; 1,360 sequences",
        "time": "12.8 s",
    }
    results.print_export(EXPORTED | {"test": None, "stateful": False})
    told = facts(capsys.readouterr().out)
    assert "test accuracy" not in told
    assert told["format"] == "onnx"


def test_facts_leave_out_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    results.print_facts({"a": None, "long name": 1 / 3, "b": 2})
    assert capsys.readouterr().out == "long name  0.333333\nb          2\n"


def test_the_title_of_a_narrow_table_is_in_one_piece(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    title = "a title that is longer than its table is wide"
    terminal.print_table(["a", "b"], [[1, 2]], title)
    assert any(title in line for line in capsys.readouterr().out.splitlines())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    terminal.print_table(["a", "b"], [[1, 2]], title)
    assert any(title in line for line in capsys.readouterr().out.splitlines())


def test_recipes_are_told_in_whole_sentences() -> None:
    for recipe in describe_recipes():
        assert recipe["about"].endswith("."), recipe["name"]
        assert 30 < len(recipe["about"]) < 250, recipe["name"]


def test_nothing_that_people_read_drives_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "a\x1b]0;title\x07\x9b31mb\u202e"
    spelled = "a\\x1b]0;title\\x07\\x9b31mb\\u202e"

    def shown() -> str:
        text = "".join(capsys.readouterr())
        assert not {"\x1b]", "\x07", "\x9b", "\u202e"} & {text[at : at + n] for at in range(len(text)) for n in (1, 2)}
        return text

    terminal.print_table([evil], [[evil]], evil)
    assert shown().count(spelled) == 3
    results.print_facts({evil: evil})
    assert shown().count(spelled) == 2
    for write in (terminal.print_error, terminal.print_hint):
        write(evil)
        assert spelled in shown()
    terminal.print_warning(evil, UserWarning, "file.py", 1)
    assert spelled in shown()
    terminal.print_json({evil: evil})
    assert json.loads(shown()) == {evil: evil}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for print_ in (terminal.print_lines, terminal.write_text):
        print_(evil)
        assert spelled in shown()


def test_a_file_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_lines("a\tb\x1b[0m")
    terminal.write_text("é\x9b")
    assert capsys.readouterr().out == "a\tb\x1b[0m\né\x9b"


def test_a_live_display_drives_the_terminal_alone() -> None:
    class Shown:
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            yield Text("name\x1b]0;title\x07", style="bold")

        def close(self) -> None:
            pass

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, highlight=False)
    screen = Screen(stream, Shown(), clock=lambda: 0.0, shortest_seconds=1.0, longest_seconds=1.0, console=console)
    screen.draw(0.0)
    screen.print(Text("above\x9b31m"))
    screen.note("note\u202e", "warning")
    screen.close(erase=False)
    text = stream.getvalue()
    assert all(word in text for word in ("name\\x1b]0;title", "above\\x9b31m", "warning: note\\u202e"))
    assert not any(mark in text for mark in ("\x1b]", "\x07", "\x9b", "\u202e"))
