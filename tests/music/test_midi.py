"""MIDI files to events and back: every type and clock, the choice of a part, damaged files, playable output."""

import errno
import math
import resource
import struct
import warnings
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.data import EncodingConfig, TimeUnit
from composer.data.vocabulary import fit
from composer.errors import ComposerError, MidiError
from composer.music.events import Events, Piece, Timing, join, prelude_piece
from composer.music.midi import find_files, read_piece, write_midi

Build = Callable[..., Path]
SECONDS, BEATS = TimeUnit.seconds, TimeUnit.beats
BAD_PARTS = ["", "second", "track", "track:", "track:x", "track:-1", "channel:1.5", "family:pianos", "family:", "all:1"]
# 120 beats a minute and 480 ticks a beat: 960 ticks a second.
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"


def on(pitch: int, velocity: int = 64, *, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=pitch, velocity=velocity, time=time, channel=channel)


def off(pitch: int, velocity: int = 0, *, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=pitch, velocity=velocity, time=time, channel=channel)


def tempo(microseconds: int, *, time: int = 0) -> mido.MetaMessage:
    return mido.MetaMessage("set_tempo", tempo=microseconds, time=time)


def program(number: int, *, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("program_change", program=number, time=time, channel=channel)


def raw(*tracks: bytes, file_type: int = 1, division: bytes = b"\x01\xe0") -> bytes:
    """A MIDI file from the bytes of its tracks, without their end-of-track, by default with 480 ticks a beat."""
    data = b"MThd" + struct.pack(">LHH", 6, file_type, len(tracks)) + division
    for track in tracks:
        track += b"\x00\xff\x2f\x00"
        data += b"MTrk" + struct.pack(">L", len(track)) + track
    return data


def rows(piece: Piece) -> list[tuple[int, int, float]]:
    events = piece.events
    return list(zip(events.pitch.tolist(), events.velocity.tolist(), events.delta_time.tolist(), strict=True))


def events_of(*values: tuple[int, int, float], unit: TimeUnit = SECONDS) -> Events:
    pitch, velocity, delta = zip(*values, strict=True) if values else ((), (), ())
    return Events(np.array(pitch, np.uint8), np.array(velocity, np.uint8), np.array(delta, np.float64), unit)


def written(path: Path) -> list[tuple[int, int, int]]:
    """(pitch, velocity, ticks) of the note messages of a written file."""
    return [(m.note, m.velocity, m.time) for m in mido.MidiFile(path).tracks[0] if m.type == "note_on"]


def error_line(path: Path, **options: Any) -> str:
    """The line of the MidiError that reading gives, after its path."""
    with pytest.raises(MidiError) as caught:
        read_piece(path, **options)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


# Reading: types


def test_type_0_gives_the_first_sounding_channel(midi_file: Build) -> None:
    # The release at the very start does not make channel 1 the first part.
    track = [
        off(50, channel=1),
        on(60, channel=3, time=480),
        on(40, channel=5, time=240),
        off(60, channel=3, time=240),
        off(40, channel=5, time=480),
    ]
    path = midi_file([track], file_type=0)
    assert rows(read_piece(path)) == [(60, 64, 0.5), (60, 0, 0.5)]
    assert rows(read_piece(path, part="channel:5")) == [(40, 64, 0.75), (40, 0, 0.75)]
    assert read_piece(path).name == "piece.mid"


def test_type_1_gives_the_first_track_with_notes_whole(midi_file: Build) -> None:
    first = [on(60, channel=2), on(64, channel=3, time=480), off(60, channel=2, time=480)]
    path = midi_file([[tempo(600_000)], [program(3, time=99)], first, [on(70)]])
    piece = read_piece(path)
    assert rows(piece) == [(60, 64, 0.0), (64, 64, 0.6), (60, 0, 0.6)]
    assert piece.timing == Timing(480, 600_000)


def test_type_2_tracks_are_sequences_of_their_own(midi_file: Build) -> None:
    one = [tempo(1_000_000), on(60, time=480), off(60, time=480)]
    two = [on(70, time=960), off(70, time=480)]
    path = midi_file([[], one, two], file_type=2)
    assert rows(read_piece(path)) == [(60, 64, 1.0), (60, 0, 1.0)]
    assert rows(read_piece(path, part="track:2")) == [(70, 64, 1.0), (70, 0, 0.5)]
    assert rows(read_piece(path, part="all")) == [(60, 64, 1.0), (60, 0, 1.0), (70, 64, 1.0), (70, 0, 0.5)]
    assert read_piece(path).timing.microseconds_per_beat == 1_000_000
    assert read_piece(path, part="all").timing.microseconds_per_beat == 1_000_000  # of the first part with notes
    assert read_piece(path, part="track:2").timing.microseconds_per_beat == 500_000


# Reading: clocks


@pytest.mark.parametrize(
    ("frames", "ticks_per_frame", "ticks", "seconds"),
    [
        (24, 10, 240, 1.0),
        (25, 40, 1, 0.001),
        (25, 40, 1500, 1.5),
        (29, 100, 3000, 1.001),
        (29, 1, 30, 1.001),
        (30, 80, 1200, 0.5),
    ],
)
def test_smpte_ticks_are_parts_of_frames(
    midi_file: Build, frames: int, ticks_per_frame: int, ticks: int, seconds: float
) -> None:
    # A tempo says nothing where the clock counts frames.
    track = [tempo(250_000), on(60, time=ticks), off(60, time=2 * ticks)]
    path = midi_file([track], division=(-frames << 8) | ticks_per_frame)
    assert path.read_bytes()[12:14] == bytes([256 - frames, ticks_per_frame])
    assert rows(read_piece(path)) == [(60, 64, seconds), (60, 0, 2 * seconds)]


def test_smpte_has_no_beats(midi_file: Build) -> None:
    path = midi_file([[on(60, time=40)]], division=(-25 << 8) | 40)
    assert "encoding.time_unit=seconds" in error_line(path, time_unit=BEATS)


@pytest.mark.parametrize("division", [b"\x00\x00", b"\xe7\x00", b"\xe6\x28", b"\xff\xff", b"\x80\x01"])
def test_a_division_that_tells_no_time_is_refused(tmp_path: Path, division: bytes) -> None:
    path = tmp_path / "x.mid"
    path.write_bytes(raw(NOTE, division=division))
    assert error_line(path).startswith("its header's division is ")


def test_a_tempo_of_zero_is_refused(midi_file: Build) -> None:
    path = midi_file([[tempo(500_000), tempo(0, time=480), on(60, time=480), off(60, time=480)]])
    assert error_line(path).startswith("a tempo of 0 ")


def test_tempo_map_from_another_track_changes_between_notes(midi_file: Build) -> None:
    conductor = [tempo(500_000), tempo(1_000_000, time=480), tempo(250_000, time=480), tempo(2_000_000, time=9_600)]
    notes = [
        on(60, time=240),  # 240 at 500,000
        off(60, time=480),  # 240 at 500,000, then 240 at 1,000,000
        on(62, time=240),  # 240 at 1,000,000: at the very tick of a change
        off(62, time=480),  # 480 at 250,000
        on(64),
    ]
    path = midi_file([notes, conductor])
    assert rows(read_piece(path)) == [(60, 64, 0.25), (60, 0, 0.75), (62, 64, 0.5), (62, 0, 0.25), (64, 64, 0.0)]


def test_several_tempo_changes_between_two_notes_all_count(midi_file: Build) -> None:
    track = [on(60), tempo(1_000_000, time=48), tempo(100_000, time=48), tempo(700_000, time=480), off(60, time=96)]
    # 48 * 0.5 + 48 * 1 + 480 * 0.1 + 96 * 0.7 ticks x seconds a beat, over 480
    assert rows(read_piece(midi_file([track]))) == [(60, 64, 0.0), (60, 0, 0.39)]


def test_default_tempo_holds_until_the_first_one(midi_file: Build) -> None:
    piece = read_piece(midi_file([[on(60, time=480), tempo(1_000_000, time=480), off(60, time=480)]]))
    assert rows(piece) == [(60, 64, 0.5), (60, 0, 1.5)]
    assert piece.timing == Timing(480, 500_000)


def test_beats_ignore_the_tempo(midi_file: Build) -> None:
    track = [tempo(300_000), on(60, time=240), tempo(900_000, time=60), off(60, time=60), on(61, time=481)]
    path = midi_file([track])
    piece = read_piece(path, time_unit=BEATS)
    assert rows(piece) == [(60, 64, 0.5), (60, 0, 0.25), (61, 64, 481 / 480)]
    assert piece.events.time_unit is BEATS
    assert piece.timing == Timing(480, 300_000)


def test_equal_file_times_are_equal_floats(midi_file: Build) -> None:
    # 7 ticks of 333,333 / 96 microseconds have no exact quotient: differences of rounded sums would differ.
    changes = [tempo(333_333), *(tempo(us, time=700) for us in (777_777, 333_333))]
    notes = [message for k in range(300) for message in (on(60 + k % 12, time=7), off(60 + k % 12, time=7))]
    piece = read_piece(midi_file([changes, notes], division=96))
    slow, fast = 7 * 777_777 / 96e6, 7 * 333_333 / 96e6
    assert Counter(piece.events.delta_time.tolist()) == {fast: 500, slow: 100}
    summed = np.diff(np.cumsum(np.full(600, fast)))
    assert len(set(summed.tolist())) > 1


# Reading: messages


def test_running_status_is_read(tmp_path: Path) -> None:
    path = tmp_path / "running.mid"
    # One status byte, then pitch and velocity alone; a meta message between does not end it.
    path.write_bytes(raw(b"\x00\x90\x3c\x40\x60\x3c\x00\x00\xff\x01\x01x\x60\x3e\x50\x81\x40\x3e\x00"))
    assert rows(read_piece(path)) == [(60, 64, 0.0), (60, 0, 0.1), (62, 80, 0.1), (62, 0, 0.2)]


def test_note_off_is_a_note_on_of_velocity_0(midi_file: Build) -> None:
    with_off = midi_file([[on(60), off(60, 99, time=480), on(62), off(62, time=240)]], name="off.mid")
    with_on = midi_file([[on(60), on(60, 0, time=480), on(62), on(62, 0, time=240)]], name="on.mid")
    assert rows(read_piece(with_off)) == [(60, 64, 0.0), (60, 0, 0.5), (62, 64, 0.0), (62, 0, 0.25)]
    assert rows(read_piece(with_on)) == rows(read_piece(with_off))


def test_time_of_skipped_messages_is_carried_over(midi_file: Build) -> None:
    track = [
        mido.MetaMessage("text", text="x", time=48),
        mido.Message("control_change", control=64, value=127, time=48),
        on(60, channel=1, time=96),
        mido.Message("pitchwheel", pitch=100, channel=1, time=24),
        on(99, channel=4, time=24),
        mido.Message("sysex", data=[1, 2], time=24),
        off(99, channel=4, time=24),
        off(60, channel=1, time=96),
    ]
    path = midi_file([track])
    assert rows(read_piece(path, part="channel:1")) == [(60, 64, 0.2), (60, 0, 0.2)]


# Reading: parts


@pytest.fixture
def band(midi_file: Build) -> Path:
    """A conductor, drums, a piano, and a track with strings and a second piano."""
    drums = [on(36, channel=9), off(36, channel=9, time=480)]
    piano = [program(0), on(60), off(60, time=480)]
    mixed = [program(48, channel=1), on(70, channel=1), on(80, channel=2, time=240), off(70, channel=1, time=240)]
    mixed += [off(80, channel=2, time=240)]
    return midi_file([[tempo(500_000)], drums, piano, mixed])


@pytest.mark.parametrize(
    ("part", "drums", "expected"),
    [
        ("first", False, [(60, 64, 0.0), (60, 0, 0.5)]),
        ("first", True, [(36, 64, 0.0), (36, 0, 0.5)]),
        ("track:2", False, [(60, 64, 0.0), (60, 0, 0.5)]),
        ("track:3", False, [(70, 64, 0.0), (80, 64, 0.25), (70, 0, 0.25), (80, 0, 0.25)]),
        ("track:1", True, [(36, 64, 0.0), (36, 0, 0.5)]),
        ("channel:0", False, [(60, 64, 0.0), (60, 0, 0.5)]),
        ("channel:2", False, [(80, 64, 0.25), (80, 0, 0.5)]),
        ("channel:9", True, [(36, 64, 0.0), (36, 0, 0.5)]),
        ("family:piano", False, [(60, 64, 0.0), (80, 64, 0.25), (60, 0, 0.25), (80, 0, 0.25)]),
        ("family:ensemble", False, [(70, 64, 0.0), (70, 0, 0.5)]),
        (
            "all",
            False,
            # Messages of one tick stand in the order of their tracks.
            [(60, 64, 0.0), (70, 64, 0.0), (80, 64, 0.25), (60, 0, 0.25), (70, 0, 0.0), (80, 0, 0.25)],
        ),
        (
            "all",
            True,
            [(36, 64, 0.0), (60, 64, 0.0), (70, 64, 0.0), (80, 64, 0.25)]
            + [(36, 0, 0.25), (60, 0, 0.0), (70, 0, 0.0), (80, 0, 0.25)],
        ),
    ],
)
def test_part_and_drums_choose_the_notes(
    band: Path, part: str, drums: bool, expected: list[tuple[int, int, float]]
) -> None:
    assert rows(read_piece(band, part=part, drums=drums)) == expected


def test_program_of_the_part_is_kept_for_writing(band: Path) -> None:
    assert read_piece(band, part="channel:1").program == 48
    assert read_piece(band, part="channel:2").program == 0


@pytest.mark.parametrize("part", ["track:0", "track:1", "track:7", "channel:9", "channel:15", "family:organ"])
def test_a_part_without_notes_is_named(band: Path, part: str) -> None:
    assert error_line(band, part=part).startswith(f"no notes in part {part} ")


@pytest.mark.parametrize("part", ["first", "all", "track:0", "channel:0", "family:piano"])
def test_releases_alone_are_no_notes(midi_file: Build, part: str) -> None:
    path = midi_file([[off(60, time=480), on(60, 0, time=480)]])
    assert error_line(path, part=part).startswith(f"no notes in part {part}")


@pytest.mark.parametrize("part", BAD_PARTS)
def test_an_unknown_part_names_the_key_and_the_choices(band: Path, part: str) -> None:
    with pytest.raises(ComposerError) as caught:
        read_piece(band, part=part)
    assert str(caught.value).startswith(f"data.part={part}: must be first, all, track:N, channel:N, or family:NAME")
    assert not isinstance(caught.value, MidiError)  # a folder must not skip its files for it


# Reading: files that cannot be used


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"MTh", "not a MIDI file"),
        (b"RIFF\x00\x00\x00\x00RMID", "not a MIDI file"),
        (raw(NOTE)[:-1], "truncated"),
        (raw(NOTE)[:20], "truncated"),
        (raw(NOTE)[:10], "truncated"),
        (raw(NOTE).replace(b"MTrk", b"MTxx"), "truncated: the file ends at byte"),
        (raw(b"\x00\x3c\x40"), "damaged: byte 23 is a data byte, and no status byte stands before it"),
        (raw(NOTE)[:22] + b"\xff" * 4_000_000, "damaged: a number of more than 8 bytes at byte 22"),
        (raw(), "no notes in part first"),
        (raw(b""), "no notes in part first"),
        (raw(b"\x00\x80\x3c\x40\x00\x90\x3c\x00"), "no notes in part first"),  # releases alone
        (raw(b"\x00\x99\x3c\x40\x00\x99\x3c\x00"), "no notes in part first"),  # drums alone
        (raw(b"\x00\x90\x3c\xa8"), "byte 25 is 168, a data byte over 127; data.clip=true reads it as 127"),
    ],
)
def test_unusable_file_gives_one_line_with_its_path(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.mid"
    path.write_bytes(content)
    assert error_line(path).startswith(reason)


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path: Path) -> None:
    assert error_line(tmp_path / "none.mid") == "not found"
    assert error_line(tmp_path) == "a folder, not a regular file"


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole, path = raw(b"\x00\xff\x51\x03\x07\xa1\x20", NOTE), tmp_path / "cut.mid"
    path.write_bytes(whole)
    assert len(read_piece(path).events) == 2
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        error_line(path)


