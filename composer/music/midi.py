"""MIDI files to events, and back.

Reading keeps the note messages of one part; a `note_off` and a `note_on` of velocity 0 are the same event (the release
velocity is dropped), and the time of skipped messages is added to the next event, never lost. Times are computed in
exact integers and divided once, so that equal times in the file become equal floats.

One file of some 570 lines, because reading and writing share the rules of MIDI's messages and times.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import mido
import numpy as np

from composer.config.data import Order, Pedal, TimeUnit
from composer.errors import ComposerError, MidiError
from composer.files import read_regular, write_atomic
from composer.music.events import Events, LeftOut, Piece, Timing, canonical, title_of, valid_division
from composer.music.markings import DEFAULT_MICROSECONDS_PER_BEAT, Markings
from composer.music.midi_bytes import CONTROL_CHANGE, MARK, NOTE_ON, PROGRAM_CHANGE, Contents, MidiFault, Track, parse

DRUM_CHANNEL = 9  # counted from 0
# Lowest value of the sustain pedal's controller at which the pedal is down.
_PEDAL_DOWN = 64
# General MIDI: 16 families of 8 programs.
FAMILIES = (
    "piano",
    "chromatic_percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth_lead",
    "synth_pad",
    "synth_effects",
    "ethnic",
    "percussive",
    "sound_effects",
)
MIDI_SUFFIXES = (".mid", ".midi", ".rmi", ".kar")
# Limits far beyond any piece: a larger file, or a longer one (in seconds or in beats), is damaged or is not music.
MAX_FILE_BYTES = 4 << 20
MAX_PIECE_LENGTH = 7 * 24 * 3600


class _Message(NamedTuple):
    """A note message with its place: ticks from the start of its sequence."""

    ticks: int
    track: int
    channel: int
    program: int
    pitch: int
    velocity: int


def find_files(path: Path) -> list[Path]:
    """Return the MIDI file itself, or the MIDI files of a folder and its subfolders in the order of their names.

    Raises:
        MidiError: the path does not exist, or the folder holds no MIDI file.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in MIDI_SUFFIXES and p.is_file())
        if not files:
            raise MidiError(f"{path}: no .mid, .midi, .rmi or .kar file in this folder or below it")
        return files
    if not path.exists():
        raise MidiError(f"{path}: no such file or folder")
    return [path]


def read_piece(
    path: Path,
    *,
    part: str = "first",
    time_unit: TimeUnit = TimeUnit.seconds,
    drums: bool = False,
    clip: bool = False,
    order: Order = Order.file,
    pedal: Pedal = Pedal.ignore,
    content: bytes | None = None,
) -> Piece:
    """Read the notes of a MIDI file (type 0, 1 or 2) as one sequence of events.

    Where several parts (a track's notes on one channel) are read together, a pitch held by two of them sounds until
    the later note-off and begins again at every note-on; two note-ons of one pitch at one tick are one note, the
    louder. The notes of a single part stay as the file has them.

    Args:
        path: the file.
        part: `first` (the first track with notes; of a type 0 file its first channel with notes), `all` (merged),
            `track:N`, `channel:N` (both from 0), or `family:NAME` (a General MIDI family, such as `piano`).
        time_unit: seconds (the tempo map applied) or beats.
        drums: keep the drum channel.
        clip: read data bytes over 127 as 127, with a warning, instead of refusing the file.
        order: events of one moment as in the file, or in an order that does not depend on it (`events.canonical`).
        pedal: whether the sustain pedal makes notes last.
        content: bytes of the file, where it has been read already.

    Returns:
        The piece.

    Raises:
        MidiError: the file is missing, empty, truncated, not MIDI, without a valid time division, or has no notes in
            the part.
    """
    reading = _read(path, part, drums, clip, pedal, content)
    piece = _piece(path.name, [(_merge(s.messages), s.tempos) for s in reading.sequences], reading, path, time_unit)
    return replace(piece, events=canonical(piece.events)) if order is Order.canonical else piece


