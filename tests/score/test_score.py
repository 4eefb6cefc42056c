"""Scores: what the MusicXML says is what the grid says, bar by bar, and pages can be engraved from it."""

import importlib.util
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.data import TimeUnit
from composer.errors import ComposerError
from composer.music.events import Events, Piece, Timing, prelude_piece
from composer.music.markings import Markings
from composer.music.midi import playable_messages, write_midi
from composer.music.notes import Note, Performance, from_file, from_piece
from composer.score.beats import track_beats
from composer.score.engrave import Notation, _in_text_fonts, engrave, notate, pages
from composer.score.meter import DIVISIONS, Measure, Meter, begin_with, measures, values
from composer.score.musicxml import sounding
from composer.score.parts import plan
from composer.score.quantize import GridNote, quantize
from composer.score.spelling import Key, estimate_key, estimate_key_of, key_alterations, spell

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
PLAYABLE = ["krebs", "fur-elise", "Maestro_1", "Maestro_2", "Maestro_3", "Funkytown", "corrupt_control_168"]
LOOKS = {
    "whole": 4,
    "half": 2,
    "quarter": 1,
    "eighth": 0.5,
    "16th": 0.25,
    "32nd": 0.125,
    "64th": 0.0625,
    "128th": 1 / 32,
}
needs_verovio = pytest.mark.skipif(importlib.util.find_spec("verovio") is None, reason="verovio is not installed")


def read_back(musicxml: str) -> tuple[list[tuple[int, int, int]], list[str]]:
    """(onset, duration, pitch) of the sounding notes of a score, ties joined, and what is wrong with it."""
    notes: list[tuple[int, int, int]] = []
    wrong: list[str] = []
    ids: list[str] = []
    ends = set()
    for part in ET.fromstring(musicxml).iter("part"):
        ends.add(_read_part(part, notes, wrong, ids))
    if len(ends) != 1:
        wrong.append(f"parts end at {sorted(ends)}")
    if len(set(ids)) != len(ids):
        wrong.append("an id stands twice")
    return sorted(notes), wrong


def _read_part(part: ET.Element, notes: list[tuple[int, int, int]], wrong: list[str], ids: list[str]) -> int:
    """Add the notes, faults and ids of one part, and return where it ends."""
    open_ties: dict[tuple[str, int], tuple[int, int]] = {}
    start, length = 0, 0
    for measure in part.iter("measure"):
        if (time := measure.find("attributes/time")) is not None:
            length = int(time.findtext("beats", "")) * 4 * DIVISIONS // int(time.findtext("beat-type", ""))
        place, onset = start, start
        filled: dict[str, int] = defaultdict(int)
        for element in measure:
            if element.tag == "backup":
                place -= int(element.findtext("duration", ""))
            if element.tag != "note":
                continue
            duration, voice = int(element.findtext("duration", "")), element.findtext("voice", "")
            if element.find("chord") is None:
                onset, place = place, place + duration
                filled[voice] += duration
            if (kind := element.findtext("type")) is not None:
                look = Fraction(LOOKS[kind]) * DIVISIONS * (Fraction(3, 2) if element.find("dot") is not None else 1)
                if element.find("time-modification") is not None:
                    look = look * 2 / 3
                if look != duration:
                    wrong.append(f"bar {measure.get('number')}: a {kind} lasts {duration}")
            if element.find("rest") is not None:
                continue
            ids.append(element.get("id", ""))
            step, octave = element.findtext("pitch/step", ""), int(element.findtext("pitch/octave", ""))
            pitch = 12 * (octave + 1) + STEPS[step] + int(element.findtext("pitch/alter", "0"))
            ties = {tie.get("type") for tie in element.iter("tie")}
            begun, held = onset, 0
            if "stop" in ties:
                begun, held = open_ties.pop((voice, pitch))
                if begun + held != onset:
                    wrong.append(f"bar {measure.get('number')}: a tie over a gap")
            if "start" in ties:
                open_ties[voice, pitch] = (begun, held + duration)
            else:
                notes.append((begun, held + duration, pitch))
        expected = length if measure.get("implicit") is None else max(filled.values())
        wrong += [
            f"bar {measure.get('number')}, voice {v}: {n} of {expected}" for v, n in filled.items() if n != expected
        ]
        start += expected
    if open_ties:
        wrong.append(f"ties that lead nowhere: {open_ties}")
    return start