def test_clip_reads_a_data_byte_over_127_as_127_and_warns(tmp_path: Path) -> None:
    path = tmp_path / "clip.mid"
    path.write_bytes(raw(b"\x00\x90\x3c\xa8\x60\x90\xbc\x00"))
    with pytest.warns(UserWarning, match="clip.mid: ignored 2 messages with data bytes over 127, read as 127"):
        piece = read_piece(path, clip=True)
    assert rows(piece) == [(60, 127, 0.0), (127, 0, 0.1)]


def test_clip_says_nothing_of_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.mid"
    path.write_bytes(raw(NOTE))
    assert rows(read_piece(path, clip=True)) == [(60, 64, 0.0), (60, 0, 0.1)]


@given(changes=st.lists(st.tuples(st.integers(4, 70), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_damage_is_read_or_explained(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    content = bytearray(raw(b"\x00\xff\x51\x03\x07\xa1\x20" + NOTE, NOTE * 3))
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.mid"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*: ignored ")
        try:
            piece = read_piece(path, part="all", drums=True, clip=True)
        except MidiError:
            error_line(path, part="all", drums=True, clip=True)
        else:
            assert (piece.events.delta_time >= 0).all()
            write_midi(path, piece)


def test_find_files_searches_folders_by_name(tmp_path: Path) -> None:
    for name in ("b.mid", "a/z.MIDI", "a/c.Mid", "notes.txt", "a/x.mid.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mid").mkdir()
    assert find_files(tmp_path) == [tmp_path / name for name in ("a/c.Mid", "a/z.MIDI", "b.mid")]
    assert find_files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_find_files_explains_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MidiError) as empty:
        find_files(tmp_path)
    assert str(empty.value) == f"{tmp_path}: no .mid, .midi, .rmi or .kar file in this folder or below it"
    with pytest.raises(MidiError) as missing:
        find_files(tmp_path / "none")
    assert str(missing.value) == f"{tmp_path / 'none'}: no such file or folder"


# Real files


def test_krebs_has_the_numbers_of_the_article(
    shared_data: Path, encoding_config: Callable[..., EncodingConfig]
) -> None:
    events = read_piece(shared_data / "krebs.mid").events
    assert len(events) == 826
    assert int((events.delta_time == 0).sum()) == 365
    assert len(np.unique(events.pitch)) == 16
    vocabulary = fit(encoding_config(), events.delta_time)
    assert vocabulary.sizes == (89, 128, 12)
    classes = vocabulary.time_classes(events.delta_time)
    assert Counter(classes.tolist()) == {0: 365, 1: 322, 2: 93, 3: 44, 6: 1, 11: 1}


@pytest.mark.parametrize(
    ("name", "part", "drums", "messages"),
    [
        ("krebs.mid", "track:1", False, 826),
        ("Maestro_1.mid", "first", False, 4734),
        ("Maestro_2.mid", "first", False, 24836),
        ("Maestro_3.mid", "first", False, 6284),
        ("fur-elise.mid", "first", False, 1210),  # the right hand
        ("fur-elise.mid", "all", False, 2040),
        ("Funkytown.mid", "first", False, 1850),
        ("Funkytown.mid", "all", True, 9011),  # 9720 messages, less where parts share a pitch
        ("Funkytown.mid", "all", False, 5870),  # 3614 messages on the drum channel
    ],
)
def test_real_files_give_their_messages(shared_data: Path, name: str, part: str, drums: bool, messages: int) -> None:
    assert len(read_piece(shared_data / name, part=part, drums=drums).events) == messages


def test_real_bad_files_are_explained_or_clipped(shared_data: Path) -> None:
    assert error_line(shared_data / "empty.mid").startswith("no notes in part first")
    corrupt = shared_data / "corrupt_control_168.mid"
    assert error_line(corrupt) == "byte 6,042 is 168, a data byte over 127; data.clip=true reads it as 127"
    with pytest.warns(UserWarning, match="corrupt_control_168.mid: ignored 1 message with data bytes over 127"):
        assert len(read_piece(corrupt, clip=True).events) == 382


def test_real_files_survive_writing_and_reading(shared_data: Path, tmp_path: Path) -> None:
    piece = read_piece(shared_data / "Maestro_1.mid")
    write_midi(tmp_path / "copy.mid", piece)
    copy = read_piece(tmp_path / "copy.mid")
    assert np.array_equal(copy.events.pitch, piece.events.pitch)
    assert np.array_equal(copy.events.velocity, piece.events.velocity)
    assert copy.events.delta_time == pytest.approx(piece.events.delta_time, abs=1e-9)  # one tempo: whole ticks


# Writing


def test_written_file_has_the_pieces_head(tmp_path: Path) -> None:
    write_midi(tmp_path / "new" / "x.mid", Piece("x", events_of((60, 5, 0.0)), Timing(96, 750_000), 40))
    file = mido.MidiFile(tmp_path / "new" / "x.mid")
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (0, 96, 1)
    head = [tempo(750_000), program(40)]
    assert list(file.tracks[0])[:2] == head
    assert file.tracks[0][-1].type == "end_of_track"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # A note and its release, as they are.
        ([(60, 64, 0.0), (60, 0, 1.0)], [(60, 64, 0), (60, 0, 960)]),
        # A release of a silent pitch goes, its time stays.
        ([(61, 0, 0.5), (60, 64, 0.5), (61, 0, 0.5), (60, 0, 0.5)], [(60, 64, 960), (60, 0, 960)]),
        # A pitch struck while it sounds is released first, at that time.
        ([(60, 64, 0.0), (60, 65, 1.0), (60, 0, 1.0)], [(60, 64, 0), (60, 0, 960), (60, 65, 0), (60, 0, 960)]),
        # What still sounds at the end is released there ...
        ([(60, 64, 0.0), (62, 65, 0.0), (60, 0, 1.0)], [(60, 64, 0), (62, 65, 0), (60, 0, 960), (62, 0, 0)]),
        # ... a tick later if the last event struck it.
        ([(60, 64, 1.0)], [(60, 64, 960), (60, 0, 1)]),
        ([], []),
    ],
)
def test_written_notes_are_playable(
    tmp_path: Path, events: list[tuple[int, int, float]], expected: list[tuple[int, int, int]]
) -> None:
    write_midi(tmp_path / "x.mid", Piece("x", events_of(*events)))
    assert written(tmp_path / "x.mid") == expected


