"""Events: the note messages of one part as arrays, with the properties needed to write them back as MIDI.

N = events of a piece
pitch      (N,) uint8    MIDI note number
velocity   (N,) uint8    0 is a note-off
delta_time (N,) float64  time since the previous event of the part (the first: since the start), in `time_unit`
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import TimeUnit
from composer.files import printable, user_path
from composer.music import prelude
from composer.music.markings import DEFAULT_MICROSECONDS_PER_BEAT, Excerpt, Markings

if TYPE_CHECKING:
    from composer.music.notes import Note

# Times are sums of floats: the rounding error that they may have, in their unit.
_TOLERANCE = 1e-9
# SMPTE's 29 stands for 30000/1001 frames per second.
_SMPTE_FRAMES_PER_SECOND = {24: (24, 1), 25: (25, 1), 29: (30_000, 1001), 30: (30, 1)}


@dataclass(frozen=True, slots=True)
class Timing:
    """Relation of ticks to time in a MIDI file.

    Attributes:
        division: the header's field: ticks per beat, or negative for SMPTE (frames per second and ticks per frame).
        microseconds_per_beat: the first tempo.
    """

    division: int = prelude.TICKS_PER_BEAT
    microseconds_per_beat: int = DEFAULT_MICROSECONDS_PER_BEAT

    @property
    def smpte(self) -> tuple[int, int] | None:
        """Ticks per second as a fraction (numerator, denominator), or None for ticks per beat."""
        if self.division > 0:
            return None
        frames = -(self.division >> 8)  # the high byte is signed
        numerator, denominator = _SMPTE_FRAMES_PER_SECOND[frames]
        return numerator * (self.division & 0xFF), denominator

    @property
    def ticks_per_second(self) -> float:
        """Ticks per second at the first tempo."""
        if self.smpte:
            return self.smpte[0] / self.smpte[1]
        return self.division * 1e6 / self.microseconds_per_beat

    @property
    def ticks_per_beat(self) -> float:
        """Ticks per beat; with SMPTE, which has no beats, those of MIDI's default tempo."""
        return self.division if self.division > 0 else self.ticks_per_second * DEFAULT_MICROSECONDS_PER_BEAT / 1e6

    def ticks(self, unit: TimeUnit) -> float:
        """Return the ticks per `unit` of time."""
        return self.ticks_per_second if unit is TimeUnit.seconds else self.ticks_per_beat


def valid_division(division: int) -> bool:
    """Return whether a header's division field is valid: not 0, and for SMPTE 24, 25, 29 or 30 frames per second."""
    if division > 0:
        return True
    return -(division >> 8) in _SMPTE_FRAMES_PER_SECOND and (division & 0xFF) > 0


