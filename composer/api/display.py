"""HTML for notebooks: a player of a piece, and short tables."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from typing import Any

from composer.music.events import Piece, title_of
from composer.music.notes import Performance, from_piece
from composer.render.listening import plain, player
from composer.render.player import piece_page, player_page

# A notebook stores every output: a longer page has no score.
MAX_PAGE_BYTES = 1_000_000
# Heights of the frame in pixels: with a score, and of a piano roll alone.
_WITH_SCORE, _ROLL_ALONE = 640, 400


def piece_html(piece: Piece) -> str:
    """Return a frame with a page that plays the piece: its score, if Verovio is installed, its piano roll, and sound.

    The page needs no network. In its sandboxed frame it cannot reach the notebook, nor the notebook's styles the page.
    A piece whose page would be larger than `MAX_PAGE_BYTES` is shown without its score.
    """
    title = title_of(piece.name)
    if not bool((piece.events.velocity > 0).any()):
        return f"<p>{html.escape(title)}: no notes</p>"
    performance = from_piece(piece, title)
    page, height = _score_page(performance), _WITH_SCORE
    if page is None or len(page.encode()) > MAX_PAGE_BYTES:
        page, height = player_page(title, plain(performance)), _ROLL_ALONE
    # Between single quotes, of which a page has few; a score has thousands of double ones.
    escaped = page.replace("&", "&amp;").replace("'", "&#39;")
    return (
        f'<iframe title="{html.escape(title)}" sandbox="allow-scripts" allow="autoplay" '
        f"style=\"width: 100%; height: {height}px; border: 0\" srcdoc='{escaped}'></iframe>"
    )


def _score_page(performance: Performance) -> str | None:
    """Return the page with the score of a piece; None where there is none."""
    with warnings.catch_warnings():
        # The reason why there is no score: the piano roll is shown then.
        warnings.simplefilter("ignore")
        shown = player(performance, performance.title, downloads=False)
    return piece_page(shown) if shown.pages else None


def table_html(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Return a table, every text in it escaped."""

    def row(cells: Sequence[Any], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(str(cell))}</{kind}>" for cell in cells) + "</tr>"

    head = f"<thead>{row(columns, 'th')}</thead>" if columns else ""
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}{head}<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"
