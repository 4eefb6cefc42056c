"""Notes: strikes and releases paired, with their place in seconds and in the file's own beats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from composer.events import Piece
from composer.midi import Signatures, read_piece, read_signatures
from composer.schema import TimeUnit


@dataclass(frozen=True, slots=True)
class Note:
    """One sounding note.

    Attributes:
        pitch: MIDI number, 60 is middle C.
        velocity: 1 to 127.
        onset_seconds: strike, from the start of the piece, as performed.
        duration_seconds: until the release, as performed.
        onset_beats: strike in quarter notes as the file counts them, whatever the performer did.
        duration_beats: likewise.
    """

    pitch: int
    velocity: int
    onset_seconds: float
    duration_seconds: float
    onset_beats: float
    duration_beats: float

    @property
    def end_seconds(self) -> float:
        """The release, from the start of the piece."""
        return self.onset_seconds + self.duration_seconds


@dataclass(frozen=True, slots=True)
class Performance:
    """A piece as notes, in the order of their onsets, with what a MIDI file tells about its notation.

    Attributes:
        title: for the head of the score.
        notes: sorted by onset, then pitch.
        signatures: meters and key, where the file has any.
        program: General MIDI program, from 0.
    """

    title: str
    notes: tuple[Note, ...]
    signatures: Signatures
    program: int

    @property
    def end_seconds(self) -> float:
        """The last release."""
        return max(note.end_seconds for note in self.notes)


def from_piece(piece: Piece, signatures: Signatures | None = None, title: str | None = None) -> Performance:
    """The notes of a piece; its first tempo is taken to hold throughout.

    Raises:
        ValueError: the piece has no notes.
    """
    places = np.cumsum(piece.events.delta_time)
    per_unit = piece.timing.ticks(piece.events.time_unit)
    seconds = places * (per_unit / piece.timing.ticks_per_second)
    beats = places * (per_unit / piece.timing.ticks_per_beat)
    return _performance(piece, seconds, beats, signatures or Signatures((), None), title)


def from_file(
    path: Path, *, part: str = "first", drums: bool = False, clip: bool = False, title: str | None = None
) -> Performance:
    """The notes of one part of a MIDI file, through its tempo map.

    Args:
        path: the file.
        part: as for `composer.midi.read_piece`.
        drums: keep the drum channel.
        clip: read data bytes over 127 as 127.
        title: instead of the file's name.

    Raises:
        MidiError: the file cannot be read or has no notes in that part.
    """
    piece = read_piece(path, part=part, drums=drums, clip=clip)
    seconds = np.cumsum(piece.events.delta_time)
    if piece.timing.smpte:
        beats = seconds * piece.timing.ticks_per_second / piece.timing.ticks_per_beat
    else:
        counted = read_piece(path, part=part, time_unit=TimeUnit.beats, drums=drums, clip=clip)
        beats = np.cumsum(counted.events.delta_time)
    return _performance(piece, seconds, beats, read_signatures(path, clip=clip), title or path.stem)


def _performance(
    piece: Piece, seconds: np.ndarray, beats: np.ndarray, signatures: Signatures, title: str | None
) -> Performance:
    """Pair as `midi.playable_messages` does: a strike ends the same pitch, what still sounds ends with the piece."""
    strikes: list[tuple[int, int]] = []  # indices of events: strike, release
    sounding: dict[int, int] = {}
    pitches, velocities = piece.events.pitch.tolist(), piece.events.velocity.tolist()
    for index, (pitch, velocity) in enumerate(zip(pitches, velocities, strict=True)):
        if pitch in sounding:
            strikes.append((sounding.pop(pitch), index))
        if velocity:
            sounding[pitch] = index
    strikes += [(start, len(pitches) - 1) for start in sounding.values()]
    if not strikes:
        raise ValueError(f"{piece.name}: no notes")
    notes = [
        Note(
            pitch=pitches[start],
            velocity=velocities[start],
            onset_seconds=float(seconds[start]),
            duration_seconds=float(seconds[end] - seconds[start]),
            onset_beats=float(beats[start]),
            duration_beats=float(beats[end] - beats[start]),
        )
        for start, end in strikes
    ]
    notes.sort(key=lambda note: (note.onset_seconds, note.pitch))
    # A file's name may hold what no document can.
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title or piece.name)
    return Performance(printable, tuple(notes), signatures, piece.program)