@dataclass(frozen=True, slots=True)
class Events:
    """The note messages of one part (shapes and units at the head of this file)."""

    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    delta_time: NDArray[np.float64]
    time_unit: TimeUnit

    def __len__(self) -> int:
        return len(self.pitch)

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Events:
        return Events(self.pitch[part], self.velocity[part], self.delta_time[part], self.time_unit)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Notes of a file that were not read.

    Attributes:
        parts: notes of parts that `data.part` does not choose.
        drums: notes of the drum channel.
    """

    parts: int = 0
    drums: int = 0

    def __add__(self, other: LeftOut) -> LeftOut:
        return LeftOut(self.parts + other.parts, self.drums + other.drums)

    def __str__(self) -> str:
        """Describe the notes left out, with the keys that read them; return an empty text where there are none."""
        found = []
        if self.parts:
            found.append(f"{_notes(self.parts)} of other parts (data.part=all reads all parts)")
        if self.drums:
            found.append(f"{_notes(self.drums)} of the drum channel (data.drums=true reads it)")
        return "; ".join(found)


def _notes(count: int) -> str:
    return f"{count:,} {'note' if count == 1 else 'notes'}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: its events, and the properties needed to write it back as MIDI.

    Attributes:
        name: the file's name, or the title.
        program: General MIDI program of the part, from 0.
        markings: tempo map, time signatures and key signatures; without tempos, the tempo of `timing` holds throughout.
        left_out: notes of the file that are not among the events.
    """

    name: str
    events: Events
    timing: Timing = field(default_factory=Timing)
    program: int = 0
    markings: Markings = field(default_factory=Markings)
    left_out: LeftOut = field(default_factory=LeftOut)

    def __repr__(self) -> str:
        events = self.events
        length = float(events.delta_time.sum())
        return f"<Piece {self.name!r}, {len(events):,} events, {length:.1f} {events.time_unit.value}>"

    @property
    def tempo_map(self) -> Markings:
        """Markings with at least one tempo: the piece's own, or the tempo of its timing."""
        if self.markings.tempos:
            return self.markings
        # SMPTE files have no beats: ticks per beat are those of MIDI's default tempo.
        smpte = self.timing.smpte is not None
        tempo = DEFAULT_MICROSECONDS_PER_BEAT if smpte else self.timing.microseconds_per_beat
        return Markings(((0.0, tempo),), self.markings.meters, self.markings.keys)

    def seconds(self) -> NDArray[np.float64]:
        """Return the seconds (N,) from the start of the piece to each event, through the tempo map."""
        places = np.cumsum(self.events.delta_time)
        return self.tempo_map.seconds(places) if self.events.time_unit is TimeUnit.beats else places

    def beats(self) -> NDArray[np.float64]:
        """Return the beats (N,) from the start of the piece to each event, through the tempo map."""
        places = np.cumsum(self.events.delta_time)
        return places if self.events.time_unit is TimeUnit.beats else self.tempo_map.beats(places)

    # The methods below import when they are called: the modules that they use read and write pieces.

    @classmethod
    def from_notes(
        cls,
        notes: Iterable[Note | Sequence[float]],
        unit: TimeUnit | str = "seconds",
        *,
        name: str = "piece",
        program: int = 0,
        beats_per_minute: float = 120.0,
        meter: tuple[int, int] | None = None,
        ticks_per_beat: int = prelude.TICKS_PER_BEAT,
    ) -> Piece:
        """Return the piece of a list of notes, in any order.

        Times are rounded to ticks. A note ends at the latest where the next one of its pitch begins, and of several
        that begin together one remains, with the loudest velocity and the longest duration.

        Args:
            notes: (onset, duration, pitch, velocity) of each: onset from the start of the piece and duration above 0,
                both in `unit`; MIDI pitch from 0 to 127, 60 is middle C; velocity from 1 to 127. Or what `notes`
                returns.
            unit: `seconds` or `beats` (quarter notes), also of the events of the piece.
            name: the title.
            program: General MIDI program, from 0.
            beats_per_minute: the tempo, which relates beats to seconds.
            meter: the time signature, such as (3, 4); None writes none.
            ticks_per_beat: the resolution; the default 480 is about a thousandth of a second at 120 beats per minute.

        Raises:
            ComposerError: there is no note, or a value is outside its limits.
        """
        from composer.music.interchange import piece_of_notes

        return piece_of_notes(notes, unit, name, program, beats_per_minute, meter, ticks_per_beat)

    def notes(self) -> list[Note]:
        """Return the notes by onset, each with onset and duration in seconds and in beats, pitch and velocity."""
        from composer.music.notes import note_list

        return note_list(self)

    def save(self, path: str | Path) -> Path:
        """Write a MIDI file, all or nothing, every started note ended after at least a tick; return its path.

        Raises:
            ComposerError: the file cannot be written.
        """
        from composer.music.midi import write_midi

        write_midi(user_path(path), self, audible=True)
        return user_path(path)

    def piano_roll(self, steps: int = 12, unit: TimeUnit | str = "beats") -> NDArray[np.uint8]:
        """Return the piano roll (128, T): the velocity of each MIDI pitch at each step, 0 where it is silent.

        Args:
            steps: steps per unit of time; a note fills at least one.
            unit: `beats` (quarter notes) or `seconds`.

        Returns:
            (128, T) uint8: rows are MIDI pitches, from 0 on; column t is the time from t / steps to (t + 1) / steps.

        Raises:
            ComposerError: `steps` is below 1, or there is no such unit.
        """
        from composer.music.interchange import piano_roll

        return piano_roll(self, steps, unit)

    def to_pretty_midi(self) -> Any:
        """Return a `pretty_midi.PrettyMIDI`, with times in seconds.

        Raises:
            MissingExtra: pretty_midi is not installed.
        """
        from composer.music.interchange import to_pretty_midi

        return to_pretty_midi(self)

    def to_music21(self) -> Any:
        """Return a `music21.stream.Score` of one part, with times in quarter notes.

        Raises:
            MissingExtra: music21 is not installed.
        """
        from composer.music.interchange import to_music21

        return to_music21(self)

    def to_symusic(self) -> Any:
        """Return a `symusic.Score`, with times in ticks.

        Raises:
            MissingExtra: symusic is not installed.
        """
        from composer.music.interchange import to_symusic

        return to_symusic(self)

    def _repr_html_(self) -> str:
        # In a notebook a piece shows its player.
        from composer.api.display import piece_html

        return piece_html(self)


def title_of(name: str) -> str:
    """Return a readable title made from a file's name: `Fur Elise` for `fur-elise.mid`."""
    name = printable(name)
    stem = re.sub(r"\.(midi?|rmi|kar)$", "", name, flags=re.IGNORECASE)
    words = re.sub(r"[_\s-]+", " ", stem).strip()
    if stem == name or not words:
        return name  # a title already
    return words.title() if words.islower() else words


def in_unit(piece: Piece, unit: TimeUnit) -> Piece:
    """Return the piece with the times of its events in `unit`, through its tempo map."""
    if piece.events.time_unit is unit:
        return piece
    places = piece.beats() if unit is TimeUnit.beats else piece.seconds()
    times = np.maximum(np.diff(places, prepend=0.0), 0.0)
    return replace(piece, events=replace(piece.events, delta_time=times, time_unit=unit))


