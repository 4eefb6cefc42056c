"""Pieces that are the same music, worked by hand, against a slow search, and on changed copies of a real piece."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.compose import compose
from composer.config.data import DataConfig, TimeUnit
from composer.corpus import duplicates as similarity
from composer.corpus.duplicates import group, shingles, similar_pairs, ungrouped
from composer.data.prepare import load_data
from composer.music.events import Events, prelude_piece
from composer.reporting.run_tables import group_lines

Build = Callable[..., Path]


def piece_of(pitches: list[int], *, gap: float = 0.25, velocity: int = 64) -> Events:
    """NoteArrays one after another, each released before the next."""
    pitch = np.repeat(np.array(pitches, np.uint8), 2)
    velocities = np.tile(np.array([velocity, 0], np.uint8), len(pitches))
    return Events(pitch, velocities, np.full(len(pitch), gap), TimeUnit.seconds)


def melody(seed: int, notes: int = 200) -> list[int]:
    return np.random.default_rng(seed).integers(48, 72, notes).tolist()


def changed(pitches: list[int], share: float) -> list[int]:
    """Every so-manieth note a semitone higher."""
    every = round(1 / share)
    return [pitch + (k % every == every - 1) for k, pitch in enumerate(pitches)]


# Shingles


def test_shingles_are_the_different_runs_of_six_intervals() -> None:
    found = shingles(piece_of(melody(0, 100)))
    assert len(found) == 100 - 6
    assert found.tolist() == sorted(set(found.tolist()))
    # A figure of four notes repeated has four runs, which is too few to tell anything.
    assert len(shingles(piece_of([60, 64, 67, 72] * 50))) == 0


def test_shingles_know_neither_pitch_nor_time_nor_velocity() -> None:
    pitches = melody(1)
    one = shingles(piece_of(pitches))
    other = shingles(piece_of([pitch - 7 for pitch in pitches], gap=0.31, velocity=20))
    assert one.tolist() == other.tolist()
    assert shingles(piece_of(melody(2))).tolist() != one.tolist()


def test_shingles_sort_simultaneous_notes_by_pitch() -> None:
    rng = np.random.default_rng(3)
    chords = [sorted(rng.choice(np.arange(40, 80), 3, replace=False).tolist()) for _ in range(40)]

    def events(order: list[int]) -> Events:
        pitch = np.array([chord[k] for chord in chords for k in order], np.uint8)
        delta = np.tile([0.5, 0.0, 0.0], len(chords))
        return Events(pitch, np.full(len(pitch), 64, np.uint8), delta, TimeUnit.seconds)

    assert shingles(events([0, 1, 2])).tolist() == shingles(events([2, 0, 1])).tolist()


@given(st.lists(st.tuples(st.integers(0, 127), st.booleans(), st.sampled_from([0.0, 0.5])), max_size=120))
def test_shingles_equal_a_slow_reading(messages: list[tuple[int, bool, float]]) -> None:
    events = Events(
        np.array([m[0] for m in messages], np.uint8),
        np.array([64 * m[1] for m in messages], np.uint8),
        np.array([m[2] for m in messages], np.float64),
        TimeUnit.seconds,
    )
    now, struck = 0.0, []
    for pitch, strike, delta in messages:
        now += delta
        if strike:
            struck.append((now, pitch))
    pitches = [pitch for _, pitch in sorted(struck)]
    intervals = [b - a for a, b in zip(pitches, pitches[1:], strict=False)]
    runs = {tuple(intervals[k : k + 6]) for k in range(len(intervals) - 5)}
    assert len(shingles(events)) == (len(runs) if len(runs) >= 16 else 0)


# Pairs


def test_alike_worked_by_hand() -> None:
    sets = [np.array(numbers, np.uint64) for numbers in ([1, 2, 3, 4], [3, 4, 5, 6, 7, 8], [], [9], [4, 9])]
    # Of the smaller of each two, shared: 2 of 4 in 0 and 1; 1 of 2 in 0 and 4, and in 1 and 4; 1 of 1 in 3 and 4.
    assert similar_pairs(sets, 0.5) == [(0, 1), (0, 4), (1, 4), (3, 4)]
    assert similar_pairs(sets, 0.51) == [(3, 4)]
    assert similar_pairs(sets, 1.0) == [(3, 4)]
    assert similar_pairs([], 0.5) == []


@given(
    sets=st.lists(st.sets(st.integers(0, 25), max_size=20), max_size=12),
    limit=st.floats(0.01, 1) | st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.0]),
)
def test_alike_equals_a_comparison_of_all_pairs(sets: list[set[int]], limit: float) -> None:
    expected = [
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and len(sets[i] & sets[j]) >= limit * min(len(sets[i]), len(sets[j])) - 1e-9
    ]
    assert similar_pairs([np.array(sorted(numbers), np.uint64) for numbers in sets], limit) == sorted(expected)


# Groups


def test_copies_and_near_copies_make_groups() -> None:
    a, b, c = melody(10), melody(11), melody(12)
    pieces = [
        piece_of(a),
        piece_of(b),
        piece_of([pitch + 5 for pitch in a]),  # transposed
        piece_of(b),  # a copy
        piece_of(c),
        piece_of(changed(a, 0.05)),
        piece_of(c[50:120], gap=1.0),  # an excerpt, slower
    ]
    found = group(pieces, 0.5)
    assert found.of.tolist() == [0, 1, 0, 1, 2, 0, 2]
    assert (found.count, found.copies, found.near_copies) == (3, 1, 3)
    # Only what has every shingle: the copy, the transposed piece and the excerpt.
    assert group(pieces, 1.0).of.tolist() == [0, 1, 0, 1, 2, 3, 2]


def test_groups_are_joined_through_a_piece_between() -> None:
    a, b = melody(20, 150), melody(21, 150)
    # Neither half is like the other, and the whole, which comes last, is like both.
    assert group([piece_of(a), piece_of(b)], 0.5).of.tolist() == [0, 1]
    assert group([piece_of(a), piece_of(b), piece_of(melody(22)), piece_of(a + b)], 0.5).of.tolist() == [0, 0, 1, 0]


def test_short_pieces_are_only_ever_copies() -> None:
    pieces = [piece_of([60] * 40), piece_of([70] * 40), piece_of([60] * 40), piece_of([60, 62, 64])]
    found = group(pieces, 0.5)
    assert found.of.tolist() == [0, 1, 0, 2]
    assert (found.copies, found.near_copies) == (1, 0)


def test_alone_is_a_group_a_piece() -> None:
    assert ungrouped(3).of.tolist() == [0, 1, 2]
    assert (ungrouped(3).count, ungrouped(0).count) == (3, 0)


def test_a_sample_of_the_shingles_finds_the_same_groups() -> None:
    originals = [melody(30 + k) for k in range(20)]
    pieces = [piece_of(pitches) for pitches in originals]
    pieces += [piece_of([pitch + 3 for pitch in changed(pitches, 0.02)]) for pitches in originals]
    expected = [*range(20), *range(20)]
    assert group(pieces, 0.5).of.tolist() == expected
    assert group(pieces, 0.5, most=40 * 194 // 3).of.tolist() == expected


def test_the_preludes_own_shapes_are_found_and_others_are_not() -> None:
    prelude = prelude_piece(TimeUnit.seconds).events
    half = prelude[: len(prelude) // 2]
    other = piece_of(melody(40, 500))
    assert group([prelude, half, other], 0.5).of.tolist() == [0, 0, 1]


def test_many_pieces_take_little_time() -> None:
    rng = np.random.default_rng(50)
    # Intervals as melodies have them, small ones mostly: common shingles in nearly all pieces.
    pieces = []
    for _ in range(1000):
        steps = rng.choice([-5, -2, -1, 0, 1, 2, 5], 400, p=[0.05, 0.2, 0.2, 0.1, 0.2, 0.2, 0.05])
        pieces.append(piece_of((64 + np.cumsum(steps)).clip(0, 120).tolist()))
    begin = time.process_time()
    found = group([*pieces, *pieces[:10]], 0.5)
    assert time.process_time() - begin < 20
    assert (found.count, found.copies, found.near_copies) == (1000, 10, 0)


# In a run


@pytest.fixture
def corpus(midi_file: Build, tmp_path: Path) -> Path:
    """Four pieces, the first of them twice more: as it is, and a fourth higher."""
    melodies = [melody(60 + k, 60) for k in range(4)]
    for name, pitches in {
        **{f"{k}.mid": pitches for k, pitches in enumerate(melodies)},
        "copy.mid": melodies[0],
        "higher.mid": [pitch + 5 for pitch in melodies[0]],
    }.items():
        track = [mido.Message("note_on", note=p, velocity=v, time=60) for p in pitches for v in (64, 0)]
        midi_file([track], name=f"corpus/{name}")
    return tmp_path / "corpus"


@pytest.mark.slow
@pytest.mark.parametrize("split", ["by_piece", "shuffled"])
def test_copies_never_straddle_the_pieces_held_out(corpus: Path, split: str) -> None:
    for seed in range(6):
        config = compose("data=midi", f"data.path={corpus}", f"data.split={split}", "data.window_size=20")
        music = load_data(config.data, config.encoding, seed)
        names = [piece.name for piece in music.pieces]
        assert names == ["0.mid", "1.mid", "2.mid", "3.mid", "copy.mid", "higher.mid"]
        assert music.groups.of.tolist() == [0, 1, 2, 3, 0, 0]
        assert (music.groups.copies, music.groups.near_copies) == (1, 1)
        train, val, test = ({int(start) // 120 for start in part} for part in dataclasses.astuple(music.splits))
        apart = [test, train | val] if split == "shuffled" else [test, val, train]
        assert sum(bool(part & {0, 4, 5}) for part in apart) == 1
        if split == "by_piece":
            assert music.leak.by_transposition == 0.0
    assert group_lines(music.groups, config.data) == [
        "groups     4 of 6 pieces: 1 copy and 1 near-copy, held out with theirs (data.group_similarity=0.4)"
    ]
    assert group_lines(music.groups, config.data, names)[1:] == ["           0.mid, copy.mid, higher.mid"]
    assert music.groups.named_by(names) == [["0.mid", "copy.mid", "higher.mid"]]
    # The parts that a file names are as they are.
    named = dataclasses.replace(config.data, split="file")
    assert group_lines(music.groups, named) == [
        "groups     4 of 6 pieces: 1 copy and 1 near-copy (data.group_similarity=0.4)"
    ]
    assert group_lines(ungrouped(6), config.data) == [
        "groups     none: no copies or near-copies among the 6 pieces (data.group_similarity=0.4)"
    ]


def test_without_groups_a_copy_leaks(corpus: Path, data_config: Callable[..., DataConfig]) -> None:
    overrides = ["data=midi", f"data.path={corpus}", "data.split=by_piece", "data.window_size=20"]
    config = compose(*overrides, "data.group_similarity=null", "data.test_fraction=0")
    leaks = []
    for seed in range(6):
        music = load_data(config.data, config.encoding, seed)
        assert music.groups.of.tolist() == [0, 1, 2, 3, 4, 5]
        leaks.append(music.leak.by_transposition)
    assert max(leaks) == 1.0
    (line,) = group_lines(music.groups, config.data, [piece.name for piece in music.pieces])
    assert line.startswith("groups     not searched")
    by_composer = dataclasses.replace(config.data, group_by="composer")
    assert group_lines(music.groups, by_composer) == [
        "groups     none: 0 by data.group_by=composer, not searched for copies among the 6 pieces "
        "(data.group_similarity=null)"
    ]
    assert config.data.split == "by_piece"
    assert similarity.ungrouped(6).of.tolist() == music.groups.of.tolist()
