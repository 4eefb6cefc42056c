"""Pieces from lists of notes, as piano rolls, and as the objects of other music packages.

N = notes of a piece, T = steps of a piano roll
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import TimeUnit
from composer.errors import ComposerError, MissingExtra
from composer.music.events import Events, Piece, Timing
from composer.music.markings import Markings
from composer.music.midi import encode_midi
from composer.music.notes import Note, notes_of

_MAX_MICROSECONDS_PER_BEAT = (1 << 24) - 1  # of MIDI's tempo message
# A MIDI file of a piece has no larger division.
_MAX_TICKS_PER_BEAT = (1 << 15) - 1


def unit_of(unit: TimeUnit | str) -> TimeUnit:
    """Return the unit of time that `seconds` or `beats` names.

    Raises:
        ComposerError: the name is another.
    """
    try:
        return TimeUnit(unit)
    except ValueError as error:
        raise ComposerError(f"unit={unit}: must be seconds or beats") from error


def piece_of_notes(
    notes: Iterable[Note | Sequence[float]],
    unit: TimeUnit | str,
    name: str,
    program: int,
    beats_per_minute: float,
    meter: tuple[int, int] | None,
    ticks_per_beat: int,
) -> Piece:
    """Return the piece of a list of notes; see `Piece.from_notes` for the arguments and errors."""
    time_unit = unit_of(unit)
    _require(0 <= program <= 127, f"program={program}: must be from 0 to 127")
    _require(0 < ticks_per_beat <= _MAX_TICKS_PER_BEAT, f"ticks_per_beat={ticks_per_beat}: must be from 1 to 32767")
    fast = math.isfinite(beats_per_minute) and beats_per_minute > 0
    microseconds = round(60e6 / beats_per_minute) if fast else 0
    _require(
        1 <= microseconds <= _MAX_MICROSECONDS_PER_BEAT,
        f"beats_per_minute={beats_per_minute}: must be above 3.6 and at most 60 million",
    )
    if meter is not None:
        powers = [1 << power for power in range(7)]
        fits = 1 <= meter[0] <= 255 and meter[1] in powers
        _require(fits, f"meter={meter}: must be beats per bar from 1 to 255 and a note value of 1, 2, 4 ... 64")
    timing = Timing(ticks_per_beat, microseconds)
    messages: list[tuple[int, bool, int, int]] = []
    for pitch, spans in _without_overlaps(_spans(notes, time_unit, timing)).items():
        for start, end, velocity in spans:
            # Note-offs come first at equal ticks.
            messages += [(start, True, pitch, velocity), (end, False, pitch, 0)]
    _require(bool(messages), "notes: a piece needs at least one")
    messages.sort()
    ticks = [message[0] for message in messages]
    # Integers that are divided once, as when a file is read: equal times are equal floats.
    beats = time_unit is TimeUnit.beats
    factor, per_unit = (1, ticks_per_beat) if beats else (microseconds, ticks_per_beat * 1_000_000)
    deltas = [(later - earlier) * factor / per_unit for earlier, later in zip([0, *ticks], ticks, strict=False)]
    events = Events(
        np.array([message[2] for message in messages], np.uint8),
        np.array([message[3] for message in messages], np.uint8),
        np.array(deltas, np.float64),
        time_unit,
    )
    meters = () if meter is None else ((0.0, *meter),)
    return Piece(name, events, timing, program, Markings(((0.0, microseconds),), meters))


def _spans(
    notes: Iterable[Note | Sequence[float]], unit: TimeUnit, timing: Timing
) -> dict[int, list[tuple[int, int, int]]]:
    """Return (first tick, last tick, velocity) of the notes of each pitch, rising."""
    per_unit = timing.ticks(unit)
    spans: dict[int, list[tuple[int, int, int]]] = {}
    for number, given in enumerate(notes):
        onset, duration, pitch, velocity = _values(number, given, unit)
        start = round(onset * per_unit)
        # At least a tick, so that every note is heard.
        end = max(start + 1, round((onset + duration) * per_unit))
        spans.setdefault(int(pitch), []).append((start, end, int(velocity)))
    return {pitch: sorted(spans[pitch]) for pitch in sorted(spans)}


def _values(number: int, given: Note | Sequence[float], unit: TimeUnit) -> tuple[float, float, float, float]:
    """Return onset and duration in `unit`, pitch and velocity of a note, with every limit checked."""
    if isinstance(given, Note):
        beats = unit is TimeUnit.beats
        times = (given.onset_beats, given.duration_beats) if beats else (given.onset_seconds, given.duration_seconds)
        return *times, given.pitch, given.velocity
    try:
        onset, duration, pitch, velocity = (float(value) for value in given)
    except (TypeError, ValueError) as error:
        raise ComposerError(f"notes[{number}]: must be (onset, duration, pitch, velocity), not {given!r}") from error
    limits = {
        f"onset {onset:g} must be at least 0 and finite": math.isfinite(onset) and onset >= 0,
        f"duration {duration:g} must be above 0 and finite": math.isfinite(duration) and duration > 0,
        f"pitch {pitch:g} must be an integer from 0 to 127": pitch in range(128),
        f"velocity {velocity:g} must be an integer from 1 to 127": velocity in range(1, 128),
    }
    for limit, kept in limits.items():
        _require(kept, f"notes[{number}]: {limit}")
    return onset, duration, pitch, velocity


def _without_overlaps(spans: dict[int, list[tuple[int, int, int]]]) -> dict[int, list[tuple[int, int, int]]]:
    """Return the spans of each pitch with every note ended where the next of its pitch begins."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for pitch, own in spans.items():
        kept: list[tuple[int, int, int]] = []
        for start, end, velocity in own:
            if kept and kept[-1][0] == start:
                kept[-1] = (start, max(end, kept[-1][1]), max(velocity, kept[-1][2]))
                continue
            if kept and kept[-1][1] > start:
                kept[-1] = (kept[-1][0], start, kept[-1][2])
            kept.append((start, end, velocity))
        found[pitch] = kept
    return found


