"""Reading of the messages of MIDI files, several times faster than with mido, which makes an object of every message.

This walk over the bytes keeps the few kinds that reading a piece needs. It reads over what other programs read over,
where mido refuses a file, and says at which byte a file is wrong. `tests/music/test_midi_bytes.py` holds it to mido on
files that mido reads; `scripts/compare_readers.py` compares it with symusic and pretty_midi.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NOTE_OFF, NOTE_ON, CONTROL_CHANGE, PROGRAM_CHANGE = 0x80, 0x90, 0xB0, 0xC0
# Number of the sustain pedal's controller, the only controller that is kept.
PEDAL = 64
_META, _SYSEX, _TEXT, _NAME, _TEMPO, _METER = 0xFF, (0xF0, 0xF7), 0x01, 0x03, 0x51, 0x58
# Text event that marks the key signatures of a file as meant: other programs write C for an unknown key.
MARK = "composer"
_KEY_SIGNATURE = 0x59
# The lengths of meta messages that are read, and their names.
_LENGTHS = {_TEMPO: 3, _METER: 4, _KEY_SIGNATURE: 2}
_NAMES = {_TEMPO: "tempo", _METER: "time signature", _KEY_SIGNATURE: "key signature"}
# Data bytes of system messages that have some.
_SYSTEM_DATA = {0xF1: 1, 0xF2: 2, 0xF3: 1}
# The standard allows four; some writers pad with zeros.
_MAX_NUMBER_BYTES = 8
# Names of key signatures from seven flats to seven sharps, as mido has them.
_MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR_KEYS = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
# A larger denominator of a time signature is damage: no note value is shorter.
_MAX_DENOMINATOR = 128


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


class MidiFault(Exception):
    """What is wrong with the bytes of a file, and at which byte: for a message, without the file's name."""


