"""Figures that come back, phrase ends and endings, on music whose answers are known."""

from pathlib import Path

import numpy as np
import pytest

from composer.config.data import TimeUnit
from composer.evaluation.phrases import cadence, ending, repetition
from composer.music.events import prelude_piece
from composer.music.markings import Markings
from composer.music.midi import read_piece
from composer.music.notes import NoteArrays, notes_of
from composer.music.tonality import estimate_tonic

PRELUDE = notes_of(prelude_piece(TimeUnit.beats))


def melody(rows: list[tuple[int, float]], last: float = 1.0, markings: Markings | None = None) -> NoteArrays:
    """Pitch and length in beats of each note; the next begins where it ends."""
    pitch = np.array([pitch for pitch, _ in rows])
    length = np.array([length for _, length in rows[:-1]] + [last])
    onsets = np.cumsum(length) - length
    return NoteArrays(
        "tune", pitch, np.full(len(rows), 64), onsets / 2, length / 2, np.arange(len(rows)), onsets, length,
        markings or Markings(),
    )  # fmt: skip


def test_a_figure_comes_back_transposed_with_its_rhythm_or_not() -> None:
    random = np.random.default_rng(0)
    phrase = random.integers(55, 75, 9)
    link = random.integers(30, 90, 30)
    even = [(int(pitch), 1.0) for pitch in [*phrase, *link, *(phrase + 5)]]
    # 48 notes have 40 figures of 9; two of them are the phrase.
    assert repetition(melody(even), rhythm=False) == pytest.approx(2 / 40)
    assert repetition(melody(even), rhythm=True) == pytest.approx(2 / 40)
    faster = even[:39] + [(pitch, 0.5) for pitch, _ in even[39:]]
    assert repetition(melody(faster), rhythm=False) == pytest.approx(2 / 40)
    assert repetition(melody(faster), rhythm=True) == 0


def test_a_piece_of_fewer_than_two_figures_has_no_repetition() -> None:
    assert repetition(melody([(60, 1.0)] * 9), rhythm=False) is None
    assert repetition(melody([(60, 1.0)] * 10), rhythm=False) == 1


def test_the_first_part_of_krebs_repeats_64_per_cent(shared_data: Path) -> None:
    piece = notes_of(read_piece(shared_data / "krebs.mid", part="first"))
    assert repetition(piece, rhythm=False) == pytest.approx(0.637, abs=5e-4)
    assert repetition(piece, rhythm=True) == pytest.approx(0.521, abs=5e-4)


def test_phrase_ends_are_long_waits_and_rest_on_the_tonic_triad() -> None:
    # C major; the second phrase ends on A, which is not of its triad.
    scale = [(60, 0.5), (62, 0.5), (64, 0.5), (65, 0.5)]
    tune = [*scale, (67, 2.0), *scale, (69, 2.0), (67, 0.5), (65, 0.5), (60, 3.0), *scale, (60, 0.5)]
    assert cadence(melody(tune)) == pytest.approx(2 / 3)
    # Another key, the same music.
    assert cadence(melody([(pitch + 3, length) for pitch, length in tune])) == pytest.approx(2 / 3)


def test_an_even_rhythm_has_no_phrase_end() -> None:
    assert cadence(melody([(60, 1.0)] * 20)) is None
    assert cadence(melody([(60, 1.0)])) is None


def test_the_prelude_ends_like_a_piece_its_first_half_does_not() -> None:
    assert ending(PRELUDE) == 1
    assert ending(PRELUDE[: len(PRELUDE) // 2]) <= 1 / 3


def test_each_sign_of_an_ending_counts_a_third() -> None:
    scale = [(60, 1.0), (62, 1.0), (67, 1.0), (72, 1.0)] * 2
    assert ending(melody([*scale, (60, 1.0)], last=4.0)) == 1
    assert ending(melody([*scale, (60, 1.0)], last=1.0)) == pytest.approx(2 / 3)
    assert ending(melody([*scale, (64, 1.0)], last=4.0)) == pytest.approx(2 / 3)
    assert ending(melody([*scale[:-1], (60, 1.0)], last=4.0)) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("triad", "minor"), [((0, 4, 7), False), ((0, 3, 7), True)])
@pytest.mark.parametrize("tonic", [0, 5, 11])
def test_a_triad_is_in_its_own_key(triad: tuple[int, ...], minor: bool, tonic: int) -> None:
    sounding = np.zeros(12)
    sounding[[(tonic + step) % 12 for step in triad]] = 1, 0.5, 0.7
    assert estimate_tonic(sounding) == (tonic, minor)
