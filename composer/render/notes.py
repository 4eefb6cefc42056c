"""Notes: strikes and releases paired, with their place in seconds and in the file's own beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from composer.music.events import LeftOut, Piece
from composer.music.markings import Markings
from composer.music.midi import read_parts


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
        part: number of the part of the file that plays it, from 0.
    """

    pitch: int
    velocity: int
    onset_seconds: float
    duration_seconds: float
    onset_beats: float
    duration_beats: float
    part: int = 0

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
        markings: tempo, metre and key, where the file has any.
        program: General MIDI program, from 0.
        left_out: notes of the file that are not among these.
        programs: General MIDI program of each part, by `Note.part`; empty: `program` for all.
    """

    title: str
    notes: tuple[Note, ...]
    markings: Markings
    program: int
    left_out: LeftOut = LeftOut()
    programs: tuple[int, ...] = ()

    @property
    def end_seconds(self) -> float:
        """The last release."""
        return max(note.end_seconds for note in self.notes)


def from_piece(piece: Piece, title: str | None = None) -> Performance:
    """Return the notes of a piece, through its tempo map.

    Raises:
        ValueError: the piece has no notes.
    """
    return _performance([piece], piece, title)


def from_file(
    path: Path, *, part: str = "all", drums: bool = False, clip: bool = False, title: str | None = None
) -> Performance:
    """Return the notes of a MIDI file, through its tempo map, each part's with their own ends.

    Args:
        path: the file.
        part: as for `composer.music.midi.read_piece`.
        drums: keep the drum channel.
        clip: read data bytes over 127 as 127.
        title: instead of the title in the file, or the file's name.

    Raises:
        MidiError: the file cannot be read or has no notes in that part.
    """
    parts = [played.piece for played in read_parts(path, part=part, drums=drums, clip=clip)]
    return _performance(parts, parts[0], title or (parts[0].name if parts[0].name != path.name else path.stem))


def _performance(parts: Sequence[Piece], source: Piece, title: str | None) -> Performance:
    notes = [note for number, piece in enumerate(parts) for note in _notes(piece, number)]
    if not notes:
        raise ValueError(f"{source.name}: no notes")
    notes.sort(key=lambda note: (note.onset_seconds, note.pitch, note.part))
    # A file's name may hold what no document can.
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title or source.name)
    programs = tuple(piece.program for piece in parts)
    return Performance(printable, tuple(notes), source.markings, source.program, source.left_out, programs)


def _notes(piece: Piece, part: int) -> list[Note]:
    """Pair as `midi.playable_messages` does: a strike ends the same pitch, what still sounds ends with the piece."""
    strikes: list[tuple[int, int]] = []  # indices of events: strike, release
    sounding: dict[int, int] = {}
    pitches, velocities = piece.events.pitch.tolist(), piece.events.velocity.tolist()
    seconds, beats = piece.seconds(), piece.beats()
    for index, (pitch, velocity) in enumerate(zip(pitches, velocities, strict=True)):
        if pitch in sounding:
            strikes.append((sounding.pop(pitch), index))
        if velocity:
            sounding[pitch] = index
    strikes += [(start, len(pitches) - 1) for start in sounding.values()]
    return [
        Note(
            pitch=pitches[start],
            velocity=velocities[start],
            onset_seconds=float(seconds[start]),
            duration_seconds=float(seconds[end] - seconds[start]),
            onset_beats=float(beats[start]),
            duration_beats=float(beats[end] - beats[start]),
            part=part,
        )
        for start, end in strikes
    ]
