"""The pieces of live displays: rules, aligned bars, facts that flow into lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from momentum_cli.wording import printable

# Styles that are legible on light and dark backgrounds: no yellow, white or black; the words suffice without colour.
LABEL, VALUE, BAR, REST = "dim", "bold", "cyan", "dim"
GOOD, WARNING, ERROR = "bold green", "bold magenta", "bold red"
LABEL_COLUMNS, SHORTEST_BAR, LONGEST_BAR = 6, 8, 60


class Bar(NamedTuple):
    """One line with a bar; `part` is between 0 and 1, or None if the end is unknown."""

    label: str
    amount: str
    part: float | None
    after: str


def fact(label: str, value: str) -> Text:
    """`label value`, with the value in bold."""
    return Text.assemble((f"{label} ", LABEL), (value, VALUE))


def rule(left: str, right: str, width: int) -> Text:
    """A line `left ─────── right`; a path that is too long keeps its end, which distinguishes runs."""
    left, right = printable(left), printable(right)
    room = width - len(left) - 6
    if len(right) > room:
        right = "…" + right[len(right) - room + 1 :] if room > 8 else ""
    fill = "─" * max(2, width - len(left) - len(right) - (2 if right else 1))
    text = Text.assemble((left, VALUE), " ", (fill, REST), (f" {right}" if right else "", LABEL))
    text.truncate(width)
    return text


def bars(bars: Sequence[Bar], width: int) -> Iterator[Text]:
    """Lines `epoch 3/30 ━━━━━━──────  40 %  0:12 elapsed`, with bars aligned and equally long."""
    amount_columns = max((len(bar.amount) for bar in bars), default=0)
    after_columns = max((len(bar.after) for bar in bars), default=0)
    percent_columns = 6
    room = width - LABEL_COLUMNS - amount_columns - percent_columns - after_columns - 3
    length = max(SHORTEST_BAR, min(LONGEST_BAR, room))
    for bar in bars:
        filled = round(length * min(1.0, max(0.0, bar.part or 0.0)))
        percent = f"{100 * bar.part:4.0f} %" if bar.part is not None else ""
        text = Text.assemble(
            (f"{bar.label:<{LABEL_COLUMNS}}", LABEL),
            (f"{bar.amount:<{amount_columns}} ", VALUE),
            ("━" * filled, BAR),
            ("─" * (length - filled), REST),
            (f"{percent:<{percent_columns}}  ", VALUE),
            bar.after,
        )
        text.no_wrap, text.overflow = True, "ellipsis"
        yield text


def flow(parts: Iterable[Text], width: int, gap: str) -> Iterator[Text]:
    """The parts one after another, with a new line where the next one does not fit."""
    line: Text | None = None
    for part in parts:
        if line is not None and len(line) + len(gap) + len(part) <= width:
            line.append(gap, LABEL).append_text(part)
            continue
        if line is not None:
            yield line
        line = part.copy()
    if line is not None:
        yield line
