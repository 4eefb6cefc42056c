"""Pieces from lists of notes, as piano rolls, and as the objects of other packages."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from composer.config.data import TimeUnit
from composer.errors import ComposerError
from composer.music.events import Piece, prelude_piece
from composer.music.midi import read_piece

# (onset, duration, pitch, velocity): a chord, then a note that begins as it ends.
NOTES = [(0.0, 1.0, 60, 80), (0.0, 1.0, 64, 70), (1.0, 0.5, 60, 90)]


def rows(piece: Piece, unit: str) -> list[tuple[float, float, int, int]]:
    """The notes of a piece as `Piece.from_notes` takes them."""
    return [
        (getattr(note, f"onset_{unit}"), getattr(note, f"duration_{unit}"), note.pitch, note.velocity)
        for note in piece.notes()
    ]


@pytest.mark.parametrize("unit", ["seconds", "beats"])
def test_notes_come_back_from_the_piece_made_of_them(unit: str) -> None:
    piece = Piece.from_notes(NOTES, unit)
    assert rows(piece, unit) == NOTES
    assert piece.events.time_unit is TimeUnit(unit)


def test_the_tempo_relates_beats_to_seconds() -> None:
    piece = Piece.from_notes(NOTES, "beats", beats_per_minute=60)
    assert rows(piece, "seconds") == NOTES
    assert Piece.from_notes(NOTES, "beats", beats_per_minute=120).notes()[2].onset_seconds == 0.5


def test_the_meter_is_written_and_read(tmp_path: Path) -> None:
    path = Piece.from_notes(NOTES, "beats", meter=(3, 8)).save(tmp_path / "waltz.mid")
    assert read_piece(path).markings.meters == ((0.0, 3, 8),)
    assert read_piece(Piece.from_notes(NOTES).save(path)).markings.meters == ()


def test_a_piece_is_described_in_a_line() -> None:
    assert repr(Piece.from_notes(NOTES, "beats", name="Tune")) == "<Piece 'Tune', 6 events, 1.5 beats>"


def test_note_offs_precede_note_ons_of_the_same_moment() -> None:
    events = Piece.from_notes(NOTES, "beats").events
    assert events.pitch.tolist() == [60, 64, 60, 64, 60, 60]
    assert events.velocity.tolist() == [80, 70, 0, 0, 90, 0]
    assert events.delta_time.tolist() == [0, 0, 1, 0, 0, 0.5]


@pytest.mark.parametrize("unit", ["seconds", "beats"])
def test_a_saved_piece_is_read_with_equal_times(unit: str, tmp_path: Path) -> None:
    thirds = [(k / 3, 1 / 3, 60 + k % 5, 64) for k in range(30)]
    piece = Piece.from_notes(thirds, unit, beats_per_minute=97)
    again = read_piece(piece.save(tmp_path / "thirds.mid"), time_unit=TimeUnit(unit))
    assert np.array_equal(again.events.delta_time, piece.events.delta_time)
    assert np.array_equal(again.events.pitch, piece.events.pitch)
    assert np.array_equal(again.events.velocity, piece.events.velocity)


def test_notes_of_one_pitch_never_overlap() -> None:
    piece = Piece.from_notes([(0, 4, 60, 50), (1, 1, 60, 60), (1, 2, 60, 55)], "beats")
    assert rows(piece, "beats") == [(0, 1, 60, 50), (1, 2, 60, 60)]


def test_the_notes_of_a_piece_make_it_again() -> None:
    prelude = prelude_piece(TimeUnit.beats)
    again = Piece.from_notes(prelude.notes(), "beats", beats_per_minute=72)
    assert rows(again, "beats") == rows(prelude, "beats")
    assert again.seconds()[-1] == pytest.approx(prelude.seconds()[-1], abs=1e-3)


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ((-1, 1, 60, 64), r"notes\[0\]: onset -1 must be at least 0"),
        ((0, 0, 60, 64), r"notes\[0\]: duration 0 must be above 0"),
        ((0, float("inf"), 60, 64), r"notes\[0\]: duration inf must be above 0 and finite"),
        ((0, 1, 128, 64), r"notes\[0\]: pitch 128 must be an integer from 0 to 127"),
        ((0, 1, 60.5, 64), r"notes\[0\]: pitch 60.5 must be an integer"),
        ((0, 1, 60, 0), r"notes\[0\]: velocity 0 must be an integer from 1 to 127"),
        ((0, 1, 60), r"notes\[0\]: must be \(onset, duration, pitch, velocity\)"),
    ],
)
def test_a_wrong_note_is_named_with_its_limit(note: Any, message: str) -> None:
    with pytest.raises(ComposerError, match=f"^{message}"):
        Piece.from_notes([note])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "bars"}, "unit=bars: must be seconds or beats"),
        ({"program": 128}, "program=128"),
        ({"beats_per_minute": 0}, "beats_per_minute=0"),
        ({"ticks_per_beat": 40_000}, "ticks_per_beat=40000"),
        ({"meter": (3, 5)}, r"meter=\(3, 5\): must be beats per bar"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ComposerError, match=f"^{message}"):
        Piece.from_notes(NOTES, **arguments)


def test_a_piece_needs_a_note() -> None:
    with pytest.raises(ComposerError, match="at least one"):
        Piece.from_notes([])


def test_a_piano_roll_has_a_row_per_pitch_and_steps_per_beat() -> None:
    roll = Piece.from_notes(NOTES, "beats", beats_per_minute=60).piano_roll(steps=2)
    expected = np.zeros((128, 3), np.uint8)
    expected[60] = [80, 80, 90]
    expected[64] = [70, 70, 0]
    assert roll.dtype == np.uint8
    assert np.array_equal(roll, expected)


def test_a_piano_roll_in_seconds_follows_the_tempo() -> None:
    piece = Piece.from_notes(NOTES, "beats", beats_per_minute=30)
    assert np.array_equal(piece.piano_roll(1, "seconds"), piece.piano_roll(2, "beats"))


def test_a_short_note_fills_a_step_of_a_piano_roll() -> None:
    roll = Piece.from_notes([(0.0, 0.01, 60, 64)], "beats").piano_roll(steps=1)
    assert roll[60].tolist() == [64]
    with pytest.raises(ComposerError, match="^steps=0"):
        Piece.from_notes(NOTES).piano_roll(steps=0)


def test_pretty_midi_has_the_notes_in_seconds() -> None:
    pytest.importorskip("pretty_midi")
    (instrument,) = Piece.from_notes(NOTES, program=4).to_pretty_midi().instruments
    found = sorted((note.start, note.end - note.start, note.pitch, note.velocity) for note in instrument.notes)
    assert found == [pytest.approx(note) for note in NOTES]
    assert instrument.program == 4


def test_symusic_has_the_notes_in_ticks() -> None:
    pytest.importorskip("symusic")
    score = Piece.from_notes(NOTES, "beats", beats_per_minute=90, program=4).to_symusic()
    (track,) = score.tracks
    per_beat = score.ticks_per_quarter
    found = sorted((note.time / per_beat, note.duration / per_beat, note.pitch, note.velocity) for note in track.notes)
    assert found == NOTES
    assert (track.program, round(score.tempos[0].qpm)) == (4, 90)


def test_music21_has_the_notes_in_quarter_notes() -> None:
    pytest.importorskip("music21")
    prelude = prelude_piece(TimeUnit.beats)
    score = prelude.to_music21()
    found = [(float(n.offset), float(n.quarterLength), n.pitch.midi, n.volume.velocity) for n in score.flatten().notes]
    assert sorted(found) == [pytest.approx(note) for note in sorted(rows(prelude, "beats"))]
    (key,) = score.recurse().getElementsByClass("Key")
    (meter,) = score.recurse().getElementsByClass("TimeSignature")
    (tempo,) = score.recurse().getElementsByClass("MetronomeMark")
    assert (key.name, meter.ratioString, tempo.number) == ("C major", "4/4", pytest.approx(72, abs=0.01))


@pytest.mark.parametrize("package", ["pretty_midi", "music21", "symusic"])
def test_a_missing_package_is_named_with_its_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ComposerError, match=f"^to_{package}: needs the package {package}: pip install {package}$"):
        getattr(Piece.from_notes(NOTES), f"to_{package}")()
