"""Players of the gallery page: pieces that are there without training, and `make gallery`'s page where it was made."""

from __future__ import annotations

import html
import shutil
from dataclasses import dataclass
from pathlib import Path

from composer.commands import report
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.config.texts import quoted
from composer.files import write_text
from composer.music.events import prelude_piece
from composer.render.listening import player
from composer.render.player import piece_page
from composer.runs.layout import PRETRAINED


@dataclass(frozen=True, slots=True)
class Shown:
    """A page that plays: its address in the site, its heading and a line about it."""

    address: str
    heading: str
    text: str


def write_players(root: Path, folder: Path) -> str:
    """Write the pages that play into `folder`, and return the HTML that shows them on the gallery page.

    Args:
        root: of the checkout; its `build/gallery` is shown if `make gallery` made it.
        folder: what is copied into the site.
    """
    shown = [_pretrained(folder), _prelude(folder)]
    if (root / "build" / "gallery" / "index.html").is_file():
        shown.insert(0, _gallery(root / "build" / "gallery", folder))
    return "\n\n".join(map(_html, shown))


def _pretrained(folder: Path) -> Shown:
    address = f"players/{PRETRAINED}.html"
    output = folder / address
    output.parent.mkdir(parents=True, exist_ok=True)
    report.run(compose(f"folder={PRETRAINED}", f"output={quoted(str(output))}", command="report"))
    text = "The page of the run that comes with composer: the network is in it, and composes on from any place."
    return Shown(address, "The pretrained run", text)


def _prelude(folder: Path) -> Shown:
    piece = prelude_piece(TimeUnit.beats)
    address = "players/prelude.html"
    text = "The embedded piece, on which `make demo` trains."
    write_text(folder / address, piece_page(player(piece, piece.name, text.replace("`", ""))))
    return Shown(address, piece.name, text)


def _gallery(made: Path, folder: Path) -> Shown:
    (folder / "players" / "gallery").mkdir(parents=True, exist_ok=True)
    for path in made.glob("*.html"):
        shutil.copy(path, folder / "players" / "gallery")
    return Shown("players/gallery/index.html", "Four runs", "What the runs of make gallery compose.")


def _html(shown: Shown) -> str:
    title, text = html.escape(shown.heading), html.escape(shown.text.replace("`", ""))
    return (
        f'## {shown.heading}\n\n{text} <a href="{shown.address}">Open it as a page of its own.</a>\n\n'
        f'<iframe class="player" src="{shown.address}" title="{title}" loading="lazy" allow="midi"></iframe>'
    )
