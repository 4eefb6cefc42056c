"""The figures of music against published programs and slow versions of the same definitions, and the alarm."""

import dataclasses
import itertools

import numpy as np
import pytest

from composer.config.data import TimeUnit
from composer.evaluation import quality
from composer.evaluation.legend import QUALITY
from composer.evaluation.quality import (
    Heard,
    collapse,
    compare_densities,
    distances,
    features,
    groove_similarity,
    likeness,
    measures,
    monotony,
    silence,
)
from composer.evaluation.structure import fitness, similarity, structure
from composer.music.events import Events, prelude_piece
from composer.music.markings import Markings
from composer.music.notes import NoteArrays, excerpts, notes_of

PRELUDE = prelude_piece(TimeUnit.seconds)
WHOLE = notes_of(PRELUDE)


def strikes(rows: list[tuple[int, float, float]], markings: Markings | None = None) -> NoteArrays:
    """Pitch, onset and duration of each note in seconds, two beats each."""
    pitch, onset, duration = (np.array(column) for column in zip(*rows, strict=True))
    return NoteArrays(
        "a",
        pitch,
        np.full(len(rows), 64),
        onset.astype(float),
        duration.astype(float),
        np.arange(len(rows)),
        onset * 2.0,
        duration * 2.0,
        markings or Markings(),
    )


def test_the_preludes_figures_are_those_of_muspy() -> None:
    found = features(WHOLE)
    # muspy 0.5.0 on the piece as a MIDI file.
    assert found["pitch_class_entropy"] == pytest.approx(3.0425880586474423)
    assert found["pitch_range"] == 45
    assert found["polyphony"] == pytest.approx(2.7035714285714287)
    assert found["scale_consistency"] == pytest.approx(0.930783242258652)