@pytest.mark.parametrize(
    ("timing", "unit", "ticks"),
    [
        (Timing(480, 500_000), SECONDS, 960),
        (Timing(480, 250_000), SECONDS, 1920),
        (Timing(480, 250_000), BEATS, 480),
        (Timing((-25 << 8) | 40, 250_000), SECONDS, 1000),
        (Timing((-29 << 8) | 100, 250_000), SECONDS, 2997),  # 2997.003
        (Timing((-25 << 8) | 40, 250_000), BEATS, 500),  # beats of the default tempo
    ],
)
def test_times_are_written_in_the_pieces_ticks(tmp_path: Path, timing: Timing, unit: TimeUnit, ticks: int) -> None:
    write_midi(tmp_path / "x.mid", Piece("x", events_of((60, 64, 0.0), (60, 0, 1.0), unit=unit), timing))
    assert written(tmp_path / "x.mid") == [(60, 64, 0), (60, 0, ticks)]


def test_rounding_to_ticks_does_not_add_up(tmp_path: Path) -> None:
    # 1000 times a third of a tick.
    values = [(60, 64, 0.0), *((61, 64 * (k % 2), 1 / 2880) for k in range(1, 1001)), (60, 0, 0.0)]
    write_midi(tmp_path / "x.mid", Piece("x", events_of(*values)))
    notes = written(tmp_path / "x.mid")
    assert sum(ticks for *_, ticks in notes) == 333
    places = np.cumsum([ticks for *_, ticks in notes])[1:-1]
    assert np.abs(places - np.arange(1, 1001) / 3).max() <= 0.5


