"""HTML players: notes, score pages and sound in one HTML file that needs no network.

The folder `page/` holds the template, the styles and the scripts, which are put together here. All external text is
escaped, and the page's Content-Security-Policy allows only the script with our digest, so that nothing else can run or
be loaded.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from composer.errors import ComposerError

PAGE = Path(__file__).with_name("page")
TEMPLATE = PAGE / "page.html"
# In the order in which they need each other.
SCRIPTS = (
    *("common", "notes", "tempo", "midi", "network", "compose", "piano", "playback"),
    *("score", "roll", "keyboard", "player", "main"),
)
# First bytes of sound files.
_SOUNDS = ((b"RIFF", "audio/wav"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"), (b"ID3", "audio/mpeg"))
# A table cell that is aligned right: a number with a sign, a unit or a spread.
_NUMBER = re.compile(r"[-+−±]?[\d.,]+(e[-+]?\d+)?( ?(%|s|ms|±|[-+−\d.,]+))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """One piece to play.

    Attributes:
        title: the heading.
        notes: each with `ids` (of its elements in the pages, several where it is tied; may be empty), `pitch` (MIDI
            note number), `velocity` (1 to 127), `onset` and `duration` (seconds), `staff` (from 1; may be left out),
            and `sounding` (seconds, where the sustain pedal makes it last longer). It is marked from its onset until
            just before onset + duration.
        pages: SVG texts of the score; without them the page shows only the piano roll.
        audio: a WAV, OGG, FLAC or MP3 file of the piece, from its beginning; without it the page synthesizes the sound.
        passages: copied passages, each with `start` and `end` (seconds), `source` (title of the original),
            `source_start` (seconds of the source) and `transposition` (semitones up); the last two are optional. Notes
            that begin in a passage are coloured; the first of overlapping passages counts.
        subtitle: a line below the title.
        name: of this version of the piece, where the page holds `others`.
        narrow: the pages of the score for a screen as narrow as a phone's.
        files: files to download by their suffix, `musicxml` and `pdf`; the page itself makes MIDI and WAV.
        metre: tempos and bars, as `Markings.segments` gives them; without it no bars are drawn.
        others: other versions, such as the original, shown and played at a switch; their audio is ignored.
    """

    title: str
    notes: Sequence[Mapping[str, Any]]
    pages: Sequence[str] = ()
    audio: bytes | None = None
    passages: Sequence[Mapping[str, Any]] = ()
    subtitle: str = ""
    name: str = ""
    narrow: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    metre: Mapping[str, Any] | None = None
    others: Sequence[Player] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture inside the page.

    Attributes:
        uri: the data of the picture, `data:image/...`.
        text: alternative text.
        caption: a line below it.
    """

    uri: str
    text: str
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: column heads and rows of text; numbers are aligned right, unless it is a `listing`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    listing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a gallery, shown in this order: heading, text, images, tables, players, text below.

    Attributes:
        text: plain text; an empty line begins a new paragraph.
        below: text after the players.
        link: a page beside this one, as its text and its file name.
        beside: show players side by side where the screen is wide enough.
    """

    heading: str
    text: str = ""
    images: Sequence[Image] = ()
    tables: Sequence[Table] = ()
    players: Sequence[Player] = ()
    below: str = ""
    link: tuple[str, str] | None = None
    beside: bool = False


def player_page(
    title: str,
    notes: Sequence[Mapping[str, Any]],
    pages: Sequence[str] = (),
    audio: bytes | None = None,
    passages: Sequence[Mapping[str, Any]] = (),
    subtitle: str = "",
) -> str:
    """Return a page that plays one piece; the arguments are those of `Player`.

    Returns:
        HTML; the same arguments give the same text.

    Raises:
        ComposerError: a number is missing or not finite, or `audio` has an unknown format.
    """
    return piece_page(Player(title=title, notes=notes, pages=pages, audio=audio, passages=passages, subtitle=subtitle))


def piece_page(player: Player, network: Mapping[str, Any] | None = None) -> str:
    """Return a page of one player; `network` as for `gallery_page`.

    Raises:
        ComposerError: as for `player_page`.
    """
    return _page(player.title, "single", _network(network) + _player(player, "h1"))


def gallery_page(
    title: str, sections: Sequence[Section], subtitle: str = "", network: Mapping[str, Any] | None = None
) -> str:
    """Return a page of sections with text, images, tables and any number of players, of which one plays at a time.

    Args:
        title: the heading.
        sections: in their order.
        subtitle: a line below the heading.
        network: a network with which the players compose, as `composing.page_network` gives it.

    Returns:
        HTML; the same arguments give the same text.

    Raises:
        ComposerError: as for `player_page`; an image is not inside its data URI, or a link leads out of the folder.
    """
    head = f"<h1>{_text(title)}</h1>" + (f"<p>{_text(subtitle)}</p>" if subtitle else "")
    contents = ""
    if len(sections) > 2:
        links = (f'<li><a href="#section-{i}">{_text(s.heading)}</a></li>' for i, s in enumerate(sections, 1))
        contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
    parts = (_section(section, number) for number, section in enumerate(sections, 1))
    top = f'{_network(network)}<header class="top">{head}{contents}</header>\n'
    return _page(title, "gallery", top + "\n".join(parts))


def packed(content: bytes) -> str:
    """Return bytes as the page unpacks them: a gzip file in base64, the same for the same bytes."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _network(network: Mapping[str, Any] | None) -> str:
    if network is None:
        return ""
    return f'<script type="application/json" id="network">{_json(dict(network))}</script>\n'