@dataclass(frozen=True, slots=True)
class PlayedPart:
    """A part of a file: the notes of one track on one channel.

    Attributes:
        track, channel: both from 0.
        piece: its events in beats, timed from the start of the file.
    """

    track: int
    channel: int
    piece: Piece


def read_parts(
    path: Path, *, part: str = "all", drums: bool = False, clip: bool = False, pedal: Pedal = Pedal.ignore
) -> list[PlayedPart]:
    """Read the parts of a MIDI file one by one, each with all of its notes, in the order of track and channel.

    See `read_piece` for the arguments and errors; times are in beats, and in seconds for a file in SMPTE frames. The
    pieces have the title of a file of type 0, where it has one, as their name.
    """
    reading = _read(path, part, drums, clip, pedal, None)
    unit = TimeUnit.seconds if reading.timing.smpte else TimeUnit.beats
    keys = sorted({(m.track, m.channel) for s in reading.sequences for m in s.messages})
    found = []
    for track, channel in keys:
        own = [
            ([m for m in s.messages if (m.track, m.channel) == (track, channel)], s.tempos) for s in reading.sequences
        ]
        own = [(messages, tempos) for messages, tempos in own if messages]
        if any(message.velocity for messages, _ in own for message in messages):
            found.append(PlayedPart(track, channel, _piece(reading.title or path.name, own, reading, path, unit)))
    return found


def pedal_stretches(path: Path) -> tuple[tuple[float, float], ...]:
    """Return where the sustain pedal is down in a MIDI file, as (down, up) in beats, in order and apart.

    The pedals of several channels count as one: it is down as long as any is. Empty for a file in SMPTE frames, which
    has no beats, and for one of type 2, whose tracks are separate pieces.

    Raises:
        MidiError: the file cannot be read.
    """
    file = _parse(path, load(path), clip=True)
    if file.type == 2 or not valid_division(file.division) or Timing(file.division).smpte:
        return ()
    moves = sorted(
        (message[0], message[1] & 0x0F, message[3] >= _PEDAL_DOWN)
        for track in file.tracks
        for message in track.messages
        if message[1] & 0xF0 == CONTROL_CHANGE
    )
    found: list[tuple[float, float]] = []
    down: set[int] = set()
    begun = 0
    for ticks, channel, pressed in moves:
        before = bool(down)
        (down.add if pressed else down.discard)(channel)
        if down and not before:
            begun = ticks
        elif before and not down and ticks > begun:
            found.append((begun / file.division, ticks / file.division))
    end = max((track.end for track in file.tracks), default=0)
    return (*found, (begun / file.division, end / file.division)) if down and end > begun else tuple(found)


class _Sequence(NamedTuple):
    """Tracks that play together: the chosen messages, and (tick, microseconds per beat) of every tempo."""

    messages: list[_Message]
    tempos: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Reading:
    """Messages chosen from a file, and the count of those left out."""

    sequences: list[_Sequence]
    timing: Timing
    markings: Markings
    left_out: LeftOut
    title: str


