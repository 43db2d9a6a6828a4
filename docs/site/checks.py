"""Check a built site: every link and every picture inside it leads to a file, every anchor to an element."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def problems(folder: Path) -> list[str]:
    """Return a line for each link of the HTML files in a folder that leads nowhere."""
    pages = {path.resolve(): _parse(path) for path in sorted(folder.rglob("*.html"))}
    return [
        f"{path.relative_to(folder.resolve())}: {link} leads nowhere"
        for path, page in pages.items()
        # The page for a wrong address is shown at any depth, so its links are absolute.
        if path.name != "404.html"
        for link in sorted(set(page.links))
        if not _leads_somewhere(path, link, pages)
    ]


def _parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _leads_somewhere(page: Path, link: str, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.is_file()
    # "__…" are anchors that the scripts of the theme handle.
    return not parts.fragment or parts.fragment.startswith("__") or unquote(parts.fragment) in pages[target].anchors
