"""The JSB chorales: Bach's chorales in the split and the form in which polyphonic models are compared.

Boulanger-Lewandowski, Bengio and Vincent 2012 ("Modeling temporal dependencies in high-dimensional sequences", ICML)
trained on 229 chorales, validated on 76 and tested on 77, as piano rolls: the set of the pitches that sound at each
quarter note, every chorale in a key of C. Their files are not needed: `jsb_chorales.csv` in this folder lists for each
of them the score in music21 with the same chords, and what makes one of the other (`scripts/match_jsb_chorales.py`).
375 of the 382 have such a score.

    frame      the pitches that sound at one quarter note, a time step of the published figures
    MIDI file  one track; a frame lasts a beat and a second; a pitch of two frames in succession is one long note,
               because a piano roll does not tell a held note from a repeated one

With note-offs first and then by pitch, a piano roll gives one sequence of events and the other way round, so that the
likelihood of the events is one of the piano roll.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from composer.corpus import chorales
from composer.corpus.chorales import TIMING, Note, Source
from composer.music.events import Events

MANIFEST = Path(__file__).with_name("jsb_chorales.csv")


@dataclass(frozen=True, slots=True)
class JsbChorale:
    """A row of the manifest.

    Attributes:
        midi_filename: its file.
        work: name of its score in music21.
        split: the published part: `train`, `validation` or `test`.
        number: its place in that part, from 0.
        start: ticks from the beginning of the score to the first frame.
        step: ticks from frame to frame.
        transpose: semitones from the score to the published key.
        shared: share of the successions of three frames that both have, of both (Dice's coefficient).
        sha256: digest of its events.
    """

    midi_filename: str
    work: str
    split: str
    number: int
    start: int
    step: int
    transpose: int
    shared: float
    sha256: str


def manifest() -> list[JsbChorale]:
    """Return the rows of `jsb_chorales.csv`."""
    with MANIFEST.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        JsbChorale(
            row["midi_filename"],
            row["work"],
            row["split"],
            int(row["number"]),
            int(row["start"]),
            int(row["step"]),
            int(row["transpose"]),
            float(row["shared"]),
            row["sha256"],
        )
        for row in rows
    ]


def folder(cache: str | None) -> Path:
    """Return the folder of the MIDI files and their manifest; the first call makes it, in about a minute.

    Args:
        cache: value of `data.cache`.

    Raises:
        MissingExtra: music21 is not installed.
        ComposerError: a score of the installed music21 differs from the one for which the manifest was made.
    """
    sources = [Source(row.midi_filename, row.work, row.sha256, functools.partial(read, row)) for row in manifest()]
    return chorales.written(cache, "jsb_chorales", MANIFEST, sources)


def read(row: JsbChorale) -> Events:
    """Return the events of a chorale, in beats, one a frame."""
    notes = [note for voice in chorales.voices(row.work) for note in voice]
    return chorales.events(rolled(frames(notes, row.start, row.step), row.transpose))


def frames(notes: list[Note], start: int, step: int) -> list[frozenset[int]]:
    """Return the pitches that sound at `start` and after every `step` ticks, to the last end of a note.

    Args:
        notes: (onset, end, pitch) in ticks; a note sounds from its onset until before its end.
        start: of the first frame, ticks.
        step: from frame to frame, ticks.
    """
    end = max(end for _, end, _ in notes)
    return [frozenset(pitch for on, off, pitch in notes if on <= tick < off) for tick in range(start, end, step)]


def rolled(rows: list[frozenset[int]], transpose: int = 0) -> list[Note]:
    """Return the notes (onset, end, pitch) in ticks of a piano roll: a beat a frame, successive frames one note."""
    notes: list[Note] = []
    begun: dict[int, int] = {}
    for place, row in enumerate([*rows, frozenset[int]()]):
        for pitch in sorted(begun.keys() - row):
            notes.append((begun.pop(pitch) * TIMING.division, place * TIMING.division, pitch + transpose))
        begun |= dict.fromkeys(row - begun.keys(), place)
    return notes
