"""What a notebook shows: players in frames that are isolated and need no network."""

import html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import composer
from composer.api.display import MAX_PAGE_BYTES, piece_html, table_html
from composer.config.data import TimeUnit
from composer.music.events import prelude_piece
from composer.music.notes import from_piece
from composer.render.listening import plain
from composer.render.player import player_page
from tests.browser import in_browser, wait_until

NOTES = [(k / 4, 0.25, 60 + k % 12, 64) for k in range(32)]


def frame(page: str) -> dict[str, Any]:
    """The attributes of the only element, which must be a frame."""
    found: list[tuple[str, dict[str, Any]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(page)
    ((tag, attributes),) = found
    assert tag == "iframe"
    return attributes


def test_a_piece_shows_its_page_in_a_sandboxed_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verovio", None)
    piece = composer.Piece.from_notes(NOTES, name="one & 'two'")
    attributes = frame(piece._repr_html_())
    assert attributes["srcdoc"] == player_page("one & 'two'", plain(from_piece(piece)))
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["title"] == "one & 'two'"


def test_a_score_is_shown_where_verovio_is_installed() -> None:
    pytest.importorskip("verovio")
    shown = piece_html(composer.Piece.from_notes(NOTES, "beats"))
    assert "<svg" in html.unescape(shown)
    assert len(shown) < MAX_PAGE_BYTES
    assert len(piece_html(prelude_piece(TimeUnit.beats))) < MAX_PAGE_BYTES


@pytest.mark.slow
def test_a_long_piece_is_shown_without_its_score() -> None:
    long = composer.Piece.from_notes([(k / 4, 0.25, 40 + k % 40, 64) for k in range(3000)], "beats")
    page = frame(piece_html(long))["srcdoc"]
    assert "<svg xmlns" not in page
    assert len(page.encode()) < MAX_PAGE_BYTES


def test_a_page_loads_nothing_from_a_network() -> None:
    page = frame(piece_html(composer.Piece.from_notes(NOTES)))["srcdoc"]
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert "default-src 'none'" in page


def test_a_silent_piece_says_so() -> None:
    silent = composer.Piece.from_notes(NOTES, name="<b>")
    silent.events.velocity[:] = np.zeros(len(silent.events), np.uint8)
    assert piece_html(silent) == "<p>&lt;b&gt;: no notes</p>"


def test_a_composition_shows_what_it_saves(trained: composer.Run) -> None:
    composition = trained.generate(events=20)
    assert composition._repr_html_() == composition.written._repr_html_()
    assert frame(composition._repr_html_())["sandbox"] == "allow-scripts"


def test_text_in_a_table_is_escaped() -> None:
    page = table_html(["<a>"], [["&"]], "x<y")
    assert page == (
        "<table><caption>x&lt;y</caption><thead><tr><th>&lt;a&gt;</th></tr></thead>"
        "<tbody><tr><td>&amp;</td></tr></tbody></table>"
    )


@in_browser
def test_the_player_plays_inside_its_frame(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><body><p>A notebook</p>{piece_html(composer.Piece.from_notes(NOTES))}</body>")
    page, complaints = browser.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    (inner,) = [frame for frame in page.frames if frame is not page.main_frame]
    wait_until(inner, "players.every((p) => p.roll.shown)")
    inner.get_by_role("button", name="Play").click()
    wait_until(inner, "players[0].time > 0.2")
    # The sandbox gives the frame an origin of its own.
    assert inner.evaluate("window.origin") == "null"
    assert complaints == []
    page.close()
