"""Bach's four-part chorales as MIDI files, made from the scores in the package music21, with a fixed split.

The 371 chorales of Riemenschneider's edition are 350 different scores in music21. Many share a tune, so the split keeps
tunes together; `chorales.csv` in this folder lists each score's part of the split, its tune, and a digest of its notes.

    MIDI file  one track of the four voices; a beat is a quarter note and lasts a second; note-offs first, then by pitch
"""

from __future__ import annotations

import csv
import functools
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from composer.config.data import TimeUnit
from composer.corpus.build_store import cache_folder
from composer.errors import ComposerError, MissingExtra
from composer.files import write_text
from composer.music.events import Events, Piece, Timing
from composer.music.midi import write_midi
from composer.progress import Counter

MANIFEST = Path(__file__).with_name("chorales.csv")
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
# Scores have neither dynamics nor tempo.
VELOCITY = 80
TIMING = Timing(division=480, microseconds_per_beat=1_000_000)
# To be increased when the same score would give other files.
_FORMAT = 1
# Onset, end and pitch of a note, in ticks.
Note = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Chorale:
    """A row of the manifest.

    Attributes:
        midi_filename: its file.
        work: name of its score in music21.
        numbers: numbers in Riemenschneider's edition, separated by spaces.
        tune: the group of the chorales with the same tune.
        split: `train`, `validation` or `test`.
        sha256: digest of its events.
    """

    midi_filename: str
    work: str
    numbers: str
    tune: int
    split: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """What makes a file of a corpus from music21.

    Attributes:
        midi_filename: the file.
        work: name of its score in music21.
        sha256: digest of its events.
        events: reads them from the score.
    """

    midi_filename: str
    work: str
    sha256: str
    events: Callable[[], Events]


def folder(cache: str | None) -> Path:
    """Return the folder of the MIDI files and their manifest; the first call creates it, in about a minute.

    Args:
        cache: value of `data.cache`.

    Raises:
        MissingExtra: music21 is not installed.
        ComposerError: a score of the installed music21 differs from the one for which the split was made.
    """
    sources = [Source(row.midi_filename, row.work, row.sha256, functools.partial(read, row.work)) for row in manifest()]
    return written(cache, "chorales", MANIFEST, sources)


def written(cache: str | None, name: str, listed: Path, sources: Sequence[Source]) -> Path:
    """Return the folder of a corpus from music21: its MIDI files, and the manifest that lists them.

    The files that an interrupted call has made are kept, and the next call continues.

    Args:
        cache: value of `data.cache`.
        name: of the source, as in `data=NAME`.
        listed: the manifest; other content has another folder.
        sources: of every file.

    Raises:
        MissingExtra: music21 is not installed.
        ComposerError: a score of the installed music21 differs from the one for which the manifest was made.
    """
    text = listed.read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{_FORMAT} {text}".encode()).hexdigest()[:12]
    place = cache_folder(cache) / name / digest
    done = place / listed.name
    if not done.exists():
        missing = [source for source in sources if not (place / source.midi_filename).exists()]
        counter = Counter("writing", "chorales", len(missing))
        for source in missing:
            _write(place, name, source)
            counter.advance()
        counter.close()
        # Last: its presence shows that all files are complete.
        write_text(done, text)
    return place


def manifest() -> list[Chorale]:
    """Return the rows of `chorales.csv`."""
    with MANIFEST.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Chorale(row["midi_filename"], row["work"], row["numbers"], int(row["tune"]), row["split"], row["sha256"])
        for row in rows
    ]


def _write(place: Path, name: str, source: Source) -> None:
    events = source.events()
    if digest(events) != source.sha256:
        raise ComposerError(
            f"data={name}: {source.work} in the installed music21 {_music21().__version__} is not the score for "
            "which the split was made; install the version in requirements/lock.txt"
        )
    write_midi(place / source.midi_filename, Piece(source.work, events, TIMING))


def works() -> Iterator[tuple[str, list[int]]]:
    """Yield the name of each score of the edition in music21, with its numbers in the edition (from 1)."""
    _music21()
    from music21 import corpus

    numbers: dict[str, list[int]] = {}
    found = corpus.chorales.Iterator(numberingSystem="riemenschneider", returnType="filename")
    for number, work in enumerate(found, 1):
        numbers.setdefault(work, []).append(number)
    yield from numbers.items()


def read(work: str) -> Events:
    """Return the events of a score, its four voices merged, in beats (quarter notes).

    A pitch held by two voices lasts until the later note-off, and begins again at every note-on.
    """
    return events([note for voice in voices(work) for note in voice])


def voices(work: str) -> list[list[Note]]:
    """Return the notes of each voice of a score, from the soprano down: (onset, end, pitch) in ticks.

    Instruments that double or accompany the voices are left out.
    """
    _music21()
    from music21 import corpus

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about details of the notation
        score = corpus.parse(work).stripTies()
    parts = list(score.parts)
    named = [next((part for part in parts if str(part.partName).startswith(voice)), None) for voice in VOICES]
    chosen: list[Any] = [part for part in named if part is not None] if None not in named else parts
    if len(chosen) != len(VOICES):
        raise ComposerError(f"{work}: has {len(chosen)} parts, and none named {', '.join(VOICES)}")
    return [part_notes(part) for part in chosen]


def part_notes(part: Any) -> list[Note]:
    """Return the notes of a part of a music21 score."""
    return [
        (_ticks(element.offset), _ticks(element.offset + element.duration.quarterLength), pitch.midi)
        for element in part.flatten().notes
        for pitch in element.pitches
        if element.duration.quarterLength > 0  # a grace note has no length
    ]


def events(notes: list[Note]) -> Events:
    """Return notes (onset, end, pitch) in ticks as events in beats: at one time note-offs first, then by pitch."""
    ends: dict[tuple[int, int], int] = {}
    for onset, end, pitch in notes:
        ends[pitch, onset] = max(end, ends.get((pitch, onset), end))
    messages: list[tuple[int, int, int]] = []  # tick, velocity, pitch
    by_pitch: dict[int, list[int]] = {}
    for pitch, onset in sorted(ends):
        by_pitch.setdefault(pitch, []).append(onset)
    for pitch, onsets in by_pitch.items():
        held = 0
        for k, onset in enumerate(onsets):
            # The longer of two voices counts, until either begins the pitch again.
            held = max(held, ends[pitch, onset])
            after = onsets[k + 1] if k + 1 < len(onsets) else held
            messages += [(onset, VELOCITY, pitch), (min(held, after), 0, pitch)]
    messages.sort()
    tick, velocity, pitches = (np.array(column) for column in zip(*messages, strict=True))
    return Events(
        pitches.astype(np.uint8),
        velocity.astype(np.uint8),
        np.diff(tick, prepend=0) / TIMING.division,
        TimeUnit.beats,
    )


def digest(events: Events) -> str:
    """Return the SHA-256 of the events, which identifies a score."""
    ticks = np.rint(np.cumsum(events.delta_time) * TIMING.division).astype("<i8")
    return hashlib.sha256(events.pitch.tobytes() + events.velocity.tobytes() + ticks.tobytes()).hexdigest()


def _ticks(quarters: Any) -> int:
    return round(float(quarters) * TIMING.division)


def _music21() -> Any:
    try:
        import music21
    except ImportError as error:
        raise MissingExtra("data=chorales needs music21: pip install 'lstm-composer[music21]'") from error
    return music21
