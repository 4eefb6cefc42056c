"""Sources of the site: Markdown that reads well on GitHub, copied to one folder with its links made for the site.

A link from a page to another page stays a link. One to a file that is no page leads to the repository where its address
is known (`project.urls.Repository` of pyproject.toml, or DOCS_REPOSITORY), and is plain text elsewhere.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError

# Pages that lie outside docs/: the file, and the page that it becomes.
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/first_piece.ipynb": "examples/first_piece.md",
    "examples/own_network.ipynb": "examples/own_network.md",
    "examples/extension/README.md": "examples/extension.md",
}
# Files and folders that another page stands for.
INSTEAD = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
    "docs": "index.md",
    "examples/extension": "examples/extension.md",
}
# Where the players of the gallery go in its page.
PLAYERS = "<!-- players -->"
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_CODE = r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\n).)*?(?<!`)(?P=ticks)(?!`)"
_LINK = re.compile(
    rf"{_CODE}|\[(?P<text>(?:`[^`]*`|[^\[\]`]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)|(?P<bare>\bdocs/[\w/.-]+\.md\b)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of a checkout.

    Attributes:
        root: of the checkout.
        pages: path of each source in the checkout, and of its page in the site.
        repository: address of the repository; None while there is none.
    """

    root: Path
    pages: dict[str, str]
    repository: str | None

    def target(self, source: str, target: str) -> str | None:
        """Return where a link of `source` leads in the site, or None if it leads nowhere in it.

        Raises:
            ComposerError: it leads to a file that does not exist.
        """
        if re.match(r"[a-z]+:|#", target):
            return target
        path, _, anchor = target.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (self.root / found).exists():
            raise ComposerError(f"{source}: the link {target} leads to no file")
        here = posixpath.dirname(self.pages[source]) or "."
        page = self.pages.get(found) or INSTEAD.get(found)
        if page is None and found.startswith("docs/"):
            page = found.removeprefix("docs/")
        if page is not None:
            return posixpath.relpath(page, here) + (f"#{anchor}" if anchor else "")
        if self.repository is None:
            return None
        kind = "tree" if (self.root / found).is_dir() else "blob"
        return f"{self.repository}/{kind}/HEAD/{found}" + (f"#{anchor}" if anchor else "")

    def rewrite(self, source: str, text: str) -> str:
        """Return the Markdown of a page with its links made for the site; code stays as it is.

        A link whose text is only the name of a file gets the title of the page or section that it leads to, and so
        does the bare name of a page.

        Raises:
            ComposerError: a link leads to a file that does not exist.
        """

        def link(match: re.Match[str]) -> str:
            if match["bare"]:
                page = posixpath.relpath(match["bare"], posixpath.dirname(source) or ".")
                return f"[]({self.target(source, page)})" if match["bare"] in self.pages else match[0]
            if not match["target"]:
                return match[0]
            target = self.target(source, match["target"])
            if target is None:
                return match["text"]
            named = re.fullmatch(r"[\w./-]+\.md", match["text"]) and ".md" in target and ":" not in target
            return f"[{'' if named else match['text']}]({target})"

        parts, end = [], 0
        for fence in _FENCE.finditer(text):
            parts += [_LINK.sub(link, text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, _LINK.sub(link, text[end:])])


def site_of(root: Path) -> Site:
    """Return the pages of a checkout."""
    pages = {path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix() for path in _pages(root)}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = os.environ.get("DOCS_REPOSITORY") or project.get("urls", {}).get("Repository")
    return Site(root, pages | OUTSIDE, address.rstrip("/") if address else None)


def write_sources(site: Site, folder: Path, players: str) -> None:
    """Write the sources of the site into an empty folder.

    Args:
        site: the pages.
        folder: where to.
        players: HTML of the players of the gallery.

    Raises:
        ComposerError: a link leads to no file, or the navigation lacks a page or names an unknown one.
    """
    docs = site.root / "docs"
    for name in ("images", "sounds"):
        shutil.copytree(docs / name, folder / name)
    shutil.copytree(docs / "site" / "api", folder / "api")
    for source, page in site.pages.items():
        path = site.root / source
        text = path.read_text(encoding="utf-8")
        text = from_notebook(text) if path.suffix == ".ipynb" else text
        text = site.rewrite(source, text).replace(PLAYERS, players)
        if page == "index.md":
            text += _contents(docs / "site" / "nav.toml", {*site.pages.values(), "api/index.rst"})
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(text, encoding="utf-8")


def from_notebook(text: str) -> str:
    """Return the cells of a notebook as Markdown, without their output."""
    parts = []
    for cell in json.loads(text)["cells"]:
        body = "".join(cell["source"])
        parts.append(f"```python\n{body}\n```" if cell["cell_type"] == "code" else body)
    return "\n\n".join(parts) + "\n"


def _pages(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in (root / "docs").rglob("*.md") if "site" not in path.parts)


def _contents(path: Path, pages: set[str]) -> str:
    """Return the hidden tables of contents that the navigation is made of."""
    sections = tomllib.loads(path.read_text(encoding="utf-8"))["section"]
    listed = [page for section in sections for page in section["pages"]]
    known = {page.rpartition(".")[0] for page in pages} - {"index"}
    if unknown := [page for page in listed if page not in known]:
        raise ComposerError(f"docs/site/nav.toml: there is no page {unknown[0]}")
    if missing := sorted(known - set(listed)):
        raise ComposerError(f"docs/site/nav.toml: no section lists the page {missing[0]}")
    trees = (
        "\n```{toctree}\n:hidden:\n:caption: " + section["title"] + "\n\n" + "\n".join(section["pages"]) + "\n```\n"
        for section in sections
    )
    return "\n" + "".join(trees)
