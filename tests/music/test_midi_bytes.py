"""The walk over a file's bytes reads what mido reads, and reads over what other programs read over."""

from __future__ import annotations

import io
import random
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.data import TimeUnit
from composer.music.events import prelude_piece
from composer.music.midi import read_piece, write_midi
from composer.music.midi_bytes import (
    CONTROL_CHANGE,
    MARK,
    NOTE_OFF,
    NOTE_ON,
    PEDAL,
    PROGRAM_CHANGE,
    Contents,
    MidiFault,
    Track,
    parse,
)

MUTATIONS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "fuzz_midi.py"))["MUTATIONS"]
Build = Callable[..., Path]


def readable(name: str) -> str:
    """A name as mido reads it, one character a byte, in UTF-8 where it is that."""
    data = name.encode("latin-1", "replace")
    try:
        return data.decode("utf-8").strip("\0 \t\r\n")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 \t\r\n")


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
                if message.denominator <= 128 and message.numerator:
                    track.meters.append((ticks, message.numerator, message.denominator))
            elif message.type == "key_signature":
                track.keys.append((ticks, message.key))
            elif message.type == "track_name" and not track.name:
                track.name = readable(message.name)
            elif message.type == "text" and message.text == MARK:
                track.marked = True
        track.end = ticks
        tracks.append(track)
    return Contents(file.type, file.ticks_per_beat, tracks)


def agrees(content: bytes) -> bool:
    """Whether mido reads it; then the walk finds the same, unless it tells what it ignored."""
    try:
        expected = of_mido(mido.MidiFile(file=io.BytesIO(content)))
    except Exception:  # mido raises many kinds
        return False
    try:
        found, ignored = parse(content)
    except MidiFault:
        return False  # mido reads on over the end of a track
    if str(ignored):
        return False
    # mido takes data bytes after a system message for another one of its kind.
    assert found == expected or any(byte >= 0xF0 and byte != 0xFF for byte in content)
    return found == expected


@pytest.mark.slow
def test_real_files_are_read_as_by_mido(shared_data: Path) -> None:
    read = {path.name for path in shared_data.glob("*.mid") if agrees(path.read_bytes())}
    assert read == {path.name for path in shared_data.glob("*.mid")} - {"corrupt_control_168.mid"}


def mutants(contents: list[bytes], count: int, seed: int) -> tuple[int, int]:
    """How many mutants mido reads, alike, and how many it does not."""
    read = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        data = bytearray(rng.choice(contents))
        for mutation in rng.sample(MUTATIONS, rng.choice((1, 1, 2, 3))):
            data = mutation(data, rng) if data else data
        read += agrees(bytes(data))
    return read, count - read


def test_mutants_of_the_prelude_are_read_as_by_mido(tmp_path: Path) -> None:
    write_midi(tmp_path / "own.mid", prelude_piece(TimeUnit.seconds))
    read, other = mutants([(tmp_path / "own.mid").read_bytes()], 150, 0)
    assert read > 20
    assert other > 20


@pytest.mark.slow
def test_mutants_of_real_files_are_read_as_by_mido(shared_data: Path, repetitions: Callable[[int, int], int]) -> None:
    contents = [path.read_bytes() for path in shared_data.glob("*.mid") if 0 < path.stat().st_size < 60_000]
    count = repetitions(300, 10_000)
    read, other = mutants(contents, count, 1)
    assert read > count / 10
    assert other > count / 10


