"""The figures of `composer explore`: histograms, what the encoding loses, repeats, and the leak of the split.

All but the repeats are worked out from how often each value occurs, so that a corpus of any size can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import DataConfig, EncodingConfig
from composer.corpus.corpus import read_corpus
from composer.data.encoded_rhythm import measure_rhythm
from composer.data.leakage import transposed_digests, window_digests
from composer.data.prepare import PreparedData, keep_usable, prepare
from composer.data.vocabulary import Vocabulary, fit
from composer.errors import ComposerError
from composer.explore.histograms import Histogram, equal_bins, equal_ratios, whole_numbers
from composer.music.pieces import Counts, Pieces
from composer.random_streams import RandomStream
from composer.reporting.run_tables import group_lines, held_out_lines, leak_lines

_TIME_BINS = 60
# Longest runs of events whose repetitions are counted, besides those of a window.
_LONGEST_RUN = 128
# Of a larger corpus so many events are looked at for repeats, in whole pieces: some seconds.
_MAX_REPEAT_EVENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the events. Times are in milliseconds, or in thousandths of a beat.

    Attributes:
        zeros: values that are 0: releases, or simultaneous events; of notes none is left out for it.
        low: smallest of the others; None without any.
        high: largest of the others.
        distinct: different values among the others.
        commonest: the most frequent of the others, the smallest of several, and how often it occurs.
        histogram: of the others.
        log_histogram: of the times, with edges of one ratio.
    """

    zeros: int
    low: float | None
    high: float | None
    distinct: int
    commonest: tuple[float, int] | None
    histogram: Histogram | None
    log_histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the classes of a channel hold of all events.

    Attributes:
        classes: how many there are.
        used: how many of them occur.
        low: smallest value that has a class; of times, the smallest positive one that the classes were fitted to.
        high: the largest.
        below: events under `low`; notes there cannot be encoded, times fall in the first class.
        above: events over `high`; times there fall in the last class.
    """

    classes: int
    used: int
    low: float
    high: float
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class TimeClass:
    """A class of times, over all events; in milliseconds, or in thousandths of a beat.

    Attributes:
        number: the class.
        lower: its lower edge.
        upper: the next one's; None is open.
        events: how many fall in it.
        mean: their mean.
        decoded: what it decodes to.
        error_mean: mean distance of its events from that.
        error_max: the largest.
    """

    number: int
    lower: float
    upper: float | None
    events: int
    mean: float | None
    decoded: float
    error_mean: float | None
    error_max: float | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often runs of so many events occur again in the same piece.

    Attributes:
        events: length of the runs.
        runs: how many there are.
        exact: share of them that occur elsewhere in their piece alike.
        transposed: the same where the other may be higher or lower.
    """

    events: int
    runs: int
    exact: float
    transposed: float


@dataclass(frozen=True, slots=True)
class Exploration:
    """Everything that is found; `explore.json` is this.

    Attributes:
        length: of all pieces, in `time_unit`.
        skipped: files that cannot be read, with the reason.
        unusable: pieces that cannot be trained on, with the reason.
        fitted_to: which events the time classes are fitted to.
        repeats: of some pieces where there are many.
        repeats_of: how many pieces that is.
        left_out: notes of other parts and of drums that are not read, with the keys that take them; empty without.
        on_grid: share of inter-onset intervals that are multiples of 1/12 beat; None where there are no beats.
        on_grid_encoded: the same after encoding and decoding.
        split: the windows of each part and the leak by the names of `summary.json`, or why there is no split.
        groups, held_out, leak: lines on near-duplicates, whole pieces that are held out, and the leak.
    """

    pieces: int
    names: list[str]
    events: int
    strikes: int
    length: float
    time_unit: str
    sha256: str
    skipped: list[str]
    unusable: list[str]
    fitted_to: str
    channels: dict[str, Channel]
    coverage: dict[str, Coverage]
    time_classes: list[TimeClass]
    time_error_mean: float
    time_error_max: float
    repeats: list[Repeat]
    repeats_of: int
    left_out: str
    on_grid: float | None
    on_grid_encoded: float | None
    split: dict[str, float | str]
    groups: list[str]
    held_out: list[str]
    leak: list[str]