class Ignored:
    """What of a file was read over, with the place of the first of each kind."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, what: str, which: str, place: int) -> None:
        """Count one of a kind, `what` in the singular, `which` behind it, at a byte of the file."""
        count, first = self.found.get((what, which), (0, place))
        self.found[what, which] = count + 1, first

    def __str__(self) -> str:
        told = []
        for (what, which), (count, place) in self.found.items():
            first = f"byte {place:,}" if count == 1 else f"the first at byte {place:,}"
            told.append(f"{count:,} {what}{'s' * (count > 1)} {which} ({first})")
        return ", ".join(told)


def parse(content: bytes, *, clip: bool = False) -> tuple[Contents, Ignored]:
    """Read the bytes of a standard MIDI file, also one in a RIFF file (`.rmi`).

    What other programs read over is read over, and counted: meta messages of a wrong length or value, chunks that are
    no tracks, messages that a file cannot have, and the tracks and bytes after the last track.

    Args:
        content: of the file.
        clip: read data bytes over 127 as 127.

    Returns:
        The contents, and what was ignored.

    Raises:
        MidiFault: the file is no MIDI file, or is cut short, or a message in it cannot be told from its data.
    """
    ignored = Ignored()
    place = _in_riff(content) if content[:4] == b"RIFF" else 0
    if content[place : place + 4] != b"MThd":
        raise MidiFault("not a MIDI file (it does not begin with MThd)")
    length = int.from_bytes(content[place + 4 : place + 8], "big")
    if len(content) < place + 14 or length < 6:
        raise MidiFault(f"truncated: its header ends at byte {len(content):,}")
    kind, count, division = (
        int.from_bytes(content[place + k : place + k + 2], "big", signed=k > 8) for k in (8, 10, 12)
    )
    if kind > 2:
        ignored.add("type", f"{kind} in its header, read as 1", place + 8)
    tracks: list[Track] = []
    place += 8 + length
    while place < len(content) and len(tracks) < count:
        name, begin = content[place : place + 4], place + 8
        end = begin + int.from_bytes(content[place + 4 : begin], "big")
        if name != b"MTrk":
            if begin > len(content) or end > len(content) or not name.isascii():
                raise MidiFault(f"damaged: byte {place:,} begins neither a track nor another chunk")
            ignored.add("chunk", f"named {name.decode('ascii', 'replace')!r}", place)
        else:
            try:
                tracks.append(_track(content, begin, end, clip, ignored))
            except IndexError as error:
                raise MidiFault(
                    f"truncated: the file ends at byte {len(content):,}, in the middle of track {len(tracks)}"
                ) from error
        place = end
    if len(tracks) < count:
        raise MidiFault(f"truncated: the file ends at byte {len(content):,}, after {len(tracks)} of {count} tracks")
    if content.find(b"MTrk", place) == place and place < len(content):
        ignored.add("track", "more than the header counts", place)
    return Contents(min(kind, 2) if kind < 3 else 1, division, tracks), ignored


def _in_riff(content: bytes) -> int:
    """Return where the MIDI file in a RIFF file begins: the chunk `data` of the form `RMID`."""
    place = 12
    while content[8:12] == b"RMID" and place + 8 <= len(content):
        if content[place : place + 4] == b"data":
            return place + 8
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    raise MidiFault("not a MIDI file (a RIFF file of another kind)")


def _track(content: bytes, place: int, end: int, clip: bool, ignored: Ignored) -> Track:
    """Return the track between two places.

    Raises:
        IndexError: the track exceeds the file.
        MidiFault: see `parse`.
    """
    track = Track([], [])
    add = track.messages.append
    ticks = running = 0
    if end > len(content):
        if content[-3:] != b"\xff\x2f\0":
            raise IndexError
        # The length is wrong, but the track has an end.
        ignored.add("track length", "beyond the end of the file", place - 4)
        end = len(content)
    while place < end:
        begin, byte = place, content[place]
        place += 1
        if byte < 0x80:
            ticks += byte
        else:
            delta, place = _number(content, place - 1)
            ticks += delta
        status = content[place]
        if status < 0x80:
            # The running status goes on after meta and system exclusive messages: no file means anything else.
            status = running
            if not status:
                raise MidiFault(f"damaged: byte {place:,} is a data byte, and no status byte stands before it")
        else:
            place += 1
            if status < 0xF0:
                running = status
        if status >= 0xF0:
            place = _system(content, place, status, ticks, track, ignored)
            continue
        first = content[place]
        if 0xC0 <= status < 0xE0:
            second = 0
            place += 1
        else:
            second = content[place + 1]
            place += 2
        if (first | second) & 0x80:
            if not clip:
                at = place - 1 if first < 0x80 else place - (1 if 0xC0 <= status < 0xE0 else 2)
                raise MidiFault(f"byte {at:,} is {content[at]}, a data byte over 127; data.clip=true reads it as 127")
            ignored.add("message", "with data bytes over 127, read as 127", begin)
            first, second = min(first, 127), min(second, 127)
        if status < 0xA0 or status & 0xF0 == PROGRAM_CHANGE or (status & 0xF0 == CONTROL_CHANGE and first == PEDAL):
            add((ticks, status, first, second))
    if place > end:
        raise MidiFault(f"damaged: a message at byte {begin:,} goes beyond the end of its track at byte {end:,}")
    track.end = ticks
    return track


def _system(content: bytes, place: int, status: int, ticks: int, track: Track, ignored: Ignored) -> int:
    """Read a meta or system message, whose status byte stands before `place`; return the place after it."""
    if status not in (_META, *_SYSEX):
        # Messages of a cable, which a file cannot have.
        ignored.add("system message", "that no file can have", place - 1)
        return place + _SYSTEM_DATA.get(status, 0)
    kind = content[place] if status == _META else -1
    length, place = _number(content, place + (status == _META))
    data = content[place : place + length]
    if len(data) != length:
        raise IndexError
    if kind in _LENGTHS and len(data) != _LENGTHS[kind]:
        ignored.add(_NAMES[kind], "of a wrong length", place)
    elif kind == _TEMPO:
        track.tempos.append((ticks, int.from_bytes(data, "big")))
    elif kind == _TEXT and data == MARK.encode():
        track.marked = True
    elif kind == _NAME and not track.name:
        track.name = _text(data)
    elif kind == _METER:
        _add_meter(track, ticks, data[0], 2 ** min(data[1], 8))
    elif kind == _KEY_SIGNATURE:
        sharps = int.from_bytes(data[:1], "big", signed=True)
        if -7 <= sharps <= 7 and data[1] <= 1:
            track.keys.append((ticks, (_MINOR_KEYS if data[1] else _MAJOR_KEYS)[sharps + 7]))
        else:
            ignored.add("key signature", "of no key", place)
    return place + length


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
    number, begin = 0, place
    while True:
        byte = content[place]
        place += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place
        if place - begin > _MAX_NUMBER_BYTES:
            raise MidiFault(f"damaged: a number of more than {_MAX_NUMBER_BYTES} bytes at byte {begin:,}")