def check(notation: Notation, performance: Performance) -> None:
    found, wrong = read_back(notation.musicxml)
    assert wrong == []
    assert found == sounding([placed.note for placed in notation.arrangement.placed])
    # Onsets and pitches are those of the grid; durations too, where no voice had to end.
    grid = notation.quantized.notes
    assert Counter((onset, pitch) for onset, _, pitch in found) == Counter((n.onset, n.pitch) for n in grid)
    exact = Counter((n.onset, n.duration, n.pitch) for n in grid if n.exact)
    changed = sum((exact - Counter(found)).values())
    assert changed <= notation.arrangement.shortened
    # Every performed note has its noteheads.
    assert sorted(source for note in grid for source in note.sources) == list(range(len(performance.notes)))
    assert len(notation.notes) == len(performance.notes)
    assert {head for note in notation.notes for head in note["ids"]} == set(
        re.findall(r'<note id="([^"]+)"', notation.musicxml)
    )
    staves = notation.arrangement.staves
    assert staves <= 2 or len({note.part for note in performance.notes}) > 1
    assert {placed.staff for placed in notation.arrangement.placed} <= set(range(1, staves + 1))
    assert {placed.voice for placed in notation.arrangement.placed} <= {1, 2}


# Real files and generated pieces


@pytest.mark.slow
@pytest.mark.parametrize("part", ["all", pytest.param("first", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", PLAYABLE)
def test_the_score_of_a_real_file_says_what_its_grid_says(shared_data: Path, name: str, part: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        performance = from_file(shared_data / f"{name}.mid", part=part, clip=True)
    notation = notate(performance)
    check(notation, performance)
    assert notation.quantized.tracked == name.startswith("Maestro")
    assert notation.quantized.mean_error_ms < 30
    assert notation.quantized.largest_error_ms < 120


def wandering(seed: int, events: int = 200) -> Piece:
    """A piece as a network might compose it: any note, any time, releases that do not match."""
    random = np.random.default_rng(seed)
    pitch = random.integers(36, 90, events)
    velocity = random.integers(0, 127, events) * random.integers(0, 2, events)
    velocity[0] = 80
    unit = TimeUnit.beats if seed % 2 else TimeUnit.seconds
    delta = random.choice([0, 0, 0.1, 0.125, 0.25, 1 / 3, 0.5, 2.2], events)
    return Piece(
        "after nothing", Events(pitch.astype(np.uint8), velocity.astype(np.uint8), delta, unit), Timing(120, 400_000)
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_network_composes_can_be_written(seed: int) -> None:
    performance = from_piece(wandering(seed))
    for meter in (None, "3/4", "6/8"):
        check(notate(performance, meter=meter), performance)


@pytest.mark.slow
def test_composed_pieces_are_written(tmp_path: Path, repetitions: Callable[[int, int], int]) -> None:
    """By a small trained network, through their files."""
    import composer
    from composer.commands.train import start
    from composer.config.compose import compose

    config = compose(
        "model.hidden_size=16",
        "trainer.max_epochs=3",
        "sampling.events=5",
        "sampling_grid.pieces=0",
        "logging.sample_media=false",
        "trainer.progress_bar=false",
    )
    start(config, tmp_path / "run")
    run = composer.load(tmp_path / "run")
    for seed in range(repetitions(20, 100)):
        piece = run.generate(events=200, seed=seed)
        piece.save(tmp_path / "piece.mid")
        performance = from_file(tmp_path / "piece.mid")
        check(notate(performance), performance)


# The embedded piece


@pytest.fixture(scope="module")
def prelude() -> tuple[Performance, Notation]:
    performance = from_piece(prelude_piece(TimeUnit.seconds))
    return performance, notate(performance)


def test_the_prelude_is_written_as_printed(prelude: tuple[Performance, Notation]) -> None:
    performance, notation = prelude
    check(notation, performance)
    quantized = notation.quantized
    assert (quantized.largest_error_ms, quantized.tracked, notation.arrangement.shortened) == (
        pytest.approx(0, abs=1e-6),
        False,
        0,
    )
    assert [(bar.start, bar.meter) for bar in quantized.measures] == [(384 * n, Meter(4, 4)) for n in range(35)]
    assert notation.key == Key(0, False)
    assert round(quantized.beats_per_minute) == 72
    assert all(note.exact for note in quantized.notes)
    # The right hand has the six upper sixteenths of each half bar, the left holds two voices.
    bar_2 = [p for p in notation.arrangement.placed if p.note.onset // 384 == 1]
    assert [(p.staff, p.voice) for p in bar_2] == [(2, 2), (2, 1), *[(1, 1)] * 6] * 2


def test_the_prelude_is_spelled_as_printed(prelude: tuple[Performance, Notation]) -> None:
    notes = prelude[1].quantized.notes
    names = spell(notes, Key(0, False))
    assert all(name.pitch == note.pitch for name, note in zip(names, notes, strict=True))
    altered = {n.letter + {1: "#", -1: "b"}[n.alter] + str(n.octave) for n in names if n.alter}
    assert altered == {"F#4", "F#2", "C#5", "Bb3", "Ab3", "Ab2", "Eb4", "Eb3"}


def test_the_same_piece_gives_the_same_score(prelude: tuple[Performance, Notation]) -> None:
    assert notate(prelude[0]).musicxml == prelude[1].musicxml


@pytest.mark.slow
def test_music21_reads_the_same_notes(prelude: tuple[Performance, Notation]) -> None:
    pytest.importorskip("music21")
    from music21 import converter

    score = converter.parseData(prelude[1].musicxml, format="musicxml")
    assert len(score.parts) == 2
    found = []
    for part in score.parts:
        for item in part.stripTies().recurse().notes:
            onset = Fraction(item.getOffsetInHierarchy(part))
            found += [
                (int(onset * DIVISIONS), int(item.quarterLength * DIVISIONS), pitch.midi) for pitch in item.pitches
            ]
    assert sorted(found) == sounding(prelude[1].quantized.notes)


# Notes


def test_notes_pair_as_the_written_file_does(tmp_path: Path) -> None:
    for seed in range(6):
        piece = wandering(seed, 60)
        messages = playable_messages(piece)
        strikes: dict[int, int] = {}
        expected = []
        for tick, pitch, velocity in messages:
            if velocity:
                strikes[pitch] = tick
            else:
                expected.append((strikes[pitch], tick, pitch))
        division = piece.timing.division
        found = []
        for note in from_piece(piece).notes:
            start, end = note.onset_beats * division, (note.onset_beats + note.duration_beats) * division
            found.append((round(start), max(round(end), round(start)), note.pitch))
        found.sort(key=lambda note: (note[2], note[0]))
        expected.sort(key=lambda note: (note[2], note[0]))
        assert [note[2] for note in found] == [note[2] for note in expected]
        # Halves of ticks round either way, and what the last event strikes sounds one tick in the file.
        assert np.abs(np.array(found) - np.array(expected)).max() <= 1
        write_midi(tmp_path / "piece.mid", piece)
        assert len(from_file(tmp_path / "piece.mid").notes) == len(found)


def test_a_files_tempo_map_moves_seconds_and_not_beats(midi_file, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import mido

    track = [
        mido.Message("note_on", note=60, velocity=64, time=0),
        mido.MetaMessage("set_tempo", tempo=1_000_000, time=480),
        mido.Message("note_on", note=60, velocity=0, time=480),
    ]
    (note,) = from_file(midi_file([track])).notes
    assert (note.duration_beats, note.duration_seconds) == (2.0, 1.5)
    meta = [
        mido.MetaMessage("time_signature", numerator=3, denominator=4),
        mido.MetaMessage("key_signature", key="Bbm"),
    ]
    performance = from_file(midi_file([[*meta, *track]]))
    assert (performance.markings.meters, performance.markings.key) == (((0.0, 3, 4),), "Bbm")
    notation = notate(performance)
    assert (notation.key, notation.quantized.measures[0].meter) == (Key(-5, True), Meter(3, 4))


# Parts


def score_of(
    *parts: list[tuple[int, float, float]],
    programs: tuple[int, ...] = (),
    meters: tuple[tuple[float, int, int], ...] = (),
    keys: tuple[tuple[float, str], ...] = (),
) -> Performance:
    """Parts of (pitch, onset, duration) in beats, at 120 beats per minute."""
    notes = [
        Note(pitch, 80, onset / 2, duration / 2, onset, duration, number)
        for number, part in enumerate(parts)
        for pitch, onset, duration in part
    ]
    notes.sort(key=lambda note: (note.onset_seconds, note.pitch, note.part))
    markings = Markings(meters=meters, keys=keys)
    return Performance("parts", tuple(notes), markings, 0, programs=programs or (0,) * len(parts))


def line(*pitches: int, start: float = 0.0, value: float = 1.0) -> list[tuple[int, float, float]]:
    return [(pitch, start + value * number, value) for number, pitch in enumerate(pitches)]


def chords(*roots: int) -> list[tuple[int, float, float]]:
    return [(root + above, float(number), 1.0) for number, root in enumerate(roots) for above in (0, 4, 7)]


def where(performance: Performance) -> list[tuple[int, int, int]]:
    return [(place.system, place.staff, place.voice) for place in plan(performance)]


def test_two_hands_keep_their_own_staves_where_they_cross() -> None:
    performance = score_of(line(72, 50, 52, 74), line(48, 64, 65, 47))
    assert where(performance) == [(0, 1, 0), (0, 2, 0)]
    notation = notate(performance)
    check(notation, performance)
    assert {(note["pitch"], note["staff"]) for note in notation.notes} >= {(50, 1), (52, 1), (64, 2), (65, 2)}


def test_four_lines_share_two_staves_as_voices() -> None:
    performance = score_of(line(72, 74), line(67, 67), line(60, 59), line(48, 43))
    assert where(performance) == [(0, 1, 1), (0, 1, 2), (0, 2, 1), (0, 2, 2)]
    notation = notate(performance)
    check(notation, performance)
    assert [(p.staff, p.voice) for p in notation.arrangement.placed[:4]] == [(2, 2), (2, 1), (1, 2), (1, 1)]


def test_a_unison_of_two_parts_stays_two_notes() -> None:
    bass = line(48, 48, 48, 48)
    performance = score_of(line(67, 67, 67, 67), [(60, 0.0, 4.0)], line(60, 60, 59, 60), bass)
    notation = notate(performance)
    check(notation, performance)
    unison = [(p.note.duration, p.note.part) for p in notation.arrangement.placed if p.note.pitch == 60]
    assert unison == [(384, 1), (96, 2), (96, 2), (96, 2)]
    assert notation.arrangement.shortened == 0
    assert len({note["id"] for note in notation.notes}) == len(performance.notes)


def test_a_song_has_a_staff_for_the_voice_above_the_piano() -> None:
    performance = score_of(line(69, 71, 72, 71), chords(60, 62, 64, 62), chords(41, 43, 45, 43))
    assert where(performance) == [(0, 1, 0), (1, 1, 0), (1, 2, 0)]
    notation = notate(performance)
    check(notation, performance)
    assert notation.arrangement.staves == 3
    parts = list(ET.fromstring(notation.musicxml).iter("part"))
    assert [part.findtext("measure/attributes/staves") for part in parts] == [None, "2"]
    assert {note["staff"] for note in notation.notes if note["pitch"] > 68 and note["duration"]} >= {1}


def test_other_instruments_have_staves_and_clefs_of_their_own() -> None:
    performance = score_of(line(50, 62), line(60, 55), line(36, 28), line(72, 76), programs=(24, 41, 33, 73))
    notation = notate(performance)
    check(notation, performance)
    assert [clefs[0] for clefs in notation.arrangement.clefs] == ["G8", "C", "F8", "G"]
    assert [system.label for system in notation.arrangement.systems] == ["Guitar", "Strings", "Bass", "Pipe"]
    assert notation.musicxml.count("<clef-octave-change>-1<") == 2


def test_a_part_has_its_own_triplets() -> None:
    threes = line(72, 74, 76, 77, 79, 81, value=1 / 3)
    performance = score_of(threes, line(48, 50, 52, 53, 55, 53, 52, 50, value=0.25))
    notation = notate(performance)
    check(notation, performance)
    assert notation.quantized.triplets == ({0, DIVISIONS}, frozenset())
    assert notation.quantized.largest_error_ms < 1e-6


def test_a_rare_triplet_of_a_written_file_is_one() -> None:
    plain = line(*[60, 62, 64, 65] * 30, value=0.5)
    performance = score_of([*plain, *line(67, 65, 64, start=60.0, value=1 / 3)])
    notation = notate(performance)
    check(notation, performance)
    assert notation.quantized.triplets == ({60 * DIVISIONS},)


def test_an_upbeat_of_sixteenths_leaves_triplets_whole() -> None:
    melody = [*line(67, 69, 71, value=0.25), *line(72, 71, 72, start=0.75, value=1 / 3), (67, 1.75, 1.0)]
    performance = score_of(melody, meters=((0.0, 3, 16), (0.75, 2, 4)))
    notation = notate(performance)
    check(notation, performance)
    assert notation.quantized.triplets == ({72},)
    assert notation.musicxml.count("<actual-notes>3<") == 3


def test_key_signatures_change_where_the_file_says() -> None:
    performance = score_of(line(*[68, 70, 72, 73] * 2), keys=((0.0, "Ab"), (4.0, "Db")))
    measures_of = ET.fromstring(notate(performance).musicxml).iter("measure")
    assert [bar.findtext("attributes/key/fifths") for bar in measures_of] == ["-4", "-5"]


def test_high_passages_are_written_an_octave_lower() -> None:
    high = line(72, 76, 79, 84, 96, 98, 100, 101, 103, 101, 100, 98, 72, 71, 69, 67)
    performance = score_of(high, line(*[48] * 16))
    notation = notate(performance)
    check(notation, performance)
    ((octave,), lower) = notation.arrangement.octaves
    assert (octave.start, octave.end, octave.shift) == (4 * DIVISIONS, 12 * DIVISIONS, 1)
    assert lower == ()
    assert re.findall(r'<octave-shift type="(\w+)"', notation.musicxml) == ["down", "stop"]


# The grid


def performed(beats: list[float], tempo: float = 0.5, noise: float = 0.0, seed: int = 0) -> Performance:
    random = np.random.default_rng(seed)
    notes = []
    for number, beat in enumerate(beats):
        onset = beat * tempo + 0.3 + float(random.normal(0, noise))
        low = 40 if beat % 4 == 0 else 64
        notes.append(Note(low + number % 5, 90 if beat % 1 == 0 else 60, onset, 0.2, onset * 2.63, 0.4))
    notes.sort(key=lambda note: note.onset_seconds)
    return Performance("performed", tuple(notes), Markings(), 0)


def test_beats_are_found_in_performed_music() -> None:
    beats = [bar * 4 + place for bar in range(12) for place in (0, 1, 1.5, 2, 2.5, 3)]
    quantized = quantize(performed(beats, tempo=0.46, noise=0.008))
    assert quantized.tracked
    assert quantized.beats_per_minute == pytest.approx(60 / 0.46, rel=0.03)
    onsets = np.array([note.onset for note in quantized.notes])
    assert np.array_equal(onsets - onsets[0], np.array(beats) * DIVISIONS)
    assert quantized.mean_error_ms < 15


def test_beats_follow_a_tempo_that_changes() -> None:
    times = np.cumsum(0.5 + 0.07 * np.sin(np.arange(60) / 9))
    beats = track_beats(times, np.ones(60), 0.5)
    nearest = np.abs(times[:, None] - beats[None, :]).min(axis=1)
    assert nearest[2:-2].max() < 0.03
    assert abs(((beats > times[0] - 0.1) & (beats < times[-1] + 0.1)).sum() - 60) <= 1


def test_triplets_are_found_and_written_as_such() -> None:
    notes = []
    for beat in range(8):
        parts = (0, 1 / 3, 2 / 3) if beat % 2 else (0, 0.25, 0.5, 0.75)
        for part, following in zip(parts, [*parts[1:], 1], strict=True):
            notes.append(Note(60, 80, (beat + part) / 2, (following - part) / 2, beat + part, following - part))
    performance = Performance("threes", tuple(notes), Markings(), 0)
    notation = notate(performance)
    check(notation, performance)
    assert notation.quantized.triplets == ({DIVISIONS * beat for beat in (1, 3, 5, 7)},)
    assert notation.musicxml.count("<actual-notes>3<") == 12
    assert notation.musicxml.count('<tuplet type="start"') == notation.musicxml.count('<tuplet type="stop"') == 4


def test_a_strum_is_a_chord_and_a_doubled_note_one() -> None:
    notes = [Note(p, 80, 0.012 * n, 0.5, 0.024 * n, 1.0) for n, p in enumerate((50, 55, 59, 67))]
    notes += [Note(60, 80, 1.0, 0.5, 2.0, 1.0), Note(60, 80, 1.03, 0.4, 2.06, 0.8)]
    quantized = quantize(Performance("strum", tuple(notes), Markings(), 0))
    assert [note.onset for note in quantized.notes] == [0, 0, 0, 0, 2 * DIVISIONS]
    assert quantized.notes[-1].sources == (4, 5)


# Bars and note values


@given(
    st.sampled_from(["4/4", "3/4", "2/4", "6/8", "3/8", "12/8", "5/4", "2/2", "7/8", "4/16"]),
    st.integers(0, 63),
    st.integers(1, 64),
    st.booleans(),
)
def test_note_values_add_up(meter: str, start: int, cells: int, rest: bool) -> None:
    bar = Measure(960, Meter.parse(meter).length, Meter.parse(meter))
    first = bar.start + min(start * 12, bar.length - 12)
    last = min(first + 12 * cells, bar.end)
    written = values(first, last, bar, frozenset(), bar.meter.pulse, rest=rest)
    assert written[0].start == first
    for value, after in zip(written, [*(v.start for v in written[1:]), last], strict=True):
        assert value.start + value.duration == after
        assert Fraction(LOOKS[value.kind]) * DIVISIONS * (3 if value.dots else 2) / 2 == value.duration


@pytest.mark.parametrize(
    ("meter", "start", "end", "looks"),
    [
        ("4/4", 0, 4, ["whole"]),
        ("4/4", 1, 3, ["half"]),  # quarter, half, quarter
        ("4/4", 0.5, 1.5, ["quarter"]),  # eighth, quarter, eighth
        ("4/4", 1.5, 2.5, ["eighth", "eighth"]),  # the middle of the bar shows
        ("4/4", 0.25, 2, ["eighth.", "quarter"]),
        ("4/4", 0, 3.5, ["half", "quarter."]),
        ("3/4", 0, 3, ["half."]),
        ("6/8", 0, 3, ["half."]),
        ("6/8", 1, 2, ["eighth", "eighth"]),
        ("3/8", 0, 1.5, ["quarter."]),
    ],
)
def test_note_values_show_the_beat(meter: str, start: float, end: float, looks: list[str]) -> None:
    bar = Measure(0, Meter.parse(meter).length, Meter.parse(meter))
    written = values(int(start * 96), int(end * 96), bar, frozenset(), bar.meter.pulse, rest=False)
    assert [value.kind + "." * value.dots for value in written] == looks


def test_an_upbeat_and_a_divided_bar_are_parts_of_one() -> None:
    eighth = DIVISIONS // 2
    signatures = [(0, Meter(1, 8)), (eighth, Meter(3, 8)), (7 * eighth, Meter(2, 8)), (9 * eighth, Meter(1, 8))]
    bars = measures([*signatures, (10 * eighth, Meter(3, 8))], 40 * eighth)
    assert {bar.meter for bar in bars} == {Meter(3, 8)}
    assert [bar.length // eighth for bar in bars[:6]] == [1, 3, 3, 2, 1, 3]
    assert all(a.end == b.start for a, b in zip(bars, bars[1:], strict=False))


def test_an_upbeat_may_have_another_lower_figure() -> None:
    bars = measures([(0, Meter(3, 8)), (144, Meter(4, 4))], 144 + 2 * 384)
    assert [(bar.length, bar.meter, bar.offset) for bar in bars[:2]] == [(144, Meter(4, 4), 240), (384, Meter(4, 4), 0)]
    # Its eighths are the last three of a bar, so the second stands on the fourth beat.
    written = values(0, 144, bars[0], frozenset(), DIVISIONS, rest=True)
    assert [(value.start, value.kind) for value in written] == [(0, "eighth"), (48, "quarter")]


@pytest.mark.parametrize(
    ("meters", "first", "skipped", "begins"),
    [
        ([(0, "4/4")], 0, 0, [(0, "4/4")]),
        ([(0, "4/4")], 800, 768, [(0, "4/4")]),
        ([(0, "4/4")], 672, 672, [(0, "4/4"), (96, "4/4")]),  # an upbeat on the fourth beat
        ([(0, "4/4"), (384, "3/4")], 700, 672, [(0, "3/4")]),
        ([(0, "4/4"), (768, "3/4")], 400, 384, [(0, "4/4"), (384, "3/4")]),
        ([(0, "1/8"), (48, "3/8")], 0, 0, [(0, "1/8"), (48, "3/8")]),
    ],
)
def test_silence_before_the_first_note_is_left_out(
    meters: list[tuple[int, str]], first: int, skipped: int, begins: list[tuple[int, str]]
) -> None:
    found = begin_with([(place, Meter.parse(text)) for place, text in meters], first)
    assert found == (skipped, [(place, Meter.parse(text)) for place, text in begins])


def test_a_score_begins_with_its_upbeat() -> None:
    performance = score_of(line(67, 72, 74, 76, 72, start=7.0), meters=((0.0, 4, 4),))
    notation = notate(performance)
    check(notation, performance)
    assert [bar.length for bar in notation.quantized.measures] == [DIVISIONS, 4 * DIVISIONS]
    first = ET.fromstring(notation.musicxml).find("part/measure")
    assert first is not None
    assert (first.get("number"), first.get("implicit"), first.find("note/rest")) == ("0", "yes", None)


def test_endless_silence_is_refused() -> None:
    notes = (Note(60, 80, 0.0, 0.1, 0.0, 0.2), Note(60, 80, 5e5, 0.1, 1e6, 0.2))
    with pytest.raises(ComposerError, match="bars"):
        notate(Performance("far", notes, Markings(), 0))


@pytest.mark.parametrize("text", ["4", "0/4", "4/3", "4/0", "x/4", "-3/4", "3/4/4", "99/4"])
def test_what_is_no_meter_is_named(text: str) -> None:
    with pytest.raises(ComposerError, match="meter="):
        Meter.parse(text)


# Keys


@pytest.mark.parametrize(
    ("text", "key"),
    [("C", Key(0, False)), ("Am", Key(0, True)), ("F#m", Key(3, True)), ("Bb", Key(-2, False)), ("Abm", Key(-7, True))],
)
def test_a_key_is_read_from_its_name(text: str, key: Key) -> None:
    assert Key.parse(text) == key
    step, alter = key.tonic
    assert "CDEFGAB"[step] == text[0]
    assert key_alterations(key)[step] == alter


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("fifths", range(-7, 8))
def test_a_midi_name_names_its_key(fifths: int, minor: bool) -> None:
    import mido

    name = Key(fifths, minor).midi_name
    assert Key.parse(name) == Key(fifths, minor)
    assert mido.MetaMessage("key_signature", key=name).key == name


def test_a_key_is_estimated_from_weights() -> None:
    b_flat_minor = np.zeros(12)
    b_flat_minor[[10, 0, 1, 3, 5, 6, 9]] = [5, 1, 3, 2, 4, 1, 1]
    assert estimate_key_of(b_flat_minor).midi_name == "Bbm"
    assert estimate_key_of(np.ones(12)) == Key(0, False)


def test_a_neighbour_is_named_by_the_note_it_moves_to() -> None:
    pitches = [65, 69, 72, 74, 68, 69, 65, 72, 68, 67]
    notes = [GridNote(pitch, 96 * n, 96, True, (n,)) for n, pitch in enumerate(pitches)]
    following: list[int | None] = [None] * len(notes)
    plain = spell(notes, Key(-1, False))
    assert [plain[index].letter for index in (4, 8)] == ["A", "A"]
    moving = spell(notes, Key(-1, False), [*following[:4], 5, *following[5:8], 9, None])
    assert [moving[index].letter for index in (4, 8)] == ["G", "A"]


@pytest.mark.parametrize("text", ["", "H", "C##", "G#", "Fbm", "c minor", "m"])
def test_what_is_no_key_is_named(text: str) -> None:
    with pytest.raises(ComposerError, match="key="):
        Key.parse(text)


def scale(tonic: int, steps: tuple[int, ...]) -> Iterator[Note]:
    for number, step in enumerate([*steps, 12, *steps[::-1], 0, steps[4], 0]):
        yield Note(tonic + step, 80, number * 0.5, 0.5, float(number), 1.0)


@pytest.mark.parametrize("fifths", range(-5, 7))
def test_scales_are_in_their_keys_and_have_no_accidentals(fifths: int) -> None:
    notes = tuple(scale(55 + (7 * fifths + 5) % 12, (0, 2, 4, 5, 7, 9, 11)))
    notation = notate(Performance("scale", notes, Markings(), 0))
    assert estimate_key(notation.quantized.notes) == notation.key == Key(fifths, False)
    assert "<accidental>" not in notation.musicxml


# Pages


@needs_verovio
def test_pages_hold_the_noteheads_of_the_notes() -> None:
    engraving = engrave(prelude_piece(TimeUnit.beats))
    assert len(engraving.pages) >= 2
    assert all(page.startswith("<svg") or "<svg" in page[:400] for page in engraving.pages)
    everything = "".join(engraving.pages)
    ids = set(re.findall(r'id="(n\d+(?:-\d+)?)"', everything))
    assert ids == {head for note in engraving.notes for head in note["ids"]}
    assert "Prelude in C major" in everything
    first = engraving.notes[0]
    assert (first["pitch"], first["onset"], first["staff"]) == (60, 0.0, 2)
    assert first["duration"] == pytest.approx(2 * 60 / 72)
    assert set(first) == {"id", "ids", "pitch", "velocity", "onset", "duration", "staff"}


@needs_verovio
def test_the_tempo_mark_stands_clear_of_the_time_signature() -> None:
    page = engrave(prelude_piece(TimeUnit.beats)).pages[0]
    mark = re.search(r'class="tempo">\s*<text x="\d+" y="(\d+)"', page)
    top = re.search(r'class="staff">\s*<path d="M\d+ (\d+) L', page)
    assert mark is not None
    assert top is not None
    # A staff space is 180.
    assert int(top[1]) - int(mark[1]) >= 180


@needs_verovio
def test_no_letter_of_a_music_font_is_left_for_cairosvg() -> None:
    page = engrave(prelude_piece(TimeUnit.beats)).pages[0]
    music = re.compile("[\ue000-\uf8ff]")
    assert music.search(page)
    assert not music.search(_in_text_fonts(page))
    assert "\u2669" in _in_text_fonts(page)


def test_pages_without_verovio_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(ComposerError, match=r"pip install 'lstm-composer\[score\]'"):
        pages("<score-partwise/>")


# How scores are compared (benchmarks/notation.py)


@pytest.fixture(scope="module")
def notation_benchmark() -> ModuleType:
    pytest.importorskip("music21")
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "notation.py"
    spec = importlib.util.spec_from_file_location("notation_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_faults_of_a_chorale_are_counted(notation_benchmark: ModuleType, tmp_path: Path) -> None:
    source, ours, imported = notation_benchmark.scores("bwv66.6", tmp_path, single=False)
    assert (source.bars, len(source.notes), len(source.ties), source.rests) == (10, 163, 2, 0)
    ours, imported = (notation_benchmark.compare(source, other) for other in (ours, imported))
    assert (ours.values, ours.extra, ours.names, ours.rests, ours.staves) == (0, 0, 0, 0, 0)
    assert ours.total < imported.total


def test_each_kind_of_fault_is_counted_once(notation_benchmark: ModuleType) -> None:
    from music21 import converter, stream

    def read(melody: str) -> object:
        score = stream.Score()
        score.insert(0, converter.parse(f"tinynotation: 4/4 {melody}").makeNotation())
        return notation_benchmark.read(score)

    source = read("r4 c4 f#4 g4~ g2 a4 r4")
    assert (len(source.notes), source.notes[2][2], len(source.ties), source.rests) == (4, 288, 1, 2)  # type: ignore[attr-defined]
    faults = notation_benchmark.compare(source, read("c4 g-4 g2 b-4 r4 r4 r4"))
    assert (faults.values, faults.extra, faults.names, faults.ties, faults.rests) == (2, 1, 1, 1, 1)
    assert notation_benchmark.compare(source, source).total == 0