metas = st.tuples(st.integers(0, 127), st.binary(max_size=6)).map(lambda m: bytes([0xFF, m[0], len(m[1])]) + m[1])
system = st.tuples(st.sampled_from([0xF0, 0xF7]), st.binary(max_size=4)).map(lambda m: bytes([m[0], len(m[1])]) + m[1])
channel = st.binary(min_size=1, max_size=3)
notes = st.tuples(st.integers(0x80, 0xEF), st.integers(0, 127), st.integers(0, 127)).map(bytes)
deltas = st.sampled_from([b"\0", b"\x7f", b"\x81\0", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x01"])


@given(
    messages=st.lists(st.tuples(deltas, notes | metas | system | channel), max_size=12),
    header=st.tuples(st.sampled_from([0, 1, 2, 3]), st.integers(0, 3), st.sampled_from([96, 480, 0, 0xE728])),
    longer=st.sampled_from([0, 0, 0, 1, -1]),
)
def test_made_up_tracks_are_read_as_by_mido(
    messages: list[tuple[bytes, bytes]], header: tuple[int, int, int], longer: int
) -> None:
    track = b"".join(delta + message for delta, message in messages)
    chunk = b"MTrk" + max(0, len(track) + longer).to_bytes(4, "big") + track
    content = b"MThd\0\0\0\6" + b"".join(value.to_bytes(2, "big") for value in header) + chunk * 2
    agrees(content)


# What mido refuses and others read

NOTE = b"\0\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\0\xff\x2f\0"


def chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "big") + content


def file(track: bytes, kind: int = 0, count: int = 1, before: bytes = b"", header: bytes = b"") -> bytes:
    fields = b"".join(value.to_bytes(2, "big") for value in (kind, count, 96))
    return chunk(b"MThd", fields + header) + before + chunk(b"MTrk", track)


READ_OVER = {
    "a key of 15 sharps": (file(b"\0\xff\x59\x02\x0f\0" + NOTE), "1 key signature of no key (byte 26)"),
    "two keys of 8 flats": (
        file(b"\0\xff\x59\x02\xf8\0" * 2 + NOTE),
        "2 key signatures of no key (the first at byte 26)",
    ),
    "a key of three bytes": (file(b"\0\xff\x59\x03\0\0\0" + NOTE), "1 key signature of a wrong length (byte 26)"),
    "a tempo of one byte": (file(b"\0\xff\x51\x01\x07" + NOTE), "1 tempo of a wrong length (byte 26)"),
    "an SMPTE offset of 99 hours": (file(b"\0\xff\x54\x05\x63\x63\x63\x63\x63" + NOTE), ""),
    "an empty meta message": (file(b"\0\xff\x59\0" + NOTE), "1 key signature of a wrong length (byte 26)"),
    "an unknown meta message": (file(b"\0\xff\x60\x02\xff\xff" + NOTE), ""),
    "running status over system exclusive": (
        file(b"\0\x90\x3c\x40\0\xf0\x02\x01\xf7\x60\x3c\0"),
        "",
    ),
    "high bytes in system exclusive": (file(b"\0\xf0\x03\xff\x90\xf7" + NOTE), ""),
    "a timing clock": (file(b"\0\xf8" + NOTE), "1 system message that no file can have (byte 23)"),
    "a song position": (file(b"\0\xf2\x01\x02" + NOTE), "1 system message that no file can have (byte 23)"),
    "a foreign chunk": (file(NOTE, before=chunk(b"XFIH", b"any")), "1 chunk named 'XFIH' (byte 14)"),
    "a longer header": (file(NOTE, header=b"more"), ""),
    "type 3": (file(NOTE, kind=3), "1 type 3 in its header, read as 1 (byte 8)"),
    "a track that is not counted": (
        file(NOTE) + chunk(b"MTrk", NOTE),
        "1 track more than the header counts (byte 30)",
    ),
    "bytes after the last track": (file(NOTE) + b"signature", ""),
    "a track length of 4 GB": (
        file(NOTE + END)[:18] + b"\xff\xff\xff\xff" + NOTE + END,
        "1 track length beyond the end of the file (byte 18)",
    ),
    "in a RIFF file": (
        b"RIFF\0\0\0\0RMID" + b"LIST\x03\0\0\0abc\0" + b"data\x30\0\0\0" + file(NOTE),
        "",
    ),
}


@pytest.mark.parametrize("name", READ_OVER)
def test_what_others_read_is_read_and_told(name: str, tmp_path: Path) -> None:
    content, told = READ_OVER[name]
    path = tmp_path / "x.mid"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        piece = read_piece(path)
    assert piece.events.pitch.tolist() == [60, 60]
    assert piece.events.delta_time.tolist() == [0.0, 0.5]
    assert [str(warning.message) for warning in caught] == ([f"{path}: ignored {told}"] if told else [])


REFUSED = {
    "no file": (b"", "not a MIDI file"),
    "a header that is cut": (b"MThd\0\0\0\6", "truncated: its header ends at byte 8"),
    "a track that is cut": (file(NOTE)[:-3], "truncated: the file ends at byte 27, in the middle of track 0"),
    "a track that is missing": (file(NOTE, count=2), "truncated: the file ends at byte 30, after 1 of 2 tracks"),
    "a message over the end": (file(NOTE)[:21] + b"\x06" + NOTE, "damaged: a message at byte 26 goes beyond the end"),
    "no status": (file(b"\0\x3c\x40"), "damaged: byte 23 is a data byte"),
    "a data byte over 127": (file(b"\0\x90\x3c\xc8"), "byte 25 is 200, a data byte over 127; data.clip=true"),
    "another program over 127": (file(b"\0\xc0\xc8"), "byte 24 is 200, a data byte over 127"),
    "no chunk": (file(NOTE, before=b"\xff\xff\xff\xff\0\0\0\0"), "damaged: byte 14 begins neither a track nor"),
    "a sound": (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "not a MIDI file (a RIFF file of another kind)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_told_with_its_byte(name: str) -> None:
    content, words = REFUSED[name]
    with pytest.raises(MidiFault) as caught:
        parse(content)
    assert str(caught.value).startswith(words)