def explore(data: DataConfig, encoding: EncodingConfig, seed: int) -> Exploration:
    """Read the music that a config names and measure it.

    Pieces that could not be trained on (too short, pitches without a class) are measured too, and named; the split and
    the classes are those that training would have.

    Raises:
        ComposerError: no file can be read.
    """
    corpus = read_corpus(data, encoding, check=False)
    encoding = corpus.encoding
    usable, unusable = keep_usable(corpus, data, encoding)
    music, problem = None, "no piece can be trained on"
    if len(usable.pieces):
        try:
            music = prepare(usable, data, seed)
        except ComposerError as reason:
            problem = str(reason)
    counts = corpus.pieces.counts().distinct()
    vocabulary = fit(encoding, counts.times, counts.time, counts.velocity) if music is None else music.vocabulary
    error = vocabulary.time_error(counts.times, counts.time)
    looked_at = _drawn(corpus.pieces, seed)
    rhythm = measure_rhythm(looked_at, vocabulary) if music is None else music.rhythm
    return Exploration(
        pieces=len(corpus.pieces),
        names=corpus.pieces.names,
        events=int(counts.pitch.sum()),
        strikes=int(counts.velocity[1:].sum()),
        length=float(counts.times @ counts.time),
        time_unit=encoding.unit.name,
        sha256=corpus.sha256,
        skipped=corpus.skipped,
        unusable=unusable,
        fitted_to="all events" if music is None else "the training events",
        channels={
            "note": _channel(counts.pitch, 0),
            "velocity": _channel(np.where(np.arange(128) > 0, counts.velocity, 0), int(counts.velocity[0])),
            "time": _times(counts),
        },
        coverage={
            "note": _note_coverage(counts.pitch, vocabulary),
            "velocity": _velocity_coverage(counts.velocity, vocabulary),
            "time": _time_coverage(counts, vocabulary, counts.times[-1] if music is None else music.longest),
        },
        time_classes=_time_classes(counts, vocabulary),
        time_error_mean=error.mean,
        time_error_max=error.maximum,
        repeats=_repeats(looked_at, vocabulary, data.window_size),
        repeats_of=len(looked_at),
        left_out=str(corpus.pieces.left_out),
        on_grid=None if rhythm is None else rhythm.original,
        on_grid_encoded=None if rhythm is None else rhythm.encoded,
        split=_split(music, data, problem),
        groups=[] if music is None else group_lines(music.groups, data, music.pieces.names),
        leak=[] if music is None else leak_lines(music.leak, data.split),
        held_out=[] if music is None else held_out_lines(music, data),
    )


def _channel(counts: NDArray[np.int64], zeros: int) -> Channel:
    """Return a channel of whole numbers, of (128,) counts of those that are shown."""
    values = np.flatnonzero(counts)
    if not len(values):
        return Channel(zeros, None, None, 0, None, None)
    low, high = int(values[0]), int(values[-1])
    commonest = (int(counts.argmax()), int(counts.max()))
    return Channel(zeros, low, high, len(values), commonest, whole_numbers(counts, low, high))


def _times(counts: Counts) -> Channel:
    positive = counts.times > 0
    values, often = counts.times[positive] * 1000, counts.time[positive]
    zeros = int(counts.time[~positive].sum())
    if not len(values):
        return Channel(zeros, None, None, 0, None, None)
    most = int(often.argmax())
    return Channel(
        zeros,
        float(values[0]),
        float(values[-1]),
        len(values),
        (float(values[most]), int(often[most])),
        equal_bins(values, often, _TIME_BINS),
        equal_ratios(values, often, _TIME_BINS),
    )


def _note_coverage(counts: NDArray[np.int64], vocabulary: Vocabulary) -> Coverage:
    low, high = vocabulary.pitch_low, vocabulary.pitch_high
    used = int((counts[low : high + 1] > 0).sum())
    return Coverage(vocabulary.sizes[0], used, low, high, int(counts[:low].sum()), int(counts[high + 1 :].sum()))


def _velocity_coverage(counts: NDArray[np.int64], vocabulary: Vocabulary) -> Coverage:
    used = np.unique(vocabulary.velocity_classes(np.flatnonzero(counts).astype(np.uint8)))
    return Coverage(vocabulary.sizes[1], len(used), 0, 127, 0, 0)


