"""Parts of a MIDI file read together, what is left out, and tempo, metre and key read and written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.corpus.corpus import read_corpus
from composer.music.events import Events, LeftOut, Piece, Timing, excerpt_of, in_unit, title_of
from composer.music.markings import Markings
from composer.music.midi import read_parts, read_piece, write_midi
from composer.music.notes import from_file, notes_of

Build = Callable[..., Path]
BEATS = TimeUnit.beats


def note(kind: str, pitch: int, time: int, *, velocity: int = 64, channel: int = 0) -> mido.Message:
    return mido.Message(kind, note=pitch, velocity=velocity, time=time, channel=channel)


def sounding(piece: Piece) -> list[tuple[float, float, int, int]]:
    """(onset, duration, pitch, velocity) of each note, in beats."""
    notes, velocity = notes_of(piece), piece.events.velocity
    return [
        (float(onset), float(duration), int(pitch), int(velocity[event]))
        for onset, duration, pitch, event in zip(
            notes.onset_beats, notes.duration_beats, notes.pitch, notes.event, strict=True
        )
    ]


def two_parts(build: Build, upper: Sequence[Any], lower: Sequence[Any], *, same_channel: bool = True) -> Path:
    """Two tracks, on one channel or two."""
    moved = [m if same_channel else m.copy(channel=1) for m in lower]
    return build([upper, moved])


@pytest.mark.parametrize("same_channel", [True, False])
def test_a_release_does_not_end_another_parts_note(midi_file: Build, same_channel: bool) -> None:
    """The lower part leaves the pitch after an eighth; the upper holds its half note."""
    upper = [note("note_on", 60, 0), note("note_off", 60, 960)]
    lower = [note("note_on", 60, 240, velocity=50), note("note_off", 60, 240)]
    piece = read_piece(two_parts(midi_file, upper, lower, same_channel=same_channel), part="all", time_unit=BEATS)
    assert sounding(piece) == [(0.0, 0.5, 60, 64), (0.5, 1.5, 60, 50)]


def test_two_strikes_at_one_tick_are_one_note(midi_file: Build) -> None:
    upper = [note("note_on", 60, 0, velocity=40), note("note_off", 60, 480)]
    lower = [note("note_on", 60, 0, velocity=90), note("note_off", 60, 960)]
    piece = read_piece(two_parts(midi_file, upper, lower), part="all", time_unit=BEATS)
    assert sounding(piece) == [(0.0, 2.0, 60, 90)]
    assert len(piece.events) == 2


def test_a_handover_within_a_tick_keeps_both_notes(midi_file: Build) -> None:
    """The upper part strikes what the lower releases at the same tick, whichever track comes first."""
    upper = [note("note_on", 60, 480), note("note_off", 60, 480)]
    lower = [note("note_on", 60, 0), note("note_off", 60, 480)]
    for tracks in ((upper, lower), (lower, upper)):
        piece = read_piece(two_parts(midi_file, *tracks), part="all", time_unit=BEATS)
        assert [row[:3] for row in sounding(piece)] == [(0.0, 1.0, 60), (1.0, 1.0, 60)]


def test_one_part_stays_as_the_file_has_it(midi_file: Build) -> None:
    track = [note("note_on", 60, 0), note("note_on", 60, 240), note("note_off", 60, 240), note("note_off", 60, 240)]
    pieces = [read_piece(midi_file([track]), part=part, time_unit=BEATS) for part in ("first", "all", "track:0")]
    for piece in pieces:
        assert piece.events.velocity.tolist() == [64, 64, 0, 0]
        assert piece.events.delta_time.tolist() == [0.0, 0.5, 0.5, 0.5]


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(60, 62), st.integers(0, 12), st.integers(1, 12)),
        min_size=1,
        max_size=12,
    )
)
def test_a_pitch_sounds_until_its_last_part_leaves_it(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[int, int, int, int]]
) -> None:
    """Against sets of sounding ticks: parts are monophonic per pitch, and a pitch sounds where any part holds it."""
    held: dict[tuple[int, int], set[int]] = {}
    kept = []
    for part, pitch, onset, length in notes:
        ticks = set(range(onset, onset + length))
        if not ticks & held.setdefault((part, pitch), set()) and onset - 1 not in held[part, pitch]:
            if onset + length not in held[part, pitch]:
                held[part, pitch] |= ticks
                kept.append((part, pitch, onset, length))
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    for part in (0, 1):
        messages = sorted(
            [(onset, 1, pitch) for p, pitch, onset, _ in kept if p == part]
            + [(onset + length, 0, pitch) for p, pitch, onset, length in kept if p == part]
        )
        track, now = mido.MidiTrack(), 0
        for tick, strikes, pitch in messages:
            track.append(note("note_on" if strikes else "note_off", pitch, tick - now))
            now = tick
        file.tracks.append(track)
    path = tmp_path_factory.mktemp("parts") / "two.mid"
    file.save(path)
    found: dict[int, set[int]] = {}
    for onset, duration, pitch, _ in sounding(read_piece(path, part="all", time_unit=BEATS)):
        first, last = round(onset * 480), round((onset + duration) * 480)
        found.setdefault(pitch, set()).update(range(first, last))
    expected: dict[int, set[int]] = {}
    for (_, pitch), ticks in held.items():
        expected.setdefault(pitch, set()).update(ticks)
    assert found == expected


@pytest.fixture
def band(midi_file: Build) -> Path:
    """A melody of 2 notes, a bass of 1, drums of 3, in that order of tracks."""
    melody = [note("note_on", 72, 0), note("note_off", 72, 480), note("note_on", 74, 0), note("note_off", 74, 480)]
    bass = [note("note_on", 40, 0, channel=1), note("note_off", 40, 960, channel=1)]
    drums = [m for _ in range(3) for m in (note("note_on", 36, 0, channel=9), note("note_off", 36, 240, channel=9))]
    return midi_file([melody, bass, drums])


@pytest.mark.parametrize(
    ("part", "drums", "left_out"),
    [
        ("all", False, LeftOut(0, 3)),
        ("all", True, LeftOut()),
        ("first", False, LeftOut(1, 3)),
        ("track:1", False, LeftOut(2, 3)),
        ("first", True, LeftOut(4, 0)),
    ],
)
def test_what_is_left_out_is_counted(band: Path, part: str, drums: bool, left_out: LeftOut) -> None:
    assert read_piece(band, part=part, drums=drums).left_out == left_out
    assert from_file(band, part=part, drums=drums).left_out == left_out


def test_what_is_left_out_names_the_keys() -> None:
    assert str(LeftOut(1, 3)) == (
        "1 note of other parts (data.part=all reads all parts); 3 notes of the drum channel (data.drums=true reads it)"
    )
    assert str(LeftOut()) == ""


def test_a_folder_adds_up_what_is_left_out(band: Path, tmp_path: Path) -> None:
    config = compose("data=midi", f"data.path={band.parent}", "data.window_size=1", f"data.cache={tmp_path / 'cache'}")
    for store in ("auto", "off"):
        data = compose(
            "data=midi", f"data.path={band.parent}", "data.window_size=1",
            f"data.cache={tmp_path / 'cache'}", f"data.store={store}",
        ).data  # fmt: skip
        assert read_corpus(data, config.encoding).pieces.left_out == LeftOut(0, 3)


def test_parts_are_read_one_by_one(band: Path) -> None:
    parts = read_parts(band)
    assert [(p.track, p.channel, sounding(p.piece)) for p in parts] == [
        (0, 0, [(0.0, 1.0, 72, 64), (1.0, 1.0, 74, 64)]),
        (1, 1, [(0.0, 2.0, 40, 64)]),
    ]
    assert {note.part: note.pitch for note in from_file(band).notes} == {0: 74, 1: 40}


def meta(kind: str, time: int = 0, **values: Any) -> mido.MetaMessage:
    return mido.MetaMessage(kind, time=time, **values)


def test_tempo_metre_and_key_are_read(midi_file: Build) -> None:
    conductor = [
        meta("set_tempo", tempo=800_000),
        meta("time_signature", numerator=1, denominator=8),
        meta("key_signature", key="Am"),
        meta("time_signature", 240, numerator=3, denominator=8),
        meta("set_tempo", 720, tempo=600_000),
    ]
    piece = read_piece(midi_file([conductor, [note("note_on", 60, 240), note("note_off", 60, 720)]]), part="all")
    assert piece.markings == Markings(((0.0, 800_000), (2.0, 600_000)), ((0.0, 1, 8), (0.5, 3, 8)), ((0.0, "Am"),))
    assert piece.beats().tolist() == [0.5, 2.0]
    assert piece.seconds().tolist() == pytest.approx([0.4, 1.6])


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_tempo_changes_survive_writing(midi_file: Build, tmp_path: Path, unit: TimeUnit) -> None:
    conductor = [
        meta("set_tempo", tempo=800_000),
        meta("set_tempo", 480, tempo=400_000),
        meta("key_signature", key="G"),
    ]
    notes = [note("note_on", 60, 240), note("note_off", 60, 480), note("note_on", 62, 240), note("note_off", 62, 480)]
    piece = read_piece(midi_file([conductor, notes]), part="all", time_unit=unit)
    write_midi(tmp_path / "again.mid", piece)
    again = read_piece(tmp_path / "again.mid", part="all", time_unit=unit)
    assert again.markings == piece.markings
    np.testing.assert_allclose(again.seconds(), piece.seconds(), atol=1e-3)
    np.testing.assert_allclose(again.beats(), piece.beats(), atol=1e-3)


def test_units_change_through_the_tempo_map(midi_file: Build) -> None:
    conductor = [meta("set_tempo", tempo=800_000), meta("set_tempo", 480, tempo=400_000)]
    path = midi_file([conductor, [note("note_on", 60, 240), note("note_off", 60, 480)]])
    seconds = read_piece(path, part="all")
    np.testing.assert_allclose(in_unit(seconds, BEATS).events.delta_time, [0.5, 1.0])
    assert in_unit(seconds, TimeUnit.seconds) is seconds


def test_an_excerpt_knows_its_place(midi_file: Build) -> None:
    notes = [note("note_on", 60, 480), note("note_off", 60, 480), note("note_on", 62, 0), note("note_off", 62, 480)]
    piece = read_piece(midi_file([notes]), part="all", time_unit=BEATS)
    place = excerpt_of(piece, 1, 2)
    assert (place.begin, place.end, place.length) == (1.0, 2.0, 3.0)
    assert excerpt_of(piece, 0, 1).begin == 0.0


@pytest.mark.parametrize(
    ("name", "title"),
    [("fur-elise.mid", "Fur Elise"), ("BWV_846.MIDI", "BWV 846"), ("Für Elise", "Für Elise"), (".mid", ".mid")],
)
def test_titles_are_what_a_person_reads(name: str, title: str) -> None:
    assert title_of(name) == title


def test_a_damaged_signature_is_not_written(tmp_path: Path) -> None:
    events = Events(np.array([60, 60], np.uint8), np.array([64, 0], np.uint8), np.array([0.0, 1.0]), BEATS)
    piece = Piece("odd", events, Timing(), 0, Markings(meters=((0.0, 3, 5), (0.0, 300, 4))))
    write_midi(tmp_path / "odd.mid", piece)
    assert not [m for m in mido.MidiFile(tmp_path / "odd.mid").tracks[0] if m.type == "time_signature"]


@pytest.mark.parametrize("name", ["After Für Elise, no. 1", "夜曲", "a-waltz.mid"])
def test_a_title_survives_writing(tmp_path: Path, name: str) -> None:
    events = Events(np.array([60, 60], np.uint8), np.array([64, 0], np.uint8), np.array([0.0, 1.0]), BEATS)
    write_midi(tmp_path / "x.mid", Piece(name, events))
    assert from_file(tmp_path / "x.mid").title == title_of(name)
    assert from_file(tmp_path / "x.mid", title="Other").title == "Other"


def test_an_instruments_name_is_no_title(midi_file: Build) -> None:
    track = [meta("track_name", name="Violin"), note("note_on", 60, 0), note("note_off", 60, 480)]
    assert from_file(midi_file([track], name="song.mid")).title == "song"
    assert from_file(midi_file([track], name="song.mid", file_type=0)).title == "Violin"


def test_a_lone_c_is_kept_where_it_is_meant(midi_file: Build, tmp_path: Path) -> None:
    """Programs that know no key write C; a file of ours says that it is meant."""
    path = midi_file([[meta("key_signature", key="C"), note("note_on", 60, 0), note("note_off", 60, 480)]])
    piece = read_piece(path)
    assert piece.markings.keys == ()
    write_midi(tmp_path / "ours.mid", replace(piece, markings=Markings(keys=((0.0, "C"),))))
    assert read_piece(tmp_path / "ours.mid").markings.keys == ((0.0, "C"),)
    two = [meta("key_signature", key="C"), meta("key_signature", 480, key="G")]
    assert read_piece(midi_file([two, [note("note_on", 60, 0), note("note_off", 60, 480)]])).markings.key == "C"