def excerpt_of(piece: Piece, first: int, count: int) -> Excerpt:
    """Return the place in a piece of `count` of its events, from number `first` on; `count` is at least 1."""
    places = [0.0, *piece.beats().tolist()]
    return Excerpt(piece.markings, places[first], places[first + count], places[-1])


def join(first: Events, second: Events) -> Events:
    """Return `first` followed by `second`, whose first delta counts from the last event of `first`."""
    assert first.time_unit is second.time_unit
    return Events(
        np.concatenate([first.pitch, second.pitch]),
        np.concatenate([first.velocity, second.velocity]),
        np.concatenate([first.delta_time, second.delta_time]),
        first.time_unit,
    )


def add_releases(
    events: Iterable[tuple[int, int, float]], longest: float, kept: int = 0
) -> Iterator[tuple[int, int, float]]:
    """Yield the events, with a note-off added wherever a note has sounded for `longest` without an end.

    Nothing else changes: every event keeps its place in time, and so does the note-off that comes too late.

    Args:
        events: (pitch, velocity, time since the event before).
        longest: duration in the same unit, above 0.
        kept: number of events at the beginning among which no note-off is added.
    """
    now, started = 0.0, dict[int, float]()
    for number, (pitch, velocity, wait) in enumerate(events):
        # Oldest first: a pitch that is started again moves to the end.
        for note, since in list(started.items()) if number >= kept else ():
            due = since + longest
            # A note-off due at the time of the event is not added: the event may be that note-off.
            if due >= now + wait - _TOLERANCE:
                break
            step = max(0.0, due - now)
            yield note, 0, step
            now, wait = now + step, wait - step
            del started[note]
        yield pitch, velocity, wait
        now += wait
        started.pop(pitch, None)
        if velocity:
            started[pitch] = now


def with_releases(events: Events, longest: float, kept: int = 0) -> Events:
    """Return the events after `add_releases`; `longest` is in their unit of time."""
    rows = zip(events.pitch.tolist(), events.velocity.tolist(), events.delta_time.tolist(), strict=True)
    found = list(add_releases(rows, longest, kept))
    if len(found) == len(events):
        return events
    pitch, velocity, wait = zip(*found, strict=True)
    return Events(np.array(pitch, np.uint8), np.array(velocity, np.uint8), np.array(wait, np.float64), events.time_unit)


def canonical(events: Events) -> Events:
    """Return the same events, those of one moment in an order that does not depend on the file.

    Note-offs of sounding notes come first, then note-ons, then note-offs of notes that begin at the same moment (a note
    without length must not be left sounding); each group by pitch, and equal pitches in the order of the file. The
    times keep their places: the first event of a moment has the time since the moment before.
    """
    moments = np.cumsum(events.delta_time > 0)
    ranks = np.empty(len(events), np.int64)
    sounding: dict[int, int] = {}
    moment, before = -1, sounding
    for k, (now, pitch, velocity) in enumerate(
        zip(moments.tolist(), events.pitch.tolist(), events.velocity.tolist(), strict=True)
    ):
        if now != moment:
            # The notes sounding as the moment begins: each takes one note-off.
            moment, before = now, dict(sounding)
        if velocity:
            ranks[k] = 1
            sounding[pitch] = sounding.get(pitch, 0) + 1
            continue
        ranks[k] = 2
        if before.get(pitch, 0):
            before[pitch] -= 1
            ranks[k] = 0
        if sounding.get(pitch, 0):
            sounding[pitch] -= 1
    order = np.lexsort((events.pitch, ranks, moments))
    return Events(events.pitch[order], events.velocity[order], events.delta_time, events.time_unit)


def prelude_piece(time_unit: TimeUnit) -> Piece:
    """Return the built-in piece as events: note-offs before note-ons at equal times, low pitches before high ones."""
    messages = []
    for note in prelude.prelude():
        messages.append((note.onset_beats, 1, note.pitch, note.velocity))
        messages.append((note.onset_beats + note.duration_beats, 0, note.pitch, 0))
    messages.sort()
    onsets = [message[0] for message in messages]
    # Differences of exact fractions: equal durations give equal floats.
    beats = [float(later - earlier) for earlier, later in zip([onsets[0] * 0, *onsets], onsets, strict=False)]
    microseconds = round(60e6 / prelude.BEATS_PER_MINUTE)
    seconds_per_beat = microseconds / 1e6 if time_unit is TimeUnit.seconds else 1.0
    events = Events(
        np.array([message[2] for message in messages], np.uint8),
        np.array([message[3] for message in messages], np.uint8),
        np.array(beats) * seconds_per_beat,
        time_unit,
    )
    markings = Markings(((0.0, microseconds),), ((0.0, *prelude.METER),), ((0.0, prelude.KEY),))
    return Piece(prelude.TITLE, events, Timing(prelude.TICKS_PER_BEAT, microseconds), prelude.PROGRAM, markings)