def _read(path: Path, part: str, drums: bool, clip: bool, pedal: Pedal, content: bytes | None) -> _Reading:
    """Choose the messages of a part; see `read_piece` for the arguments and errors."""
    file = _parse(path, load(path) if content is None else content, clip)
    division = file.division
    if not valid_division(division):
        raise MidiError(f"{path}: its header's division is {division}, so it has no times; export the file again")
    # The tracks of a type 2 file are independent sequences, each with its own tempo; else there is one tempo map.
    sequences = [[track] for track in range(len(file.tracks))] if file.type == 2 else [list(range(len(file.tracks)))]
    choose = _chooser(part)
    chosen: list[_Sequence] = []
    left_out, numbers = LeftOut(), list[int]()
    for tracks in sequences:
        messages = _messages({track: file.tracks[track] for track in tracks}, extend=pedal is Pedal.extend)
        pitched = [m for m in messages if drums or m.channel != DRUM_CHANNEL]
        # One sequence is the first part of a type 2 file.
        kept = [] if chosen and part == "first" else choose(pitched, file.type)
        left_out += LeftOut(
            _count_note_ons(pitched) - _count_note_ons(kept), _count_note_ons(messages) - _count_note_ons(pitched)
        )
        if kept:
            tempos = _tempo_map(file.tracks[track].tempos for track in tracks)
            if any(microseconds == 0 for _, microseconds in tempos):
                raise MidiError(
                    f"{path}: a tempo of 0 microseconds per beat, so it has no times; export the file again"
                )
            chosen.append(_Sequence(kept, tempos))
            numbers += tracks
    if not any(message.velocity for sequence in chosen for message in sequence.messages):
        hint = "" if part in ("first", "all") else " (data.part=all takes all parts)"
        drums_hint = "" if drums else "; the drum channel is left out, data.drums=true keeps it"
        raise MidiError(f"{path}: no notes in part {part}{hint}{drums_hint}")
    timing = Timing(division, chosen[0].tempos[0][1])
    first = [file.tracks[number] for number in (numbers[:1] if file.type == 2 else numbers)]
    # In files of several tracks the first name is often that of an instrument.
    title = file.tracks[0].name if file.type == 0 else ""
    return _Reading(chosen, timing, _markings(first, chosen[0].tempos, timing), left_out, title)


def _count_note_ons(messages: list[_Message]) -> int:
    return sum(message.velocity > 0 for message in messages)


def _markings(tracks: list[Track], tempos: list[tuple[int, int]], timing: Timing) -> Markings:
    """Return the tempo map and signatures of tracks that play together; empty where the file has no beats."""
    if timing.smpte:
        return Markings()
    division = timing.division
    # Of several signatures at one place the last holds.
    meters = {ticks: (above, below) for track in tracks for ticks, above, below in track.meters}
    keys = {ticks: name for track in reversed(tracks) for ticks, name in track.keys}
    if all(name == "C" for name in keys.values()) and not any(track.marked for track in tracks):
        # Programs that know no key write C.
        keys = {}
    changes: list[tuple[float, int]] = []
    for ticks, tempo in dict(tempos).items():
        if not changes or changes[-1][1] != tempo:
            changes.append((ticks / division, tempo))
    return Markings(
        tuple(changes),
        tuple((ticks / division, *meters[ticks]) for ticks in sorted(meters)),
        tuple((ticks / division, keys[ticks]) for ticks in sorted(keys)),
    )


def _piece(
    name: str,
    parts: list[tuple[list[_Message], list[tuple[int, int]]]],
    reading: _Reading,
    path: Path,
    time_unit: TimeUnit,
) -> Piece:
    """Return the messages of successive sequences as one piece."""
    if reading.timing.smpte and time_unit is TimeUnit.beats:
        raise MidiError(f"{path}: its times are SMPTE frames, without beats; use encoding.time_unit=seconds")
    deltas: list[float] = []
    for messages, tempos in parts:
        try:
            deltas += _deltas([m.ticks for m in messages], tempos, reading.timing, time_unit)
        except OverflowError:
            deltas.append(math.inf)
    if sum(deltas) > MAX_PIECE_LENGTH:
        raise MidiError(f"{path}: lasts more than {MAX_PIECE_LENGTH:,} {time_unit.name}, so its times are damaged")
    messages = [message for chosen, _ in parts for message in chosen]
    events = Events(
        np.array([m.pitch for m in messages], np.uint8),
        np.array([m.velocity for m in messages], np.uint8),
        np.array(deltas, np.float64),
        time_unit,
    )
    return Piece(name, events, reading.timing, messages[0].program, reading.markings, reading.left_out)


