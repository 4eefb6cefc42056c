"""A piece as the input of a player: its score, its notes and its copied passages."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from composer.errors import ComposerError, MissingExtra
from composer.music.events import Piece
from composer.music.notes import Performance, from_piece
from composer.render.player import Player
from composer.score.engrave import Notation, notate, pages, to_pdf


def player(
    piece: Piece | Performance,
    title: str,
    subtitle: str = "",
    passages: Sequence[Mapping[str, Any]] = (),
    *,
    name: str = "",
    others: Sequence[Player] = (),
    downloads: bool = True,
) -> Player:
    """Return the player of a piece.

    If Verovio is not installed, or the piece is too long for a score, the player shows only the piano roll, and a
    warning gives the reason.

    Args:
        piece: the music.
        title: its heading.
        subtitle: a line below the heading.
        passages: copied passages, in the form of `Player`.
        name: of this version, where there are others.
        others: other versions of the piece, at a switch.
        downloads: hold the score for a phone, and as MusicXML and PDF to download.

    Raises:
        ComposerError: the piece has no notes.
    """
    performance = from_piece(piece) if isinstance(piece, Piece) else piece
    shown = Player(title=title, notes=(), passages=passages, subtitle=subtitle, name=name, others=others)
    try:
        notation = notate(performance)
        engraved = pages(notation.musicxml)
    except ComposerError as error:
        reason = str(error) if isinstance(error, MissingExtra) else f"{title}: no score ({error})"
        warnings.warn(reason, stacklevel=2)
        return replace(shown, notes=plain(performance), metre=metre(performance))
    shown = replace(shown, notes=notation.notes, pages=engraved, metre=metre(performance, notation))
    if not downloads:
        return shown
    return replace(shown, narrow=pages(notation.musicxml, phone=True), files=files(notation.musicxml, engraved))


def files(musicxml: str, engraved: Sequence[str]) -> dict[str, bytes]:
    """Return the score as files to download: MusicXML, and a PDF if CairoSVG is installed."""
    found = {"musicxml": musicxml.encode()}
    try:
        return {**found, "pdf": to_pdf(list(engraved))} if engraved else found
    except MissingExtra:
        return found


def metre(performance: Performance, notation: Notation | None = None) -> dict[str, Any]:
    """Return tempos and bars for a player; they are not drawn where the beats of the file are not those played."""
    markings, end = performance.markings, max(note.onset_beats + note.duration_beats for note in performance.notes)
    stated = bool(markings.tempos or markings.meters)
    return markings.segments(end, drawn=stated and (notation is None or not notation.quantized.tracked))


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