def _page(title: str, kind: str, body: str) -> str:
    template, style, script = _files()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src 'sha256-{digest}'",
            # Scores contain styles, which cannot load anything.
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
            "media-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    places = {
        **{"policy": policy, "title": _text(title), "kind": kind, "body": body},
        **{"style": style, "script": script},
    }
    # In one pass: text that was filled in is not substituted again.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: places[place[1]], template)


@cache
def _files() -> tuple[str, str, str]:
    """Return the template, the styles and the script of a page."""
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return TEMPLATE.read_text(encoding="utf-8"), style, f"\n{script}"


def _section(section: Section, number: int) -> str:
    parts = [f"<h2>{_text(section.heading)}</h2>", *_paragraphs(section.text)]
    parts += [_image(image) for image in section.images]
    parts += [_table(table) for table in section.tables]
    players = [_player(player, "h3") for player in section.players]
    parts += [f'<div class="beside">\n{"".join(players)}</div>'] if section.beside and players else players
    parts += _paragraphs(section.below)
    if section.link is not None:
        text, name = section.link
        if "/" in name or ":" in name:
            raise ComposerError(f"link {name!r}: only to a file in the same folder")
        parts.append(f'<p><a href="{_text(name)}">{_text(text)}</a></p>')
    return f'<section id="section-{number}">\n' + "\n".join(parts) + "\n</section>"


