"""A piece as the input of a player: its score, its notes and its copied passages."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from composer.errors import ComposerError, MissingExtra
from composer.music.events import Piece
from composer.music.notes import Performance, from_piece
from composer.render.player import Player
from composer.score.engrave import notate, pages


def player(
    piece: Piece | Performance, title: str, subtitle: str = "", passages: Sequence[Mapping[str, Any]] = ()
) -> Player:
    """Return the player of a piece.

    If Verovio is not installed, or the piece is too long for a score, the player shows only the piano roll, and a
    warning gives the reason.

    Args:
        piece: the music.
        title: its heading.
        subtitle: a line below the heading.
        passages: copied passages, in the form of `Player`.

    Raises:
        ComposerError: the piece has no notes.
    """
    performance = from_piece(piece) if isinstance(piece, Piece) else piece
    notes: Sequence[Mapping[str, Any]]
    try:
        notation = notate(performance)
        notes, engraved = notation.notes, pages(notation.musicxml)
    except ComposerError as error:
        reason = str(error) if isinstance(error, MissingExtra) else f"{title}: no score ({error})"
        warnings.warn(reason, stacklevel=2)
        notes, engraved = plain(performance), []
    return Player(title=title, notes=notes, pages=engraved, passages=passages, subtitle=subtitle)


def plain(performance: Performance) -> list[dict[str, Any]]:
    """Return the notes without a score: `pitch`, `velocity`, `onset` and `duration` in seconds."""
    return [
        {
            "pitch": note.pitch,
            "velocity": note.velocity,
            "onset": round(note.onset_seconds, 6),
            "duration": round(note.duration_seconds, 6),
        }
        for note in performance.notes
    ]