def _time_coverage(counts: Counts, vocabulary: Vocabulary, longest: float) -> Coverage:
    """Return the coverage of times; `longest` is the largest time that the classes were fitted to."""
    low = vocabulary.time_edges[0] if vocabulary.time_edges else 0.0
    below = int(counts.time[(counts.times > 0) & (counts.times < low)].sum())
    above = int(counts.time[counts.times > longest].sum())
    used = len(np.unique(vocabulary.time_classes(counts.times)))
    return Coverage(vocabulary.sizes[2], used, low * 1000, longest * 1000, below, above)


def _time_classes(counts: Counts, vocabulary: Vocabulary) -> list[TimeClass]:
    table = []
    edges = [0.0, *vocabulary.time_edges]
    classes = vocabulary.time_classes(counts.times)
    for number, decoded in enumerate(vocabulary.time_values):
        members, often = counts.times[classes == number] * 1000, counts.time[classes == number]
        errors = np.abs(members - decoded * 1000)
        found = len(members) > 0
        upper = edges[number + 1] * 1000 if number + 1 < len(edges) else None
        table.append(
            TimeClass(
                number,
                edges[number] * 1000,
                # Class 0 holds exact zeros alone.
                upper if number else 0.0,
                int(often.sum()),
                float(np.average(members, weights=often)) if found else None,
                decoded * 1000,
                float(np.average(errors, weights=often)) if found else None,
                float(errors.max()) if found else None,
            )
        )
    return table


def _drawn(pieces: Pieces, seed: int) -> Pieces:
    """Return the pieces themselves, or of many a draw of about `_MAX_REPEAT_EVENTS` events."""
    if int(pieces.lengths.sum()) <= _MAX_REPEAT_EVENTS:
        return pieces
    order = np.random.default_rng([seed, RandomStream.REPEATS]).permutation(len(pieces))
    fitting = int(np.searchsorted(np.cumsum(pieces.lengths[order]), _MAX_REPEAT_EVENTS, side="right"))
    return pieces.only(np.sort(order[: max(1, fitting)]).tolist())


def _repeats(pieces: Pieces, vocabulary: Vocabulary, window_size: int) -> list[Repeat]:
    """Return repeats of runs of 2, 4, 8 ... events and of a window, until none is left."""
    # Not `vocabulary.encode`, which refuses pitches without a class.
    tokens = [
        np.stack(
            [
                events.pitch,
                vocabulary.velocity_classes(events.velocity),
                vocabulary.time_classes(events.delta_time),
            ],
            axis=1,
        )
        for events in (piece.events for piece in pieces)
    ]
    powers = [2**k for k in range(1, _LONGEST_RUN.bit_length())]
    found: list[Repeat] = []
    for length in sorted({*powers, window_size}):
        parts = [part for part in tokens if len(part) >= length]
        runs = sum(len(part) - length + 1 for part in parts)
        if not runs or (found and not found[-1].transposed):
            break
        exact = _repeated([window_digests(part, length) for part in parts])
        transposed = _repeated([transposed_digests(part, length) for part in parts])
        found.append(Repeat(length, runs, exact / runs, transposed / runs))
    return found


def _repeated(pieces: Sequence[NDArray[np.uint64]]) -> int:
    """Return how many of the runs of each piece, by their digests, occur there more than once."""
    total = 0
    for digests in pieces:
        _, counts = np.unique(digests, return_counts=True)
        total += int(counts[counts > 1].sum())
    return total


def _split(music: PreparedData | None, data: DataConfig, problem: str) -> dict[str, Any]:
    if music is None:
        return {"split": data.split, "error": problem}
    return {
        "split": data.split,
        "groups": music.groups.count,
        "copies": music.groups.copies,
        "near_copies": music.groups.near_copies,
        "named_copies": music.groups.named,
        "alike": music.groups.named_by(music.pieces.names),
        "windows_train": len(music.splits.train),
        "windows_val": len(music.splits.val),
        "windows_test": len(music.splits.test),
        "leak_rate": music.leak.by_index,
        "leak_rate_content": music.leak.by_content,
        "leak_rate_transposed": music.leak.by_transposition,
    }