def _paragraphs(text: str) -> list[str]:
    return [f"<p>{_text(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip()]


def _image(image: Image) -> str:
    if not image.uri.startswith("data:image/"):
        raise ComposerError(f"image {image.text!r}: its address must begin with data:image/, so that the page holds it")
    caption = f"<figcaption>{_text(image.caption)}</figcaption>" if image.caption else ""
    return f'<figure><img src="{_text(image.uri)}" alt="{_text(image.text)}">{caption}</figure>'


def _table(table: Table) -> str:
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    right = [not table.listing and _numbers([row[k] for row in table.rows]) for k in range(len(table.columns))]
    head = "".join(_cell("th", name, number) for name, number in zip(table.columns, right, strict=True))
    rows = "".join(
        f"<tr>{''.join(_cell('td', text, number) for text, number in zip(row, right, strict=True))}</tr>"
        for row in table.rows
    )
    # A table wider than the page scrolls separately, also by keyboard.
    kind, label = "table listing" if table.listing else "table", _text(table.caption or "Table")
    return (
        f'<div class="{kind}" role="group" tabindex="0" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _numbers(cells: Sequence[str]) -> bool:
    """Return whether a column is numeric: at least half of its non-empty cells are numbers."""
    filled = [cell.strip() for cell in cells if cell.strip() not in ("", "-")]
    return 2 * sum(_NUMBER.fullmatch(cell) is not None for cell in filled) >= max(1, len(filled))


def _cell(kind: str, text: str, number: bool) -> str:
    # The corner of a table has no head.
    kind = kind if text else "td"
    attributes = (' scope="col"' if kind == "th" else "") + (' class="number"' if number else "")
    return f"<{kind}{attributes}>{_text(text)}</{kind}>"


def _player(player: Player, heading: str) -> str:
    subtitle = f"<p>{_text(player.subtitle)}</p>" if player.subtitle else ""
    return (
        f'<article class="player" aria-label="{_text(player.title)}" tabindex="-1">\n'
        f"<header><{heading}>{_text(player.title)}</{heading}>{subtitle}</header>\n"
        f'<script type="application/json">{_json(_data(player))}</script>\n'
        "</article>"
    )


def _data(player: Player) -> dict[str, Any]:
    """Return the input of the script."""
    audio = None if player.audio is None else _data_uri(player.title, player.audio)
    others = [_version(other) for other in player.others]
    return {"title": player.title, **_version(player), "audio": audio, "others": others}


def _version(player: Player) -> dict[str, Any]:
    """Return what the script shows of one version of a piece, its notes sorted by onset."""
    try:
        notes = [
            {
                "ids": [str(name) for name in note.get("ids", ())],
                "pitch": int(note["pitch"]),
                "velocity": int(note["velocity"]),
                "onset": float(note["onset"]),
                "duration": float(note["duration"]),
                "staff": int(note.get("staff", 1)),
                **({"sounding": float(note["sounding"])} if "sounding" in note else {}),
            }
            for note in player.notes
        ]
        passages = [
            {
                "start": float(passage["start"]),
                "end": float(passage["end"]),
                "source": str(passage["source"]),
                "from": float(passage["source_start"]) if "source_start" in passage else None,
                "transposition": int(passage.get("transposition", 0)),
            }
            for passage in player.passages
        ]
    except KeyError as error:
        raise ComposerError(f"{player.title}: a note or passage lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise ComposerError(f"{player.title}: a note or passage has a value that is no number ({error})") from error
    narrow = json.dumps(list(player.narrow), ensure_ascii=False).encode() if player.narrow else b""
    return {
        "name": player.name or player.title,
        "notes": sorted(notes, key=lambda note: (note["onset"], note["pitch"])),
        "passages": sorted(passages, key=lambda passage: passage["start"]),
        "pages": list(player.pages),
        "narrow": packed(narrow) if narrow else "",
        "files": {suffix: packed(content) for suffix, content in player.files.items()},
        "metre": None if player.metre is None else dict(player.metre),
    }


def _data_uri(title: str, audio: bytes) -> str:
    kinds = [kind for start, kind in _SOUNDS if audio.startswith(start)]
    # An MP3 without a tag begins with eleven ones.
    if not kinds and len(audio) > 1 and audio[0] == 0xFF and audio[1] >= 0xE0:
        kinds = ["audio/mpeg"]
    if not kinds:
        raise ComposerError(f"{title}: its audio is not WAV, OGG, FLAC or MP3")
    return f"data:{kinds[0]};base64,{base64.b64encode(audio).decode()}"


def _json(value: dict[str, Any]) -> str:
    """Return JSON for a script element: escaped so that no text in it can end the element or begin a comment."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ComposerError("a time of a note or passage is not finite") from error
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(text: str) -> str:
    return html.escape(text)
