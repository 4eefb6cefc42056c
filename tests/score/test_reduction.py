"""Scores of performances: few ties, the sustain pedal as marks, the margin of the key."""

from pathlib import Path

import mido
import numpy as np
import pytest

from composer.music.midi import pedal_stretches
from composer.music.notes import from_file
from composer.score.engrave import notate
from composer.score.meter import DIVISIONS, Measure, Meter, measures
from composer.score.quantize import GridNote
from composer.score.spelling import estimate_key, key_margin, plain_key
from composer.score.voices import reduced


def bars(beats: int) -> list[Measure]:
    return measures([(0, Meter(4, 4))], beats * DIVISIONS)


def note(pitch: int, beat: float, beats: float) -> GridNote:
    return GridNote(pitch, int(beat * DIVISIONS), int(beats * DIVISIONS), False, (0,))


def lengths(*notes: GridNote) -> list[float]:
    return [one.duration / DIVISIONS for one in reduced(notes, bars(8))]


def test_a_note_lasts_to_the_next_or_to_its_bars_end() -> None:
    # Legato, and a note that the pedal or the finger holds a little longer.
    assert lengths(note(60, 0, 1.2), note(62, 1, 0.9), note(64, 2, 1.0)) == [1, 1, 1]
    # Held into the next bar: the bar line ends it.
    assert lengths(note(60, 3, 4), note(62, 5, 3)) == [1, 3]


def test_what_is_held_for_long_stays_a_second_voice() -> None:
    assert lengths(note(48, 0, 3.4), note(60, 1, 1), note(62, 2, 1), note(64, 3, 1))[0] == 3


def test_a_short_note_before_silence_ends_with_its_beat() -> None:
    assert lengths(note(60, 0.5, 0.3), note(62, 3, 1))[0] == 0.5


def played(tmp_path: Path, moves: list[tuple[int, int]]) -> Path:
    """A file with a scale and these moves of the sustain pedal, (ticks, value)."""
    file = mido.MidiFile(ticks_per_beat=96)
    track = mido.MidiTrack()
    file.tracks.append(track)
    events = [(tick, mido.Message("control_change", control=64, value=value)) for tick, value in moves]
    for k, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72)):
        events += [(96 * k, mido.Message("note_on", note=pitch, velocity=70))]
        events += [(96 * k + 90, mido.Message("note_off", note=pitch))]
    now = 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    path = tmp_path / "pedal.mid"
    file.save(path)
    return path


def test_the_pedal_is_read_in_beats(tmp_path: Path) -> None:
    moves = [(96, 127), (288, 0), (384, 64), (480, 100), (576, 63)]
    assert pedal_stretches(played(tmp_path, moves)) == ((1, 3), (4, 6))
    # Never lifted: to the end of the file.
    assert pedal_stretches(played(tmp_path, [(96, 127)])) == ((1, 7 + 90 / 96),)
    assert pedal_stretches(played(tmp_path, [])) == ()


def test_the_pedal_is_marked_in_the_score(tmp_path: Path) -> None:
    # Up and down at almost one place is a change of the pedal.
    path = played(tmp_path, [(0, 127), (194, 0), (200, 127), (384, 0)])
    notation = notate(from_file(path))
    assert notation.quantized.pedal == ((0, 2 * DIVISIONS), (2 * DIVISIONS, 4 * DIVISIONS))
    for kind in ("start", "change", "stop"):
        assert notation.musicxml.count(f'<pedal type="{kind}"') == 1
    assert "<pedal" not in notate(from_file(played(tmp_path, []))).musicxml


def test_the_margin_names_the_key_and_the_next_best() -> None:
    scale = [note(pitch, k, 1) for k, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72, 60, 64, 67, 60))]
    best, own, second, other = key_margin(scale)
    assert best == estimate_key(scale)
    assert best.name == "C major"
    assert second != best
    assert 0.5 < other < own <= 1


def test_a_key_in_doubt_has_the_smaller_signature() -> None:
    # F sharp major and B major, hardly told apart: five sharps are easier than six.
    pitches = [66, 68, 70, 71, 71, 71, 73, 73, 73, 75]
    doubtful = [note(pitch, k, 1) for k, pitch in enumerate(pitches)]
    best, own, second, other = key_margin(doubtful)
    assert (best.fifths, second.fifths) == (6, 5)
    assert own - other < 0.05
    assert plain_key(doubtful) == second
    # A clear key stays, however many sharps it has.
    clear = [note(pitch, k, 1) for k, pitch in enumerate((66, 68, 70, 71, 73, 75, 77, 78, 66, 70, 73, 66))]
    assert plain_key(clear) == estimate_key(clear)
    assert abs(plain_key(clear).fifths) == 6


@pytest.mark.slow
def test_a_performance_has_few_ties(shared_data: Path) -> None:
    notation = notate(from_file(shared_data / "Maestro_1.mid"))
    assert notation.quantized.tracked
    per_bar = notation.musicxml.count('<tie type="start"') / len(notation.quantized.measures)
    assert per_bar < 1.5
    assert len(notation.quantized.pedal) > 100
    ends = np.array([placed.note.duration for placed in notation.arrangement.placed])
    assert ends.min() > 0