piece_events = st.lists(
    st.tuples(
        st.integers(58, 62) | st.integers(0, 127),
        st.just(0) | st.integers(0, 127),
        st.just(0.0) | st.floats(0, 3, allow_subnormal=False),
    ),
    max_size=30,
)
timings = st.builds(
    Timing, st.sampled_from([1, 96, 480, 32_767, (-25 << 8) | 40, (-29 << 8) | 80]), st.integers(20_000, 2_000_000)
)


@given(values=piece_events, timing=timings, unit=st.sampled_from(TimeUnit))
def test_any_events_write_a_playable_file_of_their_length(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[int, int, float]], timing: Timing, unit: TimeUnit
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mid"
    write_midi(path, Piece("x", events_of(*values, unit=unit), timing))
    track = mido.MidiFile(path).tracks[0]
    sounding: set[int] = set()
    strikes, tick = [], 0
    for message in track:
        assert message.time >= 0
        tick += message.time
        if message.type != "note_on":
            continue
        if message.velocity:
            assert message.note not in sounding
            sounding.add(message.note)
            strikes.append((tick, message.note, message.velocity))
        else:
            assert message.note in sounding
            sounding.remove(message.note)
    assert not sounding

    if timing.division > 0:
        per_unit = timing.division * (1e6 / timing.microseconds_per_beat if unit is SECONDS else 1)
    else:
        per_second = 1000 if timing.division >> 8 == -25 else 80 * 30_000 / 1001
        per_unit = per_second if unit is SECONDS else per_second / 2
    places = [math.fsum(delta for *_, delta in values[: k + 1]) * per_unit for k in range(len(values))]
    struck = [place for place, (_, velocity, _) in zip(places, values, strict=True) if velocity]
    assert [(pitch, velocity) for _, pitch, velocity in strikes] == [(p, v) for p, v, _ in values if v]
    assert [place for place, *_ in strikes] == pytest.approx(struck, abs=0.5 + 1e-6)
    # A note of the last event sounds for one tick more.
    assert tick == pytest.approx(places[-1] if places else 0, abs=1.5 + 1e-6)


