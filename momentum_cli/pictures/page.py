"""Pictures inside a page: as SVG elements in the colours of the page, so that they are legible on a dark one too.

Each colour is a CSS variable with the printed colour as fallback.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from momentum_cli.pictures.style import GREY, GRID, PALETTE, TEXT, transparent
from momentum_cli.temporary import temporary_folder


def drawn_for_page(draw: Callable[[Path], None], prefix: str, title: str) -> str:
    """Return what a function draws into a file as an element of a page.

    Args:
        draw: Takes the file, an SVG.
        prefix: Prefix of every id, so that ids are unique in a page.
        title: What it shows, for those who cannot see it.

    Raises:
        RunError: It could not be drawn.
    """
    with temporary_folder() as folder, transparent():
        path = folder / "picture.svg"
        draw(path)
        svg = path.read_text(encoding="utf-8")
    # As wide as it was drawn, if the page is, so that its letters are neither larger than those of the page nor tiny.
    drawn = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ', svg)
    return for_page(svg, prefix, title, f"min(100%,{float(drawn[1]):.0f}pt)" if drawn else "")


def for_page(svg: str, prefix: str, title: str, width: str = "") -> str:
    """Convert a file by matplotlib to an element of a page, with unique ids, a label, and the colours of the page.

    Args:
        svg: Content of the file.
        prefix, title: As for `drawn_for_page`.
        width: Its largest width in the page, as CSS; "" for that of the page's own style.
    """
    svg = svg[svg.index("<svg") :]
    for element in ("metadata", "style"):  # the style is for a separate file and would affect the whole page
        svg = re.sub(rf"<{element}\b.*?</{element}>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    names = {color.lower(): f"--cell-{number}" for number, color in enumerate(PALETTE)}
    names |= {TEXT: "--text", GRID: "--grid", GREY: "--faint"}
    for color, name in names.items():
        svg = re.sub(rf"(?<![\w-]){color}\b", f"var({name}, {color})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    # The size comes from the page; the viewBox keeps the shape.
    opening = svg[: svg.index(">")]
    view = re.search(r'viewBox="[^"]+"', opening)
    attributes = f'{view[0] if view else ""} role="img" aria-label="{title}" xmlns="http://www.w3.org/2000/svg"'
    attributes += f' style="max-width:{width}"' if width else ""
    return f"<svg {attributes}{svg[svg.index('>') :]}"