def _require(kept: bool, message: str) -> None:
    if not kept:
        raise ComposerError(message)


def piano_roll(piece: Piece, steps: int = 12, unit: TimeUnit | str = "beats") -> NDArray[np.uint8]:
    """Return the velocity of each pitch at each step; see `Piece.piano_roll` for the arguments and errors."""
    _require(steps >= 1, f"steps={steps}: must be at least 1")
    found = notes_of(piece)
    beats = unit_of(unit) is TimeUnit.beats
    onset = found.onset_beats if beats else found.onset_seconds
    duration = found.duration_beats if beats else found.duration_seconds
    first = np.rint(onset * steps).astype(np.int64)
    last = np.maximum(first + 1, np.rint((onset + duration) * steps).astype(np.int64))
    roll = np.zeros((128, int(last.max(initial=0))), np.uint8)
    # By onset: where two notes of a pitch share a step, the later one stands in it.
    for pitch, velocity, begin, end in zip(found.pitch, found.velocity, first, last, strict=True):
        roll[pitch, begin:end] = velocity
    return roll


def to_pretty_midi(piece: Piece) -> Any:
    """Return the piece as a `pretty_midi.PrettyMIDI`, with times in seconds.

    Raises:
        MissingExtra: pretty_midi is not installed.
    """
    try:
        import pretty_midi
    except ImportError as error:
        raise _missing("pretty_midi") from error
    return pretty_midi.PrettyMIDI(io.BytesIO(encode_midi(piece, audible=True)))


def to_symusic(piece: Piece) -> Any:
    """Return the piece as a `symusic.Score`, with times in ticks.

    Raises:
        MissingExtra: symusic is not installed.
    """
    try:
        import symusic
    except ImportError as error:
        raise _missing("symusic") from error
    return symusic.Score.from_midi(encode_midi(piece, audible=True))


def to_music21(piece: Piece) -> Any:
    """Return the piece as a `music21.stream.Score` of one part, with onsets and durations in quarter notes.

    The times are those of the piece; `composer render` writes a notated score.

    Raises:
        MissingExtra: music21 is not installed.
    """
    try:
        from music21 import instrument, key, metadata, meter, note, stream, tempo
    except ImportError as error:
        raise _missing("music21") from error
    part = stream.Part()  # type: ignore[no-untyped-call]
    part.insert(0, instrument.instrumentFromMidiProgram(piece.program))
    for place, microseconds in piece.tempo_map.tempos:
        part.insert(place, tempo.MetronomeMark(number=60e6 / microseconds))
    for place, numerator, denominator in piece.markings.meters:
        part.insert(place, meter.TimeSignature(f"{numerator}/{denominator}"))
    for place, name in piece.markings.keys:
        mode = "minor" if name.endswith("m") else "major"
        part.insert(place, key.Key(name.removesuffix("m").replace("b", "-"), mode))
    found = notes_of(piece)
    for number in range(len(found)):
        one = note.Note(int(found.pitch[number]), quarterLength=float(found.duration_beats[number]))
        one.volume.velocity = int(found.velocity[number])
        part.insert(float(found.onset_beats[number]), one)
    score = stream.Score([part])
    score.metadata = metadata.Metadata(title=piece.name)
    return score


def _missing(package: str) -> MissingExtra:
    return MissingExtra(f"to_{package}: needs the package {package}: pip install {package}")