def test_trailing_silence_is_kept(tmp_path: Path) -> None:
    write_midi(tmp_path / "x.mid", Piece("x", events_of((60, 64, 0.0), (60, 0, 1.0), (60, 0, 0.5), (72, 0, 0.5))))
    assert written(tmp_path / "x.mid") == [(60, 64, 0), (60, 0, 960)]
    assert mido.MidiFile(tmp_path / "x.mid").length == 2.0


@given(data=st.data(), unit=st.sampled_from(TimeUnit))
def test_playable_events_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, unit: TimeUnit
) -> None:
    """The stated losses alone: the time goes to the nearest tick."""
    values: list[tuple[int, int, float]] = []
    sounding: list[int] = []
    for strike, pitch, velocity, delta in data.draw(
        st.lists(st.tuples(st.booleans(), st.integers(0, 127), st.integers(1, 127), st.floats(0, 2)), min_size=1)
    ):
        if strike and pitch not in sounding:
            sounding.append(pitch)
            values.append((pitch, velocity, delta))
        elif sounding:
            values.append((sounding.pop(), 0, delta))
    values += [(pitch, 0, 0.25) for pitch in sounding]
    if not values:
        return
    path = tmp_path_factory.getbasetemp() / "round.mid"
    piece = Piece("x", events_of(*values, unit=unit), Timing(480, 333_333))
    write_midi(path, piece)
    copy = read_piece(path, time_unit=unit)
    assert [(p, v) for p, v, _ in rows(copy)] == [(p, v) for p, v, _ in values]
    half_tick = 0.5 / (480 / 0.333333 if unit is SECONDS else 480)
    error = np.cumsum(copy.events.delta_time) - np.cumsum(piece.events.delta_time)
    assert np.abs(error).max() <= half_tick * (1 + 1e-6)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), ValueError("unwritable")])
