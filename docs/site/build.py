"""Build the documentation site: ``python docs/site/build.py`` writes ``build/site/html``.

The pages of ``docs/`` are copied to ``build/site/pages``, those generated from the code are written next to them, and
Zensical turns both into a site. A broken link, picture or reference is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import api
import checks
import commands
import recipe

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OUTPUT = ROOT / "build" / "site"
LANGUAGES = {".py": "python", ".cpp": "cpp", ".js": "javascript", ".ipynb": "python"}
# Files outside docs/ that pages link to, and the pages that they become.
PROJECT_FILES = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
    "CITATION.cff": "citation.md",
}


def main() -> None:
    """Write the pages, build the site and check it; exit with 1 if anything is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages-only", action="store_true", help="write the pages, without building the site")
    pages_only = parser.parse_args().pages_only
    shutil.rmtree(OUTPUT, ignore_errors=True)
    pages = write_pages(OUTPUT / "pages")
    if pages_only:
        return
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(OUTPUT / "zensical.toml")]
    done = subprocess.run(command, cwd=OUTPUT, check=False)
    problems = checks.problems(OUTPUT / "html") if done.returncode == 0 else ["zensical could not build the site"]
    if problems:
        sys.exit("\n".join(problems))
    print(f"{OUTPUT / 'html' / 'index.html'}: {len(pages)} pages")


def write_pages(folder: Path) -> list[Path]:
    """Write every page of the site and its configuration.

    Args:
        folder: Folder of the pages, which is made; the configuration is written next to it.

    Returns:
        The pages.
    """
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("site"))
    shutil.copytree(DOCS / "site" / "assets", folder / "assets")
    shutil.copyfile(DOCS / "site" / "zensical.toml", folder.parent / "zensical.toml")
    for name, target in PROJECT_FILES.items():
        _write(folder / target, _as_page(ROOT / name))
    examples = [file for file in sorted((ROOT / "examples").rglob("*")) if file.suffix in LANGUAGES]
    for file in examples:
        _write(folder / _example_page(file), _listing(file))
    _write(folder / "examples" / "index.md", _examples_index(examples))
    for name, text in {**api.pages(), **commands.pages(), **recipe.pages()}.items():
        _write(folder / "reference" / name, text)
    pages = sorted(folder.rglob("*.md"))
    for page in pages:
        page.write_text(_relink(page.read_text(encoding="utf-8"), page, folder), encoding="utf-8")
    return pages


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _as_page(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    title = {"LICENSE": "Licence", "CITATION.cff": "How to cite"}[path.name]
    return f"# {title}\n\n```{'yaml' if path.suffix == '.cff' else 'text'}\n{text}```\n"


def _example_page(file: Path) -> str:
    return f"{file.relative_to(ROOT).with_suffix('').as_posix()}.md"


def _summary(file: Path) -> str:
    """Return the sentence that an example opens with."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        _, _, first = "".join(json.loads(text)["cells"][0]["source"]).partition("\n\n")
        return " ".join(first.partition(". ")[0].split()).rstrip(".") + "."
    found = re.search(r'^"""(.*?)(?:"""|\n\n)', text, re.DOTALL | re.MULTILINE) or re.search(r"^// ?(.*)$", text, re.M)
    if found is None:
        raise ValueError(f"{file}: must open with a docstring or a comment that says what it shows")
    return " ".join(found.group(1).split())


def _notebook(file: Path) -> str:
    """Return a notebook as a page, with the results that are stored in it."""
    parts = [f"`{file.relative_to(ROOT).as_posix()}`"]
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/png" in data:
                parts.append(f"![Output of the cell](data:image/png;base64,{data['image/png']})")
            else:
                parts.append("```text\n" + "".join(data["text/plain"]).rstrip() + "\n```")
    # The title of the page is the notebook's own.
    return "\n\n".join([parts[1], parts[0], *parts[2:]]) + "\n"


def _listing(file: Path) -> str:
    if file.suffix == ".ipynb":
        return _notebook(file)
    name = file.relative_to(ROOT).as_posix()
    return f"# {file.name}\n\n`{name}`\n\n```{LANGUAGES[file.suffix]}\n{file.read_text(encoding='utf-8')}```\n"


def _examples_index(examples: list[Path]) -> str:
    rows = [
        f"| [{file.relative_to(ROOT / 'examples').as_posix()}]({_example_page(file).removeprefix('examples/')}) "
        f"| {_summary(file)} |"
        for file in examples
    ]
    return "\n".join(["# Examples", "", "Programs that run as they are.", "", "| program | |", "|---|---|", *rows, ""])


def _relink(text: str, page: Path, folder: Path) -> str:
    """Point links that lead out of docs/ to the pages that show those files."""
    up = "../" * len(page.relative_to(folder).parent.parts)

    def target(match: re.Match[str]) -> str:
        path, anchor = match.group(1), match.group(2) or ""
        if (inside := path.removeprefix("docs/")) != path:
            return f"]({up}{inside}{anchor})"
        if path in PROJECT_FILES:
            return f"]({up}{PROJECT_FILES[path]}{anchor})"
        if path.startswith("examples/") and Path(path).suffix in LANGUAGES:
            return f"]({up}{Path(path).with_suffix('.md').as_posix()}{anchor})"
        return match.group(0)

    # Pages of the project itself link from the root of the repository, those of docs/ from one folder below it.
    return re.sub(r"\]\((?:\.\./)?((?:docs/|examples/|[A-Z]+)[^)#:\s]*)(#[^)\s]*)?\)", target, text)


if __name__ == "__main__":
    main()
