"""Tempo maps, metre and key: places and times, and where new music goes on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.errors import ComposerError
from composer.music.markings import Excerpt, Markings

TWO_TEMPOS = Markings(tempos=((0.0, 500_000), (4.0, 1_000_000)))
# An upbeat of an eighth, then 3/8, and a repeat that divides a bar: as Für Elise is often written.
WITH_UPBEAT = Markings(
    ((0.0, 800_000),), ((0.0, 1, 8), (0.5, 3, 8), (3.5, 2, 8), (4.5, 1, 8), (5.0, 3, 8)), ((0.0, "Am"),)
)


def test_seconds_follow_the_tempo_map() -> None:
    assert TWO_TEMPOS.seconds(np.array([0.0, 2.0, 4.0, 5.0])).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert TWO_TEMPOS.seconds_per_beat(np.array([3.9, 4.0])).tolist() == [0.5, 1.0]


def test_without_tempos_midis_default_holds() -> None:
    assert Markings().seconds(np.array([2.0])).tolist() == [1.0]
    late = Markings(tempos=((2.0, 1_000_000),))
    assert late.seconds(np.array([2.0, 3.0])).tolist() == [1.0, 2.0]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(100_000, 2_000_000)), max_size=5),
    st.lists(st.floats(0, 200), min_size=1, max_size=8),
)
def test_beats_invert_seconds(tempos: list[tuple[float, int]], places: list[float]) -> None:
    markings = Markings(tempos=tuple(sorted({round(place, 3): tempo for place, tempo in tempos}.items())))
    found = markings.beats(markings.seconds(np.array(places)))
    np.testing.assert_allclose(found, places, atol=1e-6)


def test_usual_tempo_and_meter_hold_longest() -> None:
    assert TWO_TEMPOS.usual_tempo(end=7.0) == 500_000
    assert TWO_TEMPOS.usual_tempo(end=20.0) == 1_000_000
    assert WITH_UPBEAT.usual_meter(end=20.0) == (3, 8)
    assert Markings().usual_meter(end=3.0) == (4, 4)


@pytest.mark.parametrize(
    ("place", "offset"), [(0.0, 1.0), (0.25, 1.25), (0.5, 0.0), (1.0, 0.5), (2.0, 0.0), (5.0, 0.0), (5.75, 0.75)]
)
def test_bar_offset_counts_an_upbeat_from_the_bars_end(place: float, offset: float) -> None:
    assert WITH_UPBEAT.bar_offset(place) == pytest.approx(offset)


def test_music_goes_on_in_the_middle_of_a_bar() -> None:
    markings, silence = WITH_UPBEAT.after(place=6.0, end=20.0)  # 1 beat into a bar of 1.5
    assert silence == 0
    assert markings == Markings(((0.0, 800_000),), ((0.0, 1, 8), (0.5, 3, 8)), ((0.0, "Am"),))


def test_music_goes_on_at_a_bar_line_without_an_upbeat() -> None:
    markings, silence = WITH_UPBEAT.after(place=6.5, end=20.0)
    assert (markings.meters, silence) == (((0.0, 3, 8),), 0)


def test_the_rest_of_a_bar_is_rounded_to_a_time_signature() -> None:
    common = Markings(meters=((0.0, 4, 4),))
    markings, silence = common.after(place=1.7, end=8.0)  # 2.3 beats are left: 9/16 are 2.25
    assert markings.meters == ((0.0, 9, 16), (2.25, 4, 4))
    assert silence == pytest.approx(-0.05)
    markings, silence = common.after(place=1.65, end=8.0)  # 2.35: 19/32 are 2.375
    assert (markings.meters[0], silence) == ((0.0, 19, 32), pytest.approx(0.025))


@given(st.floats(0, 64))
def test_bar_lines_stay_where_they_were(place: float) -> None:
    """New music's bar lines fall where those of the piece would."""
    common = Markings(meters=((0.0, 3, 4),))
    markings, silence = common.after(place, end=64.0)
    first_bar_line = markings.meters[1][0] if len(markings.meters) > 1 else 0.0
    line = place + first_bar_line - silence
    assert math.isclose(line / 3, round(line / 3), abs_tol=1e-5)
    assert abs(silence) <= 0.0625 + 1e-9


def test_a_moment_before_a_bar_line_is_no_upbeat() -> None:
    markings, silence = WITH_UPBEAT.after(place=6.48, end=20.0)
    assert markings.meters == ((0.0, 3, 8),)
    assert silence == pytest.approx(-0.02)


def test_music_after_the_end_has_the_usual_tempo_and_metre() -> None:
    slowing = Markings(((0.0, 500_000), (10.0, 900_000)), ((0.0, 3, 4), (9.0, 2, 4)), ((0.0, "G"),))
    assert slowing.extended(end=11.0) == Markings(
        ((0.0, 500_000), (10.0, 900_000), (11.0, 500_000)), ((0.0, 3, 4), (9.0, 2, 4), (11.0, 3, 4)), ((0.0, "G"),)
    )


def test_an_excerpt_survives_a_checkpoint() -> None:
    excerpt = Excerpt(WITH_UPBEAT, 0.0, 6.0, 20.0)
    assert Excerpt.from_plain(excerpt.to_plain()) == excerpt
    assert excerpt.onward() == WITH_UPBEAT.after(6.0, 20.0)
    assert excerpt.repeated()[0].meters == ((0.0, 1, 8), (0.5, 3, 8))


@pytest.mark.parametrize(
    "damage",
    [
        {"tempos": [[0.0, 0]]},
        {"meters": [[0.0, 3]]},
        {"keys": None},
        {"end": 99.0},
        {"begin": "x"},
        {"length": math.inf},
    ],
)
def test_damaged_values_are_refused(damage: dict[str, object]) -> None:
    plain = Excerpt(WITH_UPBEAT, 0.0, 6.0, 20.0).to_plain() | damage
    with pytest.raises(ComposerError, match="damaged"):
        Excerpt.from_plain(plain)
