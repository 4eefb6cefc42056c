"""Check of a built site: every link, anchor and image leads somewhere in it, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes with an address, of the elements whose content a browser loads with the page.
_LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src"}


@dataclass
class _Page(HTMLParser):
    """The anchors of a page, the addresses it links to, and those it loads."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element has."""
        values = {name: value for name, value in attrs if value is not None}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in _LOADED and _LOADED[tag] in values:
            self.loaded.append(values[_LOADED[tag]])


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def faults(site: Path) -> list[str]:
    """Return one line per link that leads nowhere and per file that is loaded from elsewhere, with its page.

    Addresses outside the site are not visited: links to them must be https or mailto.
    """
    site = site.resolve()
    found = []
    for path in sorted(site.rglob("*.html")):
        page = _read(path)
        where = path.relative_to(site)
        found += [f"{where}: {fault}" for link in page.links if (fault := _fault(site, path, link, loaded=False))]
        found += [f"{where}: {fault}" for link in page.loaded if (fault := _fault(site, path, link, loaded=True))]
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"(?:url\(|@import) *[\"']?((?:https?:)?//[^\"')\s]+)", text)
        found += [f"{path.relative_to(site)}: loads {address}" for address in addresses]
    return sorted(set(found))


def _fault(site: Path, path: Path, link: str, *, loaded: bool) -> str | None:
    parts = urlsplit(link)
    if loaded and parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        if loaded:
            return f"loads {link}"
        return None if parts.scheme in ("https", "mailto", "data", "blob") else f"{link} is not https"
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if not target.is_relative_to(site):
        return f"{link} leaves the site"
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return f"{link} leads to no file"
    anchor = unquote(parts.fragment)
    # What follows #/ is for the script of the page.
    if anchor and target.suffix == ".html" and anchor not in _read(target).ids:
        return f"{link} leads to no anchor"
    return None