def test_densities_and_histograms_of_a_chord_and_a_tune() -> None:
    found = features(strikes([(60, 0, 1), (64, 0, 0.5), (67, 1, 1), (72, 3, 1)]))
    assert found["note_density"] == 1.0
    assert found["polyphony"] == pytest.approx(3.5 / 3)
    inter_onset = np.asarray(found["inter_onset"])
    assert inter_onset[-1] == pytest.approx(1 / 3)
    assert inter_onset.sum() == pytest.approx(1)
    # Half octaves from 1/64 second: 1 second begins the 13th, 2 seconds the 15th.
    assert np.flatnonzero(inter_onset).tolist() == [12, 14, 16]
    assert np.flatnonzero(found["duration"]).tolist() == [10, 12]
    assert quality.histogram(np.array([0.0, 1e-3, 99.0]))[[0, -1]].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_groove_similarity_is_the_mean_over_all_pairs_of_bars() -> None:
    rng = np.random.default_rng(0)
    onsets = np.sort(rng.integers(0, 64 * 5, 60)) / 64 * 2.0
    onsets[0] = 0
    piece = strikes([(60, float(onset), 0.1) for onset in onsets])
    bars = [{round(onset * 32) % 64 for onset in onsets if int(onset // 2) == bar} for bar in range(5)]
    slow = np.mean([1 - len(one ^ other) / 64 for one, other in itertools.combinations(bars, 2)])
    assert groove_similarity(piece) == pytest.approx(slow)
    assert groove_similarity(piece[:2]) is None


def test_bars_are_those_of_the_metre() -> None:
    # Four bars of 3/8, two beats to the second: an onset at the start of each and in the middle of every other.
    rows = [(60, 0.75 * bar + extra, 0.1) for bar in range(4) for extra in ((0, 0.375) if bar % 2 else (0,))]
    found = groove_similarity(strikes(rows, Markings(meters=((0.0, 3, 8),))))
    # Of six pairs of bars, four differ at one of 64 positions.
    assert found == pytest.approx(1 - 4 / 6 / 64)
    assert groove_similarity(strikes(rows)) != pytest.approx(found)


def test_silence_is_the_time_when_nothing_sounds() -> None:
    assert silence(strikes([(60, 0, 1), (64, 0.5, 1), (67, 2, 0.5), (72, 3, 1)])) == pytest.approx((0.5 + 0.5) / 4)
    assert silence(WHOLE) == pytest.approx(0, abs=1e-9)
    assert silence(strikes([(60, 0, 0)])) == 0


def test_what_the_training_music_does_not_have_is_counted() -> None:
    heard = Heard.of([strikes([(60, 0, 1), (72, 1, 2)])])
    assert heard is not None
    assert (heard.pitch_low, heard.pitch_high, heard.longest_seconds) == (60, 72, 2)
    piece = dataclasses.replace(
        strikes([(59, 0, 1), (60, 1, 1), (72, 2, 1), (73, 3, 1), (61, 4, 1)]), velocity=np.array([64, 64, 64, 64, 9])
    )
    found = measures(piece, heard)
    assert found["pitch_outside"] == pytest.approx(2 / 5)
    assert found["velocity_unheard"] == pytest.approx(1 / 5)
    assert {"pitch_outside", "velocity_unheard"}.isdisjoint(measures(piece, None))
    assert Heard.of([]) is None


def test_every_figure_of_the_prelude_has_a_title() -> None:
    found = measures(WHOLE, Heard.of([WHOLE]))
    assert set(found) <= set(QUALITY)
    # Semiquavers without a rest: no phrase ends before the last bars.
    assert found["on_grid"] == 1
    assert found["on_beat"] == pytest.approx(0.25, abs=0.01)
    assert found["on_bar"] == pytest.approx(1 / 16, abs=0.01)


def slow_fitness(similar: np.ndarray, start: int, length: int) -> float:
    """Dynamic programming and its way back, as in the paper, one segment at a time."""
    frames = len(similar)
    part = similar[:, start : start + length]
    score = np.full((frames, length + 1), -np.inf)
    came: dict[tuple[int, int], tuple[int, int]] = {}
    for n in range(frames):
        ways = [(score[n - 1, 0], (n - 1, 0)), (score[n - 1, length], (n - 1, length))] if n else [(0.0, (-1, 0))]
        score[n, 0], came[n, 0] = max(ways, key=lambda way: way[0])
        score[n, 1], came[n, 1] = score[n, 0] + part[n, 0], (n, 0)
        for m in range(2, length + 1):
            cells = [(n - 1, m - 1), (n - 2, m - 1), (n - 1, m - 2)]
            ways = [(score[i, j], (i, j)) for i, j in cells if i >= 0 and j >= 1]
            if ways:
                best, came[n, m] = max(ways, key=lambda way: way[0])
                score[n, m] = best + part[n, m - 1]
    cell = (frames - 1, 0) if score[-1, 0] >= score[-1, length] else (frames - 1, length)
    total, cells_on_paths, covered, end = score[cell], 0, 0, -1
    while cell[0] >= 0:
        n, m = cell
        if m == length:
            end = n
        if m:
            cells_on_paths += 1
        if m == 1:
            covered += end - n + 1
        cell = came[cell]
    alike = max(total - length, 0) / max(cells_on_paths, 1)
    spread = max(covered - length, 0) / frames
    return 2 * alike * spread / max(alike + spread, 1e-16)


def test_fitness_is_that_of_the_paper_segment_by_segment() -> None:
    rng = np.random.default_rng(1)
    phrase = rng.random((5, 12))
    rows = np.concatenate([phrase, rng.random((3, 12)), phrase, phrase])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similar = similarity(rows)
    for length in range(1, len(rows) + 1):
        slow = [slow_fitness(similar, start, length) for start in range(len(rows) - length + 1)]
        assert fitness(similar, length) == pytest.approx(slow), length
    best = [fitness(similar, length).max() for length in range(1, len(rows))]
    assert int(np.argmax(best)) + 1 == 5


def test_structure_is_found_in_repetition_and_not_in_noise() -> None:
    rng = np.random.default_rng(2)

    def tune(pitches: np.ndarray) -> NoteArrays:
        return strikes([(int(pitch), 0.25 * k, 0.25) for k, pitch in enumerate(pitches)])

    phrase = rng.integers(48, 84, 40)
    back, noise = structure(tune(np.tile(phrase, 4))), structure(tune(rng.integers(48, 84, 160)))
    assert back["structure_medium"] > 0.6 > noise["structure_medium"]
    assert set(back) == {"structure_short", "structure_medium", "structure_long"}
    assert set(structure(tune(phrase))) == {"structure_short", "structure_medium"}
    assert structure(tune(phrase[:2])) == {}


def test_overlap_and_divergence_are_the_integrals() -> None:
    rng = np.random.default_rng(0)
    ones, others = rng.normal(0, 1, 40), rng.normal(1, 2, 60)
    # scipy 1.18: gaussian_kde and integrate.quad over all of the line.
    overlap, divergence = compare_densities(ones, others)
    assert overlap == pytest.approx(0.4848497, abs=1e-4)
    assert divergence == pytest.approx(0.7446537, abs=1e-4)
    assert compare_densities(ones, ones) == pytest.approx((1, 0))


def test_distant_or_degenerate_densities_have_finite_figures() -> None:
    overlap, divergence = compare_densities(np.array([0.0, 0.1, 0.2]), np.array([1e4, 1e4 + 1]))
    assert overlap == pytest.approx(0, abs=1e-6)
    assert np.isfinite(divergence)
    assert divergence > 10
    assert compare_densities(np.zeros(3), np.zeros(5)) == (1.0, 0.0)
    assert compare_densities(np.zeros(3), np.array([1.0]))[0] < 0.01


def test_distances_are_between_pairs_or_to_all_of_another_set() -> None:
    assert distances([0.0, 3.0, 7.0]).tolist() == [3, 7, 4]
    assert distances([np.array([0.0, 3.0])], [np.array([4.0, 0.0]), np.array([0.0, 3.0])]).tolist() == [5, 0]


def test_music_is_like_itself_and_unlike_noise() -> None:
    rng = np.random.default_rng(3)
    parts = [features(part) for part in excerpts([WHOLE], 32, 99)]
    noise = dataclasses.replace(
        WHOLE, pitch=rng.integers(30, 100, len(WHOLE)), onset_seconds=np.cumsum(rng.exponential(0.2, len(WHOLE)))
    )
    same, other = likeness(parts[::2], parts[1::2]), likeness(parts, [features(n) for n in excerpts([noise], 32, 99)])
    assert same.overlap.keys() == same.divergence.keys() == set(parts[0])
    for key in ("pitch_class_entropy", "scale_consistency", "pitch_range", "inter_onset"):
        assert same.overlap[key] > other.overlap[key], key
        assert same.divergence[key] < other.divergence[key], key


# Collapse


def events(rows: list[tuple[int, float]]) -> Events:
    pitch, time = (np.array(column) for column in zip(*rows, strict=True))
    return Events(pitch.astype(np.uint8), np.full(len(rows), 64, np.uint8), time.astype(float), TimeUnit.seconds)


def tune(count: int) -> list[tuple[int, float]]:
    rng = np.random.default_rng(4)
    return [(int(p), float(t)) for p, t in zip(rng.integers(40, 80, count), rng.integers(1, 9, count), strict=True)]


USUAL = monotony(PRELUDE.events, anywhere=True)


def test_one_pitch_one_time_and_a_loop_are_told() -> None:
    assert collapse(monotony(events(tune(200))), USUAL) == ""
    assert collapse(monotony(PRELUDE.events), USUAL) == ""
    one_pitch = events([(60, time) for _, time in tune(200)])
    assert collapse(monotony(one_pitch), USUAL).startswith("one pitch makes 100%")
    one_time = events([(pitch, 0.5) for pitch, _ in tune(200)])
    assert collapse(monotony(one_time), USUAL).startswith("one time makes 100%")
    loop = events([*tune(100), *(tune(10) * 5)])
    assert monotony(loop).loop == pytest.approx(5)
    assert collapse(monotony(loop), USUAL).startswith("it ends in a loop, the same events 5 times")


def test_loop_counts_at_the_end_and_anywhere_in_sound_music() -> None:
    passed = events([*(tune(10) * 5), *tune(100)])
    assert monotony(passed).loop == 1
    assert monotony(passed, anywhere=True).loop >= 5
    # A trill of a few notes is none.
    assert monotony(events([*tune(50), *([(60, 1.0), (62, 1.0)] * 8)])).loop == 1


def test_what_the_training_music_does_too_is_no_collapse() -> None:
    drone = events([(60, 0.5)] * 200)
    assert collapse(monotony(drone), USUAL) != ""
    assert collapse(monotony(drone), monotony(drone, anywhere=True)) == ""