def test_a_failing_write_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    path = tmp_path / "x.mid"
    path.write_bytes(b"old")

    def save(self: mido.MidiFile, filename: object = None, file: Any = None) -> None:
        file.write(b"half of the new")
        raise failure

    monkeypatch.setattr(mido.MidiFile, "save", save)
    expected = ComposerError if isinstance(failure, OSError) else ValueError
    with pytest.raises(expected) as caught:
        write_midi(path, Piece("x", events_of((60, 64, 0.0))))
    if expected is ComposerError:
        assert str(caught.value).startswith(f"{path}: cannot be written (No space left on device)")
    assert [p.name for p in tmp_path.iterdir()] == ["x.mid"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    path = tmp_path / "file" / "x.mid"
    with pytest.raises(ComposerError) as caught:
        write_midi(path, Piece("x", events_of((60, 64, 0.0))))
    assert str(caught.value) == f"{path.parent}: a file, not a folder; choose another name"
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_write_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.mid"
    path.write_bytes(b"old")
    write_midi(path, Piece("x", events_of((60, 64, 0.0))))
    assert [p.name for p in tmp_path.iterdir()] == ["x.mid"]
    assert path.read_bytes()[:4] == b"MThd"


# Events


def test_prelude_is_1098_events_that_end_every_note() -> None:
    piece = prelude_piece(SECONDS)
    assert len(piece.events) == 1098
    sounding: set[int] = set()
    for pitch, velocity, _ in rows(piece):
        if velocity:
            assert pitch not in sounding
            sounding.add(pitch)
        else:
            sounding.remove(pitch)
    assert not sounding
    # 35 bars of four beats at 72 a minute, whose microseconds are rounded to 833,333.
    assert math.fsum(piece.events.delta_time.tolist()) == pytest.approx(140 * 0.833333, abs=1e-9)
    assert piece.timing == Timing(480, 833_333)
    beats = prelude_piece(BEATS).events.delta_time
    assert Counter(beats.tolist()) == {0.0: 553, 0.25: 34 * 16, 4.0: 1}
    assert np.array_equal(piece.events.delta_time, beats * 0.833333)


@pytest.mark.parametrize("unit", TimeUnit)
def test_prelude_survives_writing_and_reading(tmp_path: Path, unit: TimeUnit) -> None:
    piece = prelude_piece(unit)
    write_midi(tmp_path / "prelude.mid", piece)
    copy = read_piece(tmp_path / "prelude.mid", time_unit=unit)
    assert np.array_equal(copy.events.pitch, piece.events.pitch)
    assert np.array_equal(copy.events.velocity, piece.events.velocity)
    per_unit = 480 / 0.833333 if unit is SECONDS else 480
    error = np.cumsum(copy.events.delta_time) - np.cumsum(piece.events.delta_time)
    assert np.abs(error).max() <= 0.5 / per_unit
    # Its times are whole ticks, so that not even the half tick is lost.
    assert copy.events.delta_time == pytest.approx(piece.events.delta_time, abs=1e-12)
    assert (copy.timing, copy.program) == (piece.timing, piece.program)


def test_join_counts_from_the_last_event_of_the_first() -> None:
    first, second = events_of((60, 64, 0.5), (60, 0, 1.0)), events_of((62, 70, 0.25))
    joined = join(first, second)
    assert rows(Piece("x", joined)) == [(60, 64, 0.5), (60, 0, 1.0), (62, 70, 0.25)]
    assert rows(Piece("x", joined[1:])) == [(60, 0, 1.0), (62, 70, 0.25)]


@given(
    ticks=st.lists(st.integers(0, 3) | st.integers(0, 10_000), min_size=1, max_size=20),
    tempos=st.lists(st.tuples(st.integers(0, 3) | st.integers(0, 2000), st.integers(1, 0xFFFFFF)), max_size=5),
    division=st.integers(1, 0x7FFF),
)
def test_times_equal_the_tempo_integrated_tick_by_tick(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int], tempos: list[tuple[int, int]], division: int
) -> None:
    file = mido.MidiFile(ticks_per_beat=division)
    file.tracks.append(mido.MidiTrack(tempo(us, time=delta) for delta, us in tempos))
    file.tracks.append(mido.MidiTrack(on(60, time=delta) for delta in ticks))
    path = tmp_path_factory.getbasetemp() / "tempo.mid"
    file.save(path)

    # Exact fractions of a second, tempo by tempo.
    starts = np.cumsum([0, *(delta for delta, _ in tempos)]).tolist()
    spans = list(zip(starts, [*starts[1:], math.inf], [500_000, *(us for _, us in tempos)], strict=True))

    def place(tick: int) -> Fraction:
        return sum(
            (Fraction(us * max(0, min(tick, end) - start), division * 10**6) for start, end, us in spans), Fraction(0)
        )

    places = [place(tick) for tick in np.cumsum([0, *ticks]).tolist()]
    expected = [float(later - earlier) for earlier, later in zip(places, places[1:], strict=False)]
    assert read_piece(path).events.delta_time.tolist() == expected


