"""Pieces of MIDI files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from composer.config.data import Order, Pedal
from composer.errors import ComposerError
from composer.files import user_path
from composer.music.events import Piece
from composer.music.interchange import unit_of
from composer.music.midi import read_piece

Option = TypeVar("Option", Order, Pedal)


def read(
    path: str | Path,
    *,
    part: str = "all",
    unit: str = "seconds",
    drums: bool = False,
    clip: bool = False,
    order: str = "file",
    pedal: str = "ignore",
) -> Piece:
    """Read the notes of a MIDI file.

    >>> piece = composer.read("my.mid", part="track:0")     # doctest: +SKIP
    >>> piece.notes()[0].pitch                              # doctest: +SKIP

    The arguments are keys of the config group `data`, and have its values where they are not given.

    Args:
        path: the file, of type 0, 1 or 2.
        part: `all` (merged), `first` (with notes), `track:N`, `channel:N` (both from 0), or `family:NAME` (a General
            MIDI family, such as `piano`).
        unit: unit of the times of the events: `seconds` or `beats` (quarter notes).
        drums: keep the drum channel.
        clip: read data bytes over 127 as 127, with a warning, instead of refusing the file.
        order: simultaneous events as in the `file`, or `canonical`: note-offs first, then note-ons, each by pitch.
        pedal: `extend` lets a released note last while the sustain pedal is down; `ignore` does not.

    Raises:
        ComposerError: the file is missing, damaged or without notes in the part, or an argument has no such value.
    """
    return read_piece(
        user_path(path),
        part=part,
        time_unit=unit_of(unit),
        drums=drums,
        clip=clip,
        order=_option("order", order, Order),
        pedal=_option("pedal", pedal, Pedal),
    )


def _option(key: str, value: str, options: type[Option]) -> Option:
    try:
        return options(value)
    except ValueError as error:
        raise ComposerError(f"{key}={value}: must be one of {', '.join(o.value for o in options)}") from error
