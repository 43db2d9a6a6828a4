"""The look of every picture: one palette and one style, whatever the user's matplotlibrc asks for.

Figures are made as objects and drawn by the Agg renderer; pyplot, its global state and its windows are never touched.
The palette is that of Okabe and Ito, which colour-blind readers can distinguish.
"""

from __future__ import annotations

import contextlib
import contextvars
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import MomentumError, RunError
from momentum_cli.runs.files import replacing
from momentum_cli.wording import printable

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008)
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SPLIT_STYLE = {"train": (PALETTE[0], "-", ""), "validation": (PALETTE[1], "-", "o"), "test": (PALETTE[2], "--", "s")}
_ON_NOTHING = contextvars.ContextVar("on_nothing", default=False)
GREY, TEXT, GRID = "#666666", "#222222", "#e3e3e3"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Use our style inside the block; the user's matplotlibrc may ask for LaTeX or for missing fonts."""
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # missing glyphs are only boxes
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


@contextlib.contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure that is written to `path` at the end of the block, completely or not at all, in its format.

    Args:
        path: The file.
        width: In inches.
        height: In inches.

    Raises:
        RunError: It could not be drawn. A training then continues with a note.
    """
    try:
        from matplotlib.figure import Figure

        with house_style(), replacing(path) as temporary:
            figure = Figure(figsize=(width, height), layout="constrained")
            yield figure
            save(figure, temporary, path.suffix.lstrip(".") or "png")
    except MomentumError:
        raise
    except Exception as error:
        raise RunError(f"could not draw {path}: {error}") from error


def save(figure: Figure, path: Path, file_format: str = "png") -> None:
    """Write a figure on white, at 150 dots per inch; inside `transparent` on nothing."""
    if _ON_NOTHING.get():
        figure.savefig(path, format=file_format, transparent=True, bbox_inches="tight", pad_inches=0.05)
        return
    figure.savefig(path, format=file_format, dpi=150, facecolor="white", bbox_inches="tight", pad_inches=0.15)


@contextlib.contextmanager
def transparent() -> Iterator[None]:
    """Inside the block figures are written without a background, for a page that has its own."""
    before = _ON_NOTHING.set(True)
    try:
        yield
    finally:
        _ON_NOTHING.reset(before)


def literal(text: str) -> str:
    """Return user text escaped: matplotlib would read `$…$` as mathematics, and fails at bytes that are not UTF-8."""
    return printable(text).replace("$", r"\$")


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` characters, which lacks its middle if it is longer: ends tell names apart."""
    tail = width // 3
    return text if len(text) <= width else f"{text[: width - tail - 1]}…{text[len(text) - tail :]}"


def caption(text: str, width: int, lines: int = 2) -> str:
    """Return user text as at most `lines` lines of `width` characters, escaped as by `literal`."""
    plain = printable(text)
    # Words seldom fill a line, so that fewer characters fit than the lines could hold.
    sizes = range(width * lines, width - 1, -1)
    broken = (textwrap.wrap(shortened(plain, size), width) for size in sizes)
    return literal("\n".join(next(found for found in broken if len(found) <= lines)))


def plain_log(axis: Axis, factor: float, room: float = 1e3) -> None:
    """Label a logarithmic axis by plain numbers that do not run into each other, be it less than a decade or many.

    Args:
        axis: The axis, whose scale is logarithmic already.
        factor: Ratio of its ends.
        room: The largest ratio at which there is room for three labels per decade instead of one.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if factor < room else (1.0,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
