"""Notes: note-ons and note-offs paired, as arrays for comparing music and as objects for showing it.

    N = notes of a piece

A note ends with the next message of its pitch, a note-off or another note-on; notes still sounding end with the
last event. `music.midi.playable_messages` writes by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer.config.data import Pedal
from composer.music.events import LeftOut, Piece
from composer.music.markings import Markings
from composer.music.midi import pedal_stretches, read_parts


@dataclass(frozen=True, slots=True)
class NoteArrays:
    """The notes of a piece as arrays, by onset, and by pitch within an onset.

    Attributes:
        name: of the piece.
        pitch: (N,) MIDI numbers.
        velocity: (N,) from 1 to 127.
        onset_seconds: (N,) from the beginning of the piece, also in an excerpt.
        duration_seconds: (N,) until the next message of the same pitch, or the last event.
        event: (N,) number of the note-on among the events of the piece.
        onset_beats, duration_beats: (N,) the same times in beats, through the piece's tempo map.
        markings: tempo, metre and key of the piece.
    """

    name: str
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    onset_seconds: NDArray[np.float64]
    duration_seconds: NDArray[np.float64]
    event: NDArray[np.int64]
    onset_beats: NDArray[np.float64]
    duration_beats: NDArray[np.float64]
    markings: Markings

    def __len__(self) -> int:
        return len(self.pitch)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> NoteArrays:
        return replace(
            self,
            pitch=self.pitch[part],
            velocity=self.velocity[part],
            onset_seconds=self.onset_seconds[part],
            duration_seconds=self.duration_seconds[part],
            onset_beats=self.onset_beats[part],
            duration_beats=self.duration_beats[part],
            event=self.event[part],
        )


def notes_of(piece: Piece) -> NoteArrays:
    """Return the notes of a piece, with times through its tempo map."""
    events = piece.events
    seconds, beats = piece.seconds(), piece.beats()
    # Events by pitch, then order: the event after a note-on ends the note if it has the same pitch.
    by_pitch = np.argsort(events.pitch, kind="stable")
    same = events.pitch[by_pitch[1:]] == events.pitch[by_pitch[:-1]]
    end = np.full(len(events), len(events) - 1, np.int64)
    end[by_pitch[:-1][same]] = by_pitch[1:][same]
    on = np.flatnonzero(events.velocity > 0)
    order = on[np.lexsort((events.pitch[on], seconds[on]))]
    return NoteArrays(
        piece.name,
        events.pitch[order].astype(np.int64),
        events.velocity[order].astype(np.int64),
        seconds[order],
        seconds[end[order]] - seconds[order],
        order,
        beats[order],
        beats[end[order]] - beats[order],
        piece.markings,
    )


def excerpts(pieces: list[NoteArrays], notes: int, most: int) -> list[NoteArrays]:
    """Return contiguous excerpts of `notes` notes of each piece: all, or `most` of them, spread evenly over all.

    A shorter piece is one excerpt if it has at least half as many notes.
    """
    parts = []
    for piece in pieces:
        whole = len(piece) // notes * notes
        parts += [piece[begin : begin + notes] for begin in range(0, whole, notes)]
        if not whole and 2 * len(piece) >= notes:
            parts.append(piece)
    if len(parts) > most:
        parts = [parts[k] for k in np.linspace(0, len(parts) - 1, most).round().astype(int)]
    return parts


@dataclass(frozen=True, slots=True)
class Note:
    """One sounding note.

    Attributes:
        pitch: MIDI number, 60 is middle C.
        velocity: 1 to 127.
        onset_seconds: note-on, from the start of the piece, as performed.
        duration_seconds: until the note-off, as performed.
        onset_beats: note-on in quarter notes of the file, which may differ from the beats that the performer played.
        duration_beats: until the note-off, in quarter notes of the file.
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
        """Seconds from the start of the piece to the note-off."""
        return self.onset_seconds + self.duration_seconds


@dataclass(frozen=True, slots=True)
class Performance:
    """A piece as notes, in the order of their onsets, with the markings of its MIDI file.

    Attributes:
        title: for the head of the score.
        notes: sorted by onset, then pitch.
        markings: tempo, metre and key of the file.
        program: General MIDI program, from 0.
        left_out: notes of the file that are not among these.
        programs: General MIDI program of each part, by `Note.part`; empty if all have `program`.
        pedal: where the sustain pedal is down, as (down, up) in beats of the file.
    """

    title: str
    notes: tuple[Note, ...]
    markings: Markings
    program: int
    left_out: LeftOut = LeftOut()
    programs: tuple[int, ...] = ()
    pedal: tuple[tuple[float, float], ...] = ()

    @property
    def end_seconds(self) -> float:
        """Seconds from the start of the piece to the last note-off."""
        return max(note.end_seconds for note in self.notes)


def from_piece(piece: Piece, title: str | None = None) -> Performance:
    """Return the notes of a piece, through its tempo map.

    Raises:
        ValueError: the piece has no notes.
    """
    return _performance([piece], piece, title)


def from_file(
    path: Path,
    *,
    part: str = "all",
    drums: bool = False,
    clip: bool = False,
    title: str | None = None,
    pedal: Pedal = Pedal.ignore,
) -> Performance:
    """Return the notes of a MIDI file, through its tempo map; the notes of each part end independently.

    Args:
        path: the file.
        part: as for `composer.music.midi.read_piece`.
        drums: keep the drum channel.
        clip: read data bytes over 127 as 127.
        title: replaces the title in the file, or the file's name.
        pedal: whether the sustain pedal makes notes last.

    Raises:
        MidiError: the file cannot be read or has no notes in that part.
    """
    parts = [played.piece for played in read_parts(path, part=part, drums=drums, clip=clip, pedal=pedal)]
    performance = _performance(parts, parts[0], title or (parts[0].name if parts[0].name != path.name else path.stem))
    return replace(performance, pedal=pedal_stretches(path))


def _performance(parts: Sequence[Piece], source: Piece, title: str | None) -> Performance:
    notes = [note for number, piece in enumerate(parts) for note in note_list(piece, number)]
    if not notes:
        raise ValueError(f"{source.name}: no notes")
    notes.sort(key=lambda note: (note.onset_seconds, note.pitch, note.part))
    # A file's name may hold characters that a document cannot.
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title or source.name)
    programs = tuple(piece.program for piece in parts)
    return Performance(printable, tuple(notes), source.markings, source.program, source.left_out, programs)


def note_list(piece: Piece, part: int = 0) -> list[Note]:
    """Return the notes of a piece by onset, and by pitch within an onset, as played by part number `part`."""
    found = notes_of(piece)
    return [
        Note(
            pitch=int(found.pitch[k]),
            velocity=int(found.velocity[k]),
            onset_seconds=float(found.onset_seconds[k]),
            duration_seconds=float(found.duration_seconds[k]),
            onset_beats=float(found.onset_beats[k]),
            duration_beats=float(found.duration_beats[k]),
            part=part,
        )
        for k in range(len(found))
    ]