def _merge(messages: list[_Message]) -> list[_Message]:
    """Merge the messages of several parts into those of one instrument, by the rule of `read_piece`."""
    if len({(m.track, m.channel) for m in messages}) == 1:
        return messages
    merged: list[_Message] = []
    # By pitch: the parts that hold it, and the place in `merged` of its latest note-on.
    holding: dict[int, set[tuple[int, int]]] = {}
    started: dict[int, int] = {}
    for message in messages:
        part, pitch = (message.track, message.channel), message.pitch
        parts = holding.setdefault(pitch, set())
        if message.velocity:
            latest = started.get(pitch)
            again = latest is not None and merged[latest].ticks == message.ticks
            if again and parts and part not in parts:
                assert latest is not None
                louder = max(merged[latest].velocity, message.velocity)
                merged[latest] = merged[latest]._replace(velocity=louder)
            else:
                started[pitch] = len(merged)
                merged.append(message)
            parts.add(part)
        elif not parts:
            merged.append(message)  # a note-off without a note-on, as in the file
        elif part in parts:
            parts.remove(part)
            if not parts:
                merged.append(message)
    return merged


def load(path: Path) -> bytes:
    """Read the bytes of a file that may be MIDI.

    Raises:
        MidiError: it cannot be read, or is far larger than any piece.
    """
    return read_regular(path, MAX_FILE_BYTES, MidiError)


def _parse(path: Path, content: bytes, clip: bool) -> Contents:
    if not content:
        raise MidiError(f"{path}: an empty file")
    try:
        found, ignored = parse(content, clip=clip)
    except MidiFault as error:
        raise MidiError(f"{path}: {error}") from error
    if told := str(ignored):
        warnings.warn(f"{path}: ignored {told}", stacklevel=2)
    return found


def _messages(tracks: dict[int, Track], *, extend: bool = False) -> list[_Message]:
    """Return the note messages of tracks that play together, in the order of their ticks.

    A program holds for its channel whichever track sets it, and a note-off has the program of its note-on.

    Args:
        tracks: by number.
        extend: delay note-offs while the sustain pedal of their channel is down: until it comes up, the pitch begins
            again, or the last track ends.
    """
    timed = [(message[0], number, *message[1:]) for number, track in tracks.items() for message in track.messages]
    if len(tracks) > 1:
        # Stable: messages of one tick keep the order of their tracks and of the file.
        timed.sort(key=lambda entry: entry[0])
    messages: list[_Message] = []
    programs: dict[int, int] = {}
    started: dict[tuple[int, int], int] = {}
    down: set[int] = set()
    # Delayed note-offs, by channel and pitch.
    held: dict[tuple[int, int], list[_Message]] = {}

    def release(ticks: int, keys: Iterable[tuple[int, int]]) -> None:
        messages.extend(release._replace(ticks=ticks) for key in keys for release in held.pop(key, []))

    for ticks, number, status, first, second in timed:
        channel, kind = status & 0x0F, status & 0xF0
        if kind == PROGRAM_CHANGE:
            programs[channel] = first
            continue
        if kind == CONTROL_CHANGE:
            if extend and second >= _PEDAL_DOWN:
                down.add(channel)
            elif extend:
                down.discard(channel)
                release(ticks, sorted(key for key in held if key[0] == channel))
            continue
        velocity = second if kind == NOTE_ON else 0
        program = programs.get(channel, 0)
        key = (channel, first)
        if velocity:
            if held:
                release(ticks, [key])
            started[key] = program
        else:
            program = started.pop(key, program)
        event = _Message(ticks, number, channel, program, first, velocity)
        if velocity or channel not in down:
            messages.append(event)
        else:
            held.setdefault(key, []).append(event)
    release(max((track.end for track in tracks.values()), default=0), sorted(held))
    return messages