def test_program_of_another_track_counts_and_notes_keep_releases(
    tmp_path: Path,
) -> None:
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    settings, notes = file.add_track(), file.add_track()
    settings.append(mido.Message("program_change", channel=2, program=40, time=0))
    settings.append(mido.Message("program_change", channel=2, program=0, time=120))
    notes.append(mido.Message("note_on", channel=2, note=60, velocity=64, time=0))
    notes.append(mido.Message("note_off", channel=2, note=60, time=240))
    notes.append(mido.Message("note_on", channel=2, note=62, velocity=64, time=0))
    notes.append(mido.Message("note_off", channel=2, note=62, time=240))
    file.save(tmp_path / "file.mid")
    strings = read_piece(tmp_path / "file.mid", part="family:strings")
    assert strings.events.pitch.tolist() == [60, 60]
    assert strings.program == 40
    assert read_piece(tmp_path / "file.mid", part="family:piano").events.pitch.tolist() == [62, 62]


def test_absurd_lengths_and_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mido.MidiFile(type=0, ticks_per_beat=1)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=16_000_000, time=0))
    track.append(mido.Message("note_on", note=60, velocity=64, time=100_000))
    file.save(tmp_path / "long.mid")
    with pytest.raises(MidiError, match=r"long\.mid: lasts more than 604,800 seconds"):
        read_piece(tmp_path / "long.mid")
    monkeypatch.setattr("composer.music.midi.MAX_FILE_BYTES", 20)
    with pytest.raises(MidiError, match=r"long\.mid: larger than 20 bytes"):
        read_piece(tmp_path / "long.mid")


def test_a_header_that_states_gigabytes_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file.mid").write_bytes(b"MThd" + b"\xff" * 4 + bytes(20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert error_line(tmp_path / "file.mid")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
