"""The three channels of classes: the article's formula exactly, the other binnings, round trips and their error."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.config.data import Block, DataConfig, EncodingConfig, TimeBinning, TimeUnit
from composer.data.prepare import load_data
from composer.data.vocabulary import TimeError, Vocabulary, fit
from composer.errors import ComposerError
from composer.music.events import Events, prelude_piece

Encoding = Callable[..., EncodingConfig]
SECONDS, BEATS = TimeUnit.seconds, TimeUnit.beats

# Times as MIDI files have them: whole ticks, some of them 0, many equal.
tick_times = st.builds(
    lambda ticks, division: [tick * 0.307692 / division for tick in ticks],
    st.lists(st.integers(0, 40) | st.integers(0, 5000), min_size=1, max_size=60),
    st.sampled_from([96, 120, 480]),
)
# Floats that no grid has, and neighbours a rounding step apart.
ugly_times = st.lists(
    st.floats(1e-6, 1e4) | st.sampled_from([0.1, 0.2, 0.3, 0.1 + 0.2, math.nextafter(0.1, 1), 1 / 3, 1e-6, 1e4]),
    min_size=2,
    max_size=40,
)


def array(values: list[float]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def events_of(pitch: list[int], velocity: list[int], delta_time: list[float], unit: TimeUnit = SECONDS) -> Events:
    return Events(np.array(pitch, np.uint8), np.array(velocity, np.uint8), array(delta_time), unit)


def classes_of(vocabulary: Vocabulary, times: list[float]) -> list[int]:
    return vocabulary.time_classes(array(times)).tolist()


# The article's vocabulary


def test_article_has_229_classes(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(), array([0.1, 0.2, 0.35]))
    assert vocabulary.sizes == (89, 128, 12)
    assert sum(vocabulary.sizes) == 229


def test_encode_gives_note_velocity_and_time_classes(encoding_config: Encoding) -> None:
    # Times 1 .. 11: intervals of width 1.
    vocabulary = fit(encoding_config(), array([0.0, 1.0, 2.5, 11.0]))
    events = events_of([24, 60, 112, 30], [0, 1, 127, 64], [0.0, 1.0, 2.5, 11.0])
    classes = vocabulary.encode(events)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[0, 0, 0], [36, 1, 1], [88, 127, 2], [6, 64, 11]]


def test_decode_gives_the_events_with_the_time_of_the_class(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(), array([0.0, 1.0, 1.5, 1.75, 11.0]))
    events = vocabulary.decode(np.array([[0, 0, 0], [88, 127, 1], [36, 64, 11], [36, 0, 5]]))
    assert events.pitch.tolist() == [24, 112, 60, 60]
    assert events.velocity.tolist() == [0, 127, 64, 0]
    # The mean of the training members; class 5 (5 <= t < 6) has none, so its middle.
    assert events.delta_time.tolist() == [0.0, (1.0 + 1.5 + 1.75) / 3, 11.0, 5.5]
    assert (events.pitch.dtype, events.velocity.dtype, events.time_unit) == (np.uint8, np.uint8, SECONDS)


@given(times=ugly_times, shares=st.lists(st.floats(0, 1), max_size=40), bins=st.just(10) | st.integers(1, 254))
def test_equal_width_class_is_the_formula_for_every_time(
    encoding_config: Encoding, times: list[float], shares: list[float], bins: int
) -> None:
    low, high = min(times), max(times)
    assume(low < high)
    vocabulary = fit(encoding_config(time_bins=bins), array(times))
    width = (high - low) / bins
    # Also times it was not fitted on, and the neighbours of every edge.
    asked = [*times, *(min(high, low + share * (high - low)) for share in shares)]
    asked += [step for edge in vocabulary.time_edges for step in (edge, math.nextafter(edge, 0)) if low <= step <= high]
    assert classes_of(vocabulary, asked) == [1 + math.floor((time - low) / width) for time in asked]
    assert len(vocabulary.time_edges) == bins + 1


@given(times=tick_times)
def test_last_class_of_the_article_holds_the_largest_time_alone(encoding_config: Encoding, times: list[float]) -> None:
    vocabulary = fit(encoding_config(), array(times))
    assume(len(vocabulary.time_edges) == 11)
    classes = classes_of(vocabulary, times)
    assert [time for time, number in zip(times, classes, strict=True) if number == 11] == [
        time for time in times if time == max(times)
    ]


def test_last_class_is_empty_where_rounding_lowers_the_formula(encoding_config: Encoding) -> None:
    # In floats floor((3.81 - 3.19) / ((3.81 - 3.19) / 7)) is 6: the largest time falls in class 7, none in class 8.
    assert math.floor((3.81 - 3.19) / ((3.81 - 3.19) / 7)) == 6
    vocabulary = fit(encoding_config(time_bins=7), array([3.19, 3.81]))
    assert classes_of(vocabulary, [3.19, 3.81]) == [1, 7]
    assert vocabulary.sizes[2] == 9
    # The same wherever that width is exact.
    assert classes_of(fit(encoding_config(time_bins=7), array([1.0, 8.0])), [1.0, 8.0]) == [1, 8]


def test_times_closer_than_intervals_make_a_vocabulary(encoding_config: Encoding) -> None:
    # A rounding step apart: the ten intervals between them hold no float of their own.
    times = [0.1, math.nextafter(0.1, 1)]
    vocabulary = fit(encoding_config(), array(times))
    first, last = classes_of(vocabulary, times)
    assert (first, last) == (1, 11)
    assert vocabulary.decode(np.array([[0, 0, first], [0, 0, last]])).delta_time.tolist() == times
    assert Vocabulary.from_plain(vocabulary.to_plain()) == vocabulary


# Binned velocities


def often(velocities: object) -> NDArray[np.int64]:
    """How often each of the velocities 0 to 127 occurs."""
    return np.bincount(np.asarray(velocities, np.int64), minlength=128)


def test_velocity_bins_worked_by_hand(encoding_config: Encoding) -> None:
    # Two classes: (v - 1) * 2 // 127 is 0 up to 64 and 1 from 65.
    played = np.array([0, 10, 20, 30, 0, 127], np.uint8)
    vocabulary = fit(encoding_config(velocity_bins=2), array([1.0]), velocities=often(played))
    assert vocabulary.sizes[1] == 3
    assert vocabulary.velocity_values == (0, 20, 127)
    events = events_of([60] * 5, [0, 1, 64, 65, 127], [1.0] * 5)
    classes = vocabulary.encode(events)
    assert classes[:, 1].tolist() == [0, 1, 1, 2, 2]
    assert vocabulary.decode(classes).velocity.tolist() == [0, 20, 20, 127, 127]
    # Without members, or without anything to learn from, the middle.
    assert fit(encoding_config(velocity_bins=2), array([1.0]), velocities=often(played[:5])).velocity_values == (
        0,
        20,
        96,
    )
    assert fit(encoding_config(velocity_bins=2), array([1.0])).velocity_values == (0, 32, 96)


@given(bins=st.integers(1, 127), played=st.lists(st.integers(0, 127), max_size=40))
def test_binned_velocity_decodes_into_its_own_class(encoding_config: Encoding, bins: int, played: list[int]) -> None:
    vocabulary = fit(encoding_config(velocity_bins=bins), array([1.0]), velocities=often(played))
    every = events_of([60] * 128, [*range(128)], [1.0] * 128)
    classes = vocabulary.encode(every)
    assert classes[0, 1] == 0
    assert classes[1:, 1].min() == 1
    assert sorted(set(classes[:, 1].tolist())) == [*range(bins + 1)]
    assert (np.diff(classes[:, 1].astype(int)) >= 0).all()
    assert vocabulary.encode(vocabulary.decode(classes)).tolist() == classes.tolist()
    sizes = np.bincount(classes[1:, 1])[1:]
    assert sizes.max() - sizes.min() <= 1
    assert Vocabulary.from_plain(json.loads(json.dumps(vocabulary.to_plain()))) == vocabulary
    if bins == 127:
        assert vocabulary.decode(classes).velocity.tolist() == [*range(128)]


def test_without_bins_nothing_is_kept_of_velocities(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(), array([1.0]), velocities=often([3, 4]))
    assert vocabulary.velocity_values == ()
    assert set(vocabulary.to_plain()) == {"pitch_low", "pitch_high", "time_unit", "time_edges", "time_values"}


@pytest.mark.parametrize("values", [[0], [1, 20], [0, 0], [0, 128], [0, "x"], [0] + [5] * 128])
def test_damaged_velocity_values_are_refused(encoding_config: Encoding, values: list[Any]) -> None:
    plain = fit(encoding_config(velocity_bins=2), array([1.0])).to_plain() | {"velocity_values": values}
    with pytest.raises(ComposerError, match="the checkpoint's vocabulary is damaged"):
        Vocabulary.from_plain(plain)


# The other binnings


def test_quantile_edges_have_equal_shares(encoding_config: Encoding) -> None:
    config = encoding_config(time_binning=TimeBinning.quantile, time_bins=4)
    vocabulary = fit(config, array([0, 8, 7, 6, 5, 4, 3, 2, 1]))
    assert vocabulary.time_edges == (1, 3, 5, 7)
    assert vocabulary.time_values == (0, 1.5, 3.5, 5.5, 7.5)
    # Where most times are equal some quantiles fall together.
    vocabulary = fit(config, array([1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7]))
    assert vocabulary.time_edges == (1, 2, 5)
    assert vocabulary.time_values == (0, 1, 3, 6)


def test_kmeans_edges_lie_half_way_between_the_means(encoding_config: Encoding) -> None:
    config = encoding_config(time_binning=TimeBinning.kmeans, time_bins=3)
    vocabulary = fit(config, array([5.0, 1.0, 0.0, 1.5, 9.0, 5.5, 1.0, 1.0]))
    # Means 1.125, 5.25 and 9.
    assert vocabulary.time_edges == (1.0, 3.1875, 7.125)
    assert vocabulary.time_values == (0.0, 1.125, 5.25, 9.0)


@given(times=tick_times, bins=st.integers(1, 12))
def test_kmeans_takes_each_time_to_the_nearest_value(encoding_config: Encoding, times: list[float], bins: int) -> None:
    vocabulary = fit(encoding_config(time_binning=TimeBinning.kmeans, time_bins=bins), array(times))
    values = vocabulary.time_values[1:]
    for time, number in zip(times, classes_of(vocabulary, times), strict=True):
        if time > 0:
            nearest = min(abs(time - value) for value in values)
            assert abs(time - values[number - 1]) == pytest.approx(nearest, abs=1e-9)


@pytest.mark.parametrize("binning", [TimeBinning.quantile, TimeBinning.kmeans])
@given(times=tick_times)
def test_few_distinct_times_have_a_class_each(
    encoding_config: Encoding, binning: TimeBinning, times: list[float]
) -> None:
    distinct = sorted({0.0, *times})
    vocabulary = fit(encoding_config(time_binning=binning, time_bins=60), array(times))
    assert vocabulary.time_values == tuple(distinct)
    assert vocabulary.time_error(array(times)) == TimeError(0.0, 0.0, SECONDS)


# All binnings


@given(
    times=tick_times | ugly_times,
    binning=st.sampled_from([b for b in TimeBinning if b is not TimeBinning.distinct]),
    bins=st.integers(1, 30),
)
def test_class_decodes_to_the_mean_of_its_members_and_back(
    encoding_config: Encoding, times: list[float], binning: TimeBinning, bins: int
) -> None:
    vocabulary = fit(encoding_config(time_binning=binning, time_bins=bins), array(times))
    classes = classes_of(vocabulary, times)
    members: dict[int, list[float]] = {}
    for time, number in zip(times, classes, strict=True):
        members.setdefault(number, []).append(time)
    for number, values in members.items():
        decoded = float(vocabulary.decode(np.array([[0, 0, number]])).delta_time[0])
        assert decoded == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
        assert min(values) <= decoded <= max(values)
        assert classes_of(vocabulary, [decoded]) == [number]
    assert all((time == 0) == (number == 0) for time, number in zip(times, classes, strict=True))
    assert list(vocabulary.time_edges) == sorted(vocabulary.time_edges)
    assert len(vocabulary.time_values) == vocabulary.sizes[2] <= bins + 2


@given(times=tick_times | ugly_times, bins=st.integers(1, 30))
def test_distinct_classes_decode_to_times_that_occur(encoding_config: Encoding, times: list[float], bins: int) -> None:
    """The commonest times and the longest have a class, and every time is of the class of the nearest."""
    vocabulary = fit(encoding_config(time_binning=TimeBinning.distinct, time_bins=bins), array(times))
    values = np.array(vocabulary.time_values)
    positive = [time for time in times if time > 0]
    assert set(values[1:]) <= set(positive)
    assert len(values) - 1 == min(len(set(positive)), bins)
    if positive:
        assert values[-1] == max(positive)
        kept = sorted(positive.count(value) for value in set(positive) - {max(positive)})
        assert sum(positive.count(value) for value in values[1:-1]) == sum(kept[::-1][: bins - 1])
    for time, number in zip(times, classes_of(vocabulary, times), strict=True):
        nearest = np.abs(values[1:] - time).min() if time else 0.0
        assert abs(values[number] - time) == pytest.approx(nearest, rel=1e-9)
    again = fit(
        encoding_config(time_binning=TimeBinning.distinct, time_bins=bins), *np.unique(array(times), return_counts=True)
    )
    assert again == vocabulary


@pytest.mark.parametrize("binning", TimeBinning)
@pytest.mark.parametrize("copies", range(1, 30))
def test_equal_times_decode_to_themselves_however_many(
    encoding_config: Encoding, binning: TimeBinning, copies: int
) -> None:
    # The rounded mean of six times 0.1 is less than 0.1, of three more: it must not fall into the class below.
    times = [0.05] * copies + [0.1] * copies + [0.3] * copies
    vocabulary = fit(encoding_config(time_binning=binning), array(times))
    classes = np.unique(vocabulary.time_classes(array(times)))
    assert vocabulary.decode(np.stack([classes] * 3, axis=1)).delta_time.tolist() == [0.05, 0.1, 0.3]
    assert classes_of(vocabulary, [0.05, 0.1, 0.3]) == classes.tolist()


@given(
    events=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 127), st.floats(0, 20)), min_size=1, max_size=40),
    training=tick_times,
    binning=st.sampled_from(TimeBinning),
)
def test_decoding_is_exact_but_for_the_reported_time_error(
    encoding_config: Encoding, events: list[tuple[int, int, float]], training: list[float], binning: TimeBinning
) -> None:
    pitch, velocity, times = (list(column) for column in zip(*events, strict=True))
    original = events_of(pitch, velocity, times)
    vocabulary = fit(encoding_config(pitch_low=0, pitch_high=127, time_binning=binning), array(training))
    decoded = vocabulary.decode(vocabulary.encode(original))
    assert decoded.pitch.tolist() == pitch
    assert decoded.velocity.tolist() == velocity

    errors = [abs(a - b) for a, b in zip(decoded.delta_time.tolist(), times, strict=True) if b > 0]
    expected = TimeError(1000 * math.fsum(errors) / max(1, len(errors)), 1000 * max(errors, default=0), SECONDS)
    reported = vocabulary.time_error(original.delta_time)
    assert (reported.mean, reported.maximum) == pytest.approx((expected.mean, expected.maximum), rel=1e-9)
    assert (original.pitch.tolist(), original.velocity.tolist(), original.delta_time.tolist()) == (
        pitch,
        velocity,
        times,
    )


def test_time_error_leaves_simultaneous_events_out(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(time_bins=1), array([0.0, 0.25, 0.75, 1.25]))  # class 1 decodes to 0.5
    error = vocabulary.time_error(array([0.0, 0.0, 0.25, 0.75, 0.5]))
    assert (error.mean, error.maximum) == (500 / 3, 250.0)
    assert str(error) == "mean 166.67, largest 250.00 ms"
    assert vocabulary.time_error(array([0.0])) == TimeError(0.0, 0.0, SECONDS)
    assert str(TimeError(1.0, 2.0, BEATS)) == "mean 1.00, largest 2.00 thousandths of a beat"


@pytest.mark.parametrize("binning", TimeBinning)
def test_a_time_outside_the_fitted_range_is_of_the_nearest_class(
    encoding_config: Encoding, binning: TimeBinning
) -> None:
    vocabulary = fit(encoding_config(time_binning=binning, time_bins=3), array([1.0, 2.0, 3.0, 4.0, 5.0]))
    last = vocabulary.sizes[2] - 1
    assert last == (4 if binning is TimeBinning.equal_width else 3)
    assert classes_of(vocabulary, [1e-9, 0.99, 1.0, 5.0, 5.01, 1e9]) == [1, 1, 1, last, last, last]


@pytest.mark.parametrize("binning", TimeBinning)
def test_no_positive_time_leaves_class_0_alone(encoding_config: Encoding, binning: TimeBinning) -> None:
    vocabulary = fit(encoding_config(time_binning=binning), array([0.0, 0.0]))
    assert vocabulary.sizes == (89, 128, 1)
    assert vocabulary.encode(events_of([60, 61], [64, 0], [0.0, 3.0])).tolist() == [[36, 64, 0], [37, 0, 0]]
    assert vocabulary.time_error(array([0.0, 3.0])) == TimeError(3000.0, 3000.0, SECONDS)
    assert Vocabulary.from_plain(vocabulary.to_plain()) == vocabulary


@pytest.mark.parametrize("binning", TimeBinning)
def test_a_single_distinct_time_has_one_class(encoding_config: Encoding, binning: TimeBinning) -> None:
    vocabulary = fit(encoding_config(time_binning=binning), array([0.0, 0.3, 0.3, 0.3]))
    assert (vocabulary.time_edges, vocabulary.time_values) == ((0.3,), (0.0, 0.3))
    assert classes_of(vocabulary, [0.0, 0.1, 0.3, 0.5]) == [0, 1, 1, 1]


@pytest.mark.slow
@given(times=tick_times, binning=st.sampled_from(TimeBinning))
def test_classes_fit_a_byte_with_the_most_intervals(
    encoding_config: Encoding, times: list[float], binning: TimeBinning
) -> None:
    vocabulary = fit(encoding_config(time_binning=binning, time_bins=254), array(times))
    assert vocabulary.sizes[2] <= 256
    high = max(times)
    assert (
        (classes_of(vocabulary, [high, 2 * high]) == [vocabulary.sizes[2] - 1] * 2)
        or high == 0
        or (
            # The formula with rounding leaves the last class empty.
            binning is TimeBinning.equal_width and classes_of(vocabulary, [high]) == [vocabulary.sizes[2] - 2]
        )
    )


# Mistakes


def test_a_pitch_outside_the_range_is_counted(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(), array([1.0]))
    with pytest.raises(ComposerError) as caught:
        vocabulary.encode(events_of([23, 24, 112, 113, 120], [1] * 5, [1.0] * 5))
    assert str(caught.value) == (
        "3 of 5 events lie outside the encoding's pitches 24..112 (the piece has 23..120); "
        "encoding=full takes every pitch"
    )


def test_a_different_time_unit_is_refused(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(), array([1.0]))
    with pytest.raises(ComposerError, match=r"^encoding.time_unit=seconds: the events are in beats"):
        vocabulary.encode(events_of([60], [1], [1.0], BEATS))


# Plain values


def test_plain_values_are_these(encoding_config: Encoding) -> None:
    vocabulary = fit(encoding_config(time_bins=2, time_unit=BEATS), array([0.5, 0.5, 1.5]))
    plain = {
        "pitch_low": 24,
        "pitch_high": 112,
        "time_unit": "beats",
        "time_edges": [0.5, 1.0, 1.5],
        "time_values": [0.0, 0.5, 1.25, 1.5],
    }
    assert vocabulary.to_plain() == plain
    assert Vocabulary.from_plain(plain) == vocabulary


@given(times=tick_times | ugly_times, binning=st.sampled_from(TimeBinning), unit=st.sampled_from(TimeUnit))
def test_plain_values_make_the_same_vocabulary(
    encoding_config: Encoding, times: list[float], binning: TimeBinning, unit: TimeUnit
) -> None:
    vocabulary = fit(encoding_config(time_binning=binning, time_unit=unit), array(times))
    assert Vocabulary.from_plain(json.loads(json.dumps(vocabulary.to_plain()))) == vocabulary


PLAIN = {
    "pitch_low": 24,
    "pitch_high": 112,
    "time_unit": "seconds",
    "time_edges": [0.5, 1.0],
    "time_values": [0.0, 0.7, 1.5],
}


@pytest.mark.parametrize(
    "damage",
    [
        {"pitch_low": 113},
        {"pitch_low": -1},
        {"pitch_high": 128},
        {"pitch_low": "low"},
        {"pitch_low": math.inf},
        {"pitch_high": None},
        {"time_unit": "bars"},
        {"time_unit": None},
        {"time_edges": [1.0, 0.5]},
        {"time_edges": [0.5, math.nan]},
        {"time_edges": [-0.5, 1.0]},
        {"time_edges": [0.5, "late"]},
        {"time_edges": 0.5},
        {"time_edges": [0.5]},
        {"time_values": [0.0, 0.7]},
        {"time_values": [0.0, 0.7, math.inf]},
        {"time_values": [0.0, 0.7, -1.5]},
        {"time_values": [0.0, 0.7, 10**400]},
        {"time_edges": [k + 1.0 for k in range(256)], "time_values": [float(k) for k in range(257)]},
    ],
)
def test_damaged_plain_values_are_refused(damage: dict[str, Any]) -> None:
    assert Vocabulary.from_plain(PLAIN).sizes == (89, 128, 3)
    with pytest.raises(ComposerError, match="^the checkpoint's vocabulary is damaged"):
        Vocabulary.from_plain(PLAIN | damage)


@pytest.mark.parametrize("key", PLAIN)
def test_missing_plain_values_are_refused(key: str) -> None:
    with pytest.raises(ComposerError, match="^the checkpoint's vocabulary is damaged"):
        Vocabulary.from_plain({name: value for name, value in PLAIN.items() if name != key})


# What it is fitted on


@pytest.mark.parametrize(("outlier", "fitted_on_it"), [(150, False), (10, True)])
def test_vocabulary_is_fitted_on_the_training_events_alone(
    midi_file: Callable[..., Path],
    data_config: Callable[..., DataConfig],
    encoding_config: Encoding,
    outlier: int,
    fitted_on_it: bool,
) -> None:
    # 200 events: steps of 0.25 and 0.5 s in turn, and one of 40 s before event `outlier`.
    steps = [240 if k % 2 else 480 for k in range(200)]
    steps[outlier] = 40 * 960
    notes = [mido.Message("note_on", note=60, velocity=64 * (k % 2 == 0), time=step) for k, step in enumerate(steps)]
    data = data_config(
        source="midi",
        path=str(midi_file([notes])),
        window_size=5,
        split="blocked",
        val_fraction=0.5,
        val_block=Block.end,
        test_fraction=0.0,
    )
    music = load_data(data, encoding_config(), seed=0)
    # Windows begin at 0 .. 194: the last 98 validate, and those at 0 .. 91 train on the events 0 .. 96.
    assert (music.splits.train.positions().tolist(), music.splits.val.positions().tolist()) == (
        list(range(92)),
        list(range(97, 195)),
    )
    assert music.vocabulary.time_values[-1] == (40.0 if fitted_on_it else 0.5)
    assert music.vocabulary.time_edges[0] == 0.25
    assert music.tokens[outlier, 2] == 11
    # As the training events say, whatever lies outside; reported for them alone.
    trained = music.pieces[0].events.delta_time[:97]
    assert music.vocabulary == fit(encoding_config(), trained)
    assert music.time_error == music.vocabulary.time_error(trained)


def test_prelude_has_these_time_classes(encoding_config: Encoding) -> None:
    times = prelude_piece(SECONDS).events.delta_time
    vocabulary = fit(encoding_config(), times)
    assert Counter(vocabulary.time_classes(times).tolist()) == {0: 553, 1: 544, 11: 1}
    assert vocabulary.time_error(times).maximum == pytest.approx(0, abs=1e-9)
