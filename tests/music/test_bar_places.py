"""Places of notes in their bars, against the definition of one place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.music.markings import Markings
from composer.music.rhythm import bar_places

meters = st.tuples(st.sampled_from([1, 2, 3, 4, 6, 9]), st.sampled_from([4, 8, 16]))
eighths = st.integers(0, 160)


@given(st.lists(st.tuples(eighths, meters), max_size=4), st.lists(eighths, min_size=1, max_size=20))
def test_bar_places_are_those_of_the_markings(changes: list[tuple[int, tuple[int, int]]], at: list[int]) -> None:
    signatures = sorted({place: meter for place, meter in changes}.items())
    markings = Markings(meters=tuple((place / 2, *meter) for place, meter in signatures))
    # The metre of most beats, which decides what is an upbeat, is that of the whole piece.
    places = np.array(sorted([*at, 400])) / 2
    markings = Markings(meters=(*markings.meters, (180.0, 4, 4)))
    found = bar_places(markings, places)
    slow = [markings.bar_offset(float(place)) for place in places]
    usual = markings.usual_meter(180.0) == markings.usual_meter(200.0)
    if usual:
        assert found.offset == pytest.approx(slow)
    assert found.start == pytest.approx(places - found.offset)
    assert bool((found.offset < found.length).all())


@pytest.mark.parametrize(
    ("meter", "beats"),
    [
        ((4, 4), [0, 1, 2, 3]),
        ((3, 8), [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
        ((6, 8), [0, 1.5, 3]),
        ((2, 2), [0, 2]),
    ],
)
def test_beats_are_those_of_the_metre(meter: tuple[int, int], beats: list[float]) -> None:
    places = np.arange(0, 3.75, 0.25)
    found = bar_places(Markings(meters=((0.0, *meter),)), places)
    assert places[found.on_beat].tolist() == beats
    bar = meter[0] * 4 / meter[1]
    assert places[found.on_bar].tolist() == [place for place in places if place % bar == 0]


def test_the_notes_of_an_upbeat_stand_at_the_end_of_a_bar() -> None:
    # An eighth before the first bar of 3/8.
    markings = Markings(meters=((0.0, 1, 8), (0.5, 3, 8)))
    found = bar_places(markings, np.array([0.0, 0.25, 0.5, 1.0, 2.0]))
    assert found.offset.tolist() == [1.0, 1.25, 0.0, 0.5, 0.0]
    assert found.start.tolist() == [-1.0, -1.0, 0.5, 0.5, 2.0]
    assert found.on_bar.tolist() == [False, False, True, False, True]


def test_a_rounding_error_before_the_bar_is_on_it() -> None:
    found = bar_places(Markings(), np.array([4 - 1e-9, 4 + 1e-9]))
    assert found.on_bar.all()
    assert found.on_beat.all()
    assert found.start == pytest.approx([4, 4])