def _tempo_map(tracks: Iterable[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return (tick, microseconds per beat) of every tempo, in order, from tick 0."""
    tempos = sorted((tempo for track in tracks for tempo in track), key=lambda tempo: tempo[0])
    if not tempos or tempos[0][0] > 0:
        tempos.insert(0, (0, DEFAULT_MICROSECONDS_PER_BEAT))
    return tempos


def _deltas(ticks: list[int], tempos: list[tuple[int, int]], timing: Timing, unit: TimeUnit) -> list[float]:
    """Return the time since the previous of `ticks` (the first: since 0), through the tempo map, in `unit`."""
    if unit is TimeUnit.beats:
        positions, per_unit = ticks, timing.division
    elif timing.smpte:
        numerator, denominator = timing.smpte
        positions, per_unit = [tick * denominator for tick in ticks], numerator
    else:
        positions, per_unit = _tempo_positions(ticks, tempos), timing.division * 1_000_000
    # Python's integers are exact at any size, and so is their quotient to the last bit.
    return [(later - earlier) / per_unit for earlier, later in zip([0, *positions], positions, strict=False)]


def _tempo_positions(ticks: list[int], tempos: list[tuple[int, int]]) -> list[int]:
    """Return the sum of ticks times microseconds per beat up to each tick."""
    positions = []
    segment, start = 0, 0
    for tick in ticks:
        while segment + 1 < len(tempos) and tempos[segment + 1][0] <= tick:
            start += (tempos[segment + 1][0] - tempos[segment][0]) * tempos[segment][1]
            segment += 1
        positions.append(start + (tick - tempos[segment][0]) * tempos[segment][1])
    return positions


def check_part(part: str) -> None:
    """Raise a `ComposerError` unless `part` is one that `read_piece` takes."""
    _chooser(part)


def _chooser(part: str) -> Callable[[list[_Message], int], list[_Message]]:
    """Return a function that selects the messages of the part from those of a sequence, given the file's type."""
    kind, _, value = part.partition(":")
    if part == "all":
        return lambda messages, file_type: messages
    if part == "first":
        return _first_part
    if kind in ("track", "channel") and value.isdecimal():
        number = int(value)
        return lambda messages, file_type: [m for m in messages if getattr(m, kind) == number]
    if kind == "family" and value in FAMILIES:
        family = FAMILIES.index(value)
        return lambda messages, file_type: [m for m in messages if m.program // 8 == family]
    families = ", ".join(FAMILIES)
    raise ComposerError(
        f"data.part={part}: must be first, all, track:N, channel:N, or family:NAME with a NAME of {families}"
    )


def _first_part(messages: list[_Message], file_type: int) -> list[_Message]:
    sounding = [m for m in messages if m.velocity]
    if not sounding:
        return []
    if file_type == 0:  # one track: its parts are its channels
        return [m for m in messages if m.channel == sounding[0].channel]
    first = min(m.track for m in sounding)
    return [m for m in messages if m.track == first]


def write_midi(path: Path, piece: Piece, *, audible: bool = False) -> None:
    """Write a piece as a type 0 MIDI file, all or nothing.

    The events are made playable: a note-off of a silent pitch is not written, a pitch that begins while it sounds is
    released first, and the notes still sounding at the end are released there. Their times are kept.

    Args:
        path: the file; its folder is created.
        piece: written with its tempo map, time signatures and key signatures; times are rounded to the nearest tick
            from the start, so that rounding does not add up.
        audible: let every note last at least one tick; see `audible_messages`.

    Raises:
        ComposerError: the file cannot be written.
    """
    file = _midi_file(piece, audible)
    write_atomic(path, lambda stream: file.save(file=stream))


def encode_midi(piece: Piece, *, audible: bool = False) -> bytes:
    """Return a piece as the bytes of the file that `write_midi` writes."""
    stream = io.BytesIO()
    _midi_file(piece, audible).save(file=stream)
    return stream.getvalue()


def _midi_file(piece: Piece, audible: bool) -> Any:
    """Return the `mido.MidiFile` of a piece; see `write_midi`."""
    file = mido.MidiFile(type=0, ticks_per_beat=piece.timing.division, charset="utf-8")
    track = mido.MidiTrack()
    file.tracks.append(track)
    messages = playable_messages(piece)
    timed = [
        (tick, mido.Message("note_on", note=pitch, velocity=velocity))
        for tick, pitch, velocity in (audible_messages(messages) if audible else messages)
    ]
    # The time before note-offs that are left out at the end counts too.
    end = max([0, *(tick for tick, _ in timed[-1:]), *_ticks(piece)[-1:]])
    # Before the notes of their tick; a change after the end has no effect.
    metas = [(tick, message) for tick, message in _meta_messages(piece) if tick <= end]
    timed = sorted([*metas, *timed], key=lambda entry: entry[0])
    written = 0
    for tick, message in [*timed, (end, mido.MetaMessage("end_of_track"))]:
        track.append(message.copy(time=tick - written))
        written = tick
    return file


def _meta_messages(piece: Piece) -> list[tuple[int, Any]]:
    """Return (tick, message) of tempo, program, metre and key; the tempo and the program come first."""
    markings, timing = piece.markings, piece.timing
    tempos = markings.tempos if markings.tempos and not timing.smpte else ((0.0, timing.microseconds_per_beat),)
    if tempos[0][0] > 0:
        tempos = ((0.0, DEFAULT_MICROSECONDS_PER_BEAT), *tempos)
    per_beat = timing.ticks_per_beat
    messages = [(round(place * per_beat), mido.MetaMessage("set_tempo", tempo=tempo)) for place, tempo in tempos]
    messages.insert(1, (0, mido.Message("program_change", program=piece.program)))
    # The name of the first track is the title of the piece (the standard MIDI file specification calls it so).
    messages.append((0, mido.MetaMessage("track_name", name=title_of(piece.name))))
    for place, numerator, denominator in markings.meters:
        if numerator <= 255 and denominator & (denominator - 1) == 0:
            message = mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)
            messages.append((round(place * per_beat), message))
    messages += [
        (round(place * per_beat), mido.MetaMessage("key_signature", key=name)) for place, name in markings.keys
    ]
    if markings.keys:
        messages.append((0, mido.MetaMessage("text", text=MARK)))
    return sorted(messages, key=lambda entry: entry[0])


def playable_messages(piece: Piece) -> list[tuple[int, int, int]]:
    """Return (ticks from the start, pitch, velocity), with every note ended and no note-off of a silent pitch."""
    events, ticks = piece.events, _ticks(piece)
    messages: list[tuple[int, int, int]] = []
    sounding: dict[int, int] = {}
    for tick, pitch, velocity in zip(ticks, events.pitch.tolist(), events.velocity.tolist(), strict=True):
        if pitch in sounding:
            messages.append((tick, pitch, 0))
            del sounding[pitch]
        if velocity:
            messages.append((tick, pitch, velocity))
            sounding[pitch] = tick
    if sounding:
        # At least one tick, so that a note begun by the last event is audible.
        end = max(ticks[-1], max(sounding.values()) + 1)
        messages += [(end, pitch, 0) for pitch in sounding]
    return messages


def audible_messages(messages: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return playable messages in which every note lasts at least one tick.

    Some programs drop a note that ends at the tick at which it begins, and MIDI does not define its sound. Its note-off
    moves to the next tick; where the pitch begins again at the same tick, the first of the two notes is dropped.

    Args:
        messages: (ticks from the start, pitch, velocity), as `playable_messages` gives them.
    """
    # (tick, 0 for a note-off that was moved: it comes before a note-on of that tick, place in the file), message
    placed: list[tuple[tuple[int, int, int], tuple[int, int, int]]] = []
    started: dict[int, int] = {}
    delayed: dict[int, int] = {}
    gone: set[int] = set()
    for place, (tick, pitch, velocity) in enumerate(messages):
        moved = velocity == 0 and messages[started[pitch]][0] == tick
        if velocity:
            if pitch in delayed and messages[delayed[pitch]][0] == tick:
                gone |= {started[pitch], delayed[pitch]}
            started[pitch] = place
        elif moved:
            delayed[pitch] = place
        placed.append(((tick + moved, 1 - moved, place), (tick + moved, pitch, velocity)))
    return [message for (_, _, place), message in sorted(placed) if place not in gone]


def _ticks(piece: Piece) -> list[int]:
    """Return the ticks from the start to each event, rounded to the nearest."""
    if len(piece.markings.tempos) > 1:
        return [round(place * piece.timing.ticks_per_beat) for place in piece.beats().tolist()]
    # One tempo: no need to go through the tempo map.
    per_unit = piece.timing.ticks(piece.events.time_unit)
    return [round(place * per_unit) for place in np.cumsum(piece.events.delta_time).tolist()]
