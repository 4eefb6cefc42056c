"""Fast reading of the messages of ordinary MIDI files, several times faster than with mido.

mido makes an object of every message. This walk over the bytes keeps the few kinds that reading a piece needs, and
returns None for every file that is not ordinary: damaged, truncated, with a data byte over 127 or an unusual meta
message. mido then reads the file, so that mido alone decides which files are refused, and why.
`tests/music/test_midi_bytes.py` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NOTE_OFF, NOTE_ON, CONTROL_CHANGE, PROGRAM_CHANGE = 0x80, 0x90, 0xB0, 0xC0
# Number of the sustain pedal's controller, the only controller that is kept.
PEDAL = 64
_META, _SYSEX, _TEXT, _NAME, _TEMPO, _METER = 0xFF, (0xF0, 0xF7), 0x01, 0x03, 0x51, 0x58
# Text event that marks the key signatures of a file as meant: other programs write C for an unknown key.
MARK = "composer"
# Meta messages of any content, and those of one length. Tempos are read; the rest (SMPTE offset, unusual key
# signatures) is left to mido.
_FREE_METAS = frozenset([*range(0x01, 0x10), 0x2F, 0x7F])
_FIXED_METAS = {0x00: 2, 0x20: 1, 0x21: 1, 0x51: 3, 0x58: 4}
_KEY_SIGNATURE = 0x59
# Names of key signatures from seven flats to seven sharps, as mido has them.
_MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR_KEYS = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
# A larger denominator of a time signature is damage: no note value is shorter.
_MAX_DENOMINATOR = 128
# Longest message that mido accepts.
_MAX_MESSAGE_BYTES = 1_000_000


@dataclass(slots=True)
class Track:
    """The messages of one track that reading a piece needs.

    Attributes:
        messages: (ticks from the start, status byte, first data byte, second data byte or 0) of notes, program
            changes and the sustain pedal.
        end: ticks from the start to the last message of any kind.
        tempos: (ticks from the start, microseconds per beat).
        meters: (ticks from the start, numerator, denominator) of the time signatures.
        keys: (ticks from the start, name) of the key signatures.
        name: the first name of the track; empty without one.
        marked: whether the track has the text `MARK`.
    """

    messages: list[tuple[int, int, int, int]]
    tempos: list[tuple[int, int]]
    end: int = 0
    meters: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    name: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """The parts of a file that reading a piece needs: its type, the header's division, and its tracks."""

    type: int
    division: int
    tracks: list[Track]


def of_mido(file: Any) -> Contents:
    """Return the contents of a `mido.MidiFile`."""
    tracks = []
    for messages in file.tracks:
        track, ticks = Track([], []), 0
        for message in messages:
            ticks += message.time
            if message.type in ("note_on", "note_off"):
                status = (NOTE_ON if message.type == "note_on" else NOTE_OFF) | message.channel
                track.messages.append((ticks, status, message.note, message.velocity))
            elif message.type == "program_change":
                track.messages.append((ticks, PROGRAM_CHANGE | message.channel, message.program, 0))
            elif message.type == "control_change" and message.control == PEDAL:
                track.messages.append((ticks, CONTROL_CHANGE | message.channel, PEDAL, message.value))
            elif message.type == "set_tempo":
                track.tempos.append((ticks, message.tempo))
            elif message.type == "time_signature":
                _add_meter(track, ticks, message.numerator, message.denominator)
            elif message.type == "key_signature":
                track.keys.append((ticks, message.key))
            elif message.type == "track_name" and not track.name:
                track.name = _text(message.name.encode("latin-1", "replace"))
            elif message.type == "text" and message.text == MARK:
                track.marked = True
        track.end = ticks
        tracks.append(track)
    return Contents(file.type, file.ticks_per_beat, tracks)


def scan(content: bytes) -> Contents | None:
    """Return the contents of an ordinary file, or None for a file that mido must read."""
    if content[:4] != b"MThd" or content[4:8] != b"\0\0\0\6" or len(content) < 14:
        return None
    kind = int.from_bytes(content[8:10], "big")
    count = int.from_bytes(content[10:12], "big", signed=True)
    if kind > 2 or count < 1:
        return None
    tracks, place = [], 14
    for _ in range(count):
        end = place + 8 + int.from_bytes(content[place + 4 : place + 8], "big")
        if content[place : place + 4] != b"MTrk" or end > len(content):
            return None
        try:
            track = _track(content, place + 8, end)
        except IndexError:
            return None
        if track is None:
            return None
        tracks.append(track)
        place = end
    return Contents(kind, int.from_bytes(content[12:14], "big", signed=True), tracks)


def _track(content: bytes, place: int, end: int) -> Track | None:
    """Return the track between two places, or None; raise an IndexError where the track exceeds the file."""
    track = Track([], [])
    add = track.messages.append
    ticks = running = 0
    while place < end:
        byte = content[place]
        place += 1
        if byte < 0x80:
            ticks += byte
        else:
            delta, place = _number(content, place - 1)
            ticks += delta
        status = content[place]
        if status < 0x80:
            status = running
            if not status:
                return None
        else:
            place += 1
            # A meta message keeps the running status; the status after system exclusive is left to mido.
            if status != _META:
                running = status if status < 0xF0 else 0
        if status >= 0xF0:
            if status != _META and status not in _SYSEX:
                return None
            kind = content[place] if status == _META else -1
            length, place = _number(content, place + (status == _META))
            data = content[place : place + length]
            place += length
            if len(data) != length or length > _MAX_MESSAGE_BYTES or not _ordinary(kind, data):
                return None
            if kind == _TEMPO:
                track.tempos.append((ticks, int.from_bytes(data, "big")))
            elif kind == _TEXT and data == MARK.encode():
                track.marked = True
            elif kind == _NAME and not track.name:
                track.name = _text(data)
            elif kind == _METER:
                _add_meter(track, ticks, data[0], 2 ** min(data[1], 8))
            elif kind == _KEY_SIGNATURE:
                names = _MINOR_KEYS if data[1] else _MAJOR_KEYS
                track.keys.append((ticks, names[int.from_bytes(data[:1], "big", signed=True) + 7]))
            continue
        first = content[place]
        if 0xC0 <= status < 0xE0:
            second = 0
            place += 1
        else:
            second = content[place + 1]
            place += 2
        if (first | second) & 0x80:
            return None
        if status < 0xA0 or status & 0xF0 == PROGRAM_CHANGE or (status & 0xF0 == CONTROL_CHANGE and first == PEDAL):
            add((ticks, status, first, second))
    track.end = ticks
    return track if place == end else None


def _text(data: bytes) -> str:
    """Return the text of a name: UTF-8, or Latin-1 where it is not, as older programs write it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.strip("\0 \t\r\n")


def _add_meter(track: Track, ticks: int, numerator: int, denominator: int) -> None:
    """Append a time signature to the track unless it is damaged."""
    if numerator and denominator <= _MAX_DENOMINATOR:
        track.meters.append((ticks, numerator, denominator))


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits per byte; return it and the place after it."""
    number = 0
    while True:
        byte = content[place]
        place += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place


def _ordinary(kind: int, data: bytes) -> bool:
    """Return whether mido accepts a meta message (or, for kind -1, a system exclusive one) without fail."""
    if kind == -1:
        return data.isascii()
    if kind == _KEY_SIGNATURE:
        return len(data) == 2 and (data[0] <= 7 or data[0] >= 0xF9) and data[1] <= 1
    return kind in _FREE_METAS or _FIXED_METAS.get(kind) == len(data)
