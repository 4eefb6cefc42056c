"""What `composer explore` tells of music before it is trained on: its histograms, the encoding's losses, the leak."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer import config as configs
from composer.errors import ComposerError, MidiError
from composer.eventfile import EVENTS_PREFIX, EventFile
from composer.events import Piece
from composer.histograms import FORMATS, WIDTH, Histogram, Panel, bars, draw, equal_bins, equal_ratios, whole_numbers
from composer.music import Music, check_usable, prepare, read_pieces
from composer.report import group_lines, leak_lines
from composer.rundir import shown, write_bytes, write_json
from composer.schema import CHANNELS, DataConfig, EncodingConfig, ExploreConfig, TimeUnit
from composer.splits import Indices, transposed_digests, window_digests, window_starts
from composer.vocabulary import Vocabulary, fit

FIGURES = "explore.json"
_TIME_BINS = 60
# Longest runs of events whose repetitions are counted, besides those of a window.
_LONGEST_RUN = 128
_UNITS = {TimeUnit.seconds: "ms", TimeUnit.beats: "thousandths of a beat"}


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
        runs: how many there are in all pieces.
        exact: share of them that occur elsewhere in their piece alike.
        transposed: the same where the other may be higher or lower.
    """

    events: int
    runs: int
    exact: float
    transposed: float


@dataclass(frozen=True, slots=True)
class Exploration:
    """Everything that is found; `explore.json` is this."""

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
    split: dict[str, float | str]
    groups: list[str]
    leak: list[str]


def explore(data: DataConfig, encoding: EncodingConfig, seed: int) -> Exploration:
    """Read the music that a config names and measure it.

    Pieces that could not be trained on (too short, pitches without a class) are measured too, and named; the split and
    the classes are those that training would have.

    Raises:
        ComposerError: no file can be read.
    """
    pieces, sha256, skipped = read_pieces(data, encoding, check=False)
    usable, unusable = [], []
    for piece in pieces:
        try:
            check_usable(piece, piece.name, data, encoding)
            usable.append(piece)
        except MidiError as reason:
            unusable.append(str(reason))
    music, problem = None, "no piece can be trained on"
    if usable:
        try:
            music = prepare(usable, sha256, skipped, data, encoding, seed)
        except ComposerError as reason:
            problem = str(reason)
    pitch = np.concatenate([piece.events.pitch for piece in pieces])
    velocity = np.concatenate([piece.events.velocity for piece in pieces])
    time = np.concatenate([piece.events.delta_time for piece in pieces])
    vocabulary = fit(encoding, time, velocity) if music is None else music.vocabulary
    classes, heard = vocabulary.time_classes(time), vocabulary.velocity_classes(velocity)
    error = vocabulary.time_error(time)
    return Exploration(
        pieces=len(pieces),
        names=[piece.name for piece in pieces],
        events=len(pitch),
        strikes=int((velocity > 0).sum()),
        length=float(time.sum()),
        time_unit=encoding.time_unit.name,
        sha256=sha256,
        skipped=skipped,
        unusable=unusable,
        fitted_to="all events" if music is None else "the training events",
        channels={
            "note": _channel(pitch, 0),
            "velocity": _channel(velocity[velocity > 0], int((velocity == 0).sum())),
            "time": _times(time),
        },
        coverage={
            "note": _note_coverage(pitch, vocabulary),
            "velocity": Coverage(vocabulary.sizes[1], len(np.unique(heard)), 0, 127, 0, 0),
            "time": _time_coverage(time, classes, vocabulary, time if music is None else music.trained_times),
        },
        time_classes=_time_classes(time, classes, vocabulary),
        time_error_mean=error.mean,
        time_error_max=error.maximum,
        repeats=_repeats(pieces, np.stack([pitch, heard, classes], axis=1), data.window_size),
        split=_split(music, data, problem),
        groups=[] if music is None else group_lines(music.groups, data),
        leak=[] if music is None else leak_lines(music.leak, data.split),
    )


def _channel(values: NDArray[np.uint8], zeros: int) -> Channel:
    if not len(values):
        return Channel(zeros, None, None, 0, None, None)
    counts = np.bincount(values)
    low, high = int(values.min()), int(values.max())
    commonest = (int(counts.argmax()), int(counts.max()))
    return Channel(zeros, low, high, int((counts > 0).sum()), commonest, whole_numbers(values, low, high))


def _times(time: NDArray[np.float64]) -> Channel:
    positive = time[time > 0] * 1000
    zeros = len(time) - len(positive)
    if not len(positive):
        return Channel(zeros, None, None, 0, None, None)
    distinct, counts = np.unique(positive, return_counts=True)
    most = int(counts.argmax())
    return Channel(
        zeros,
        float(distinct[0]),
        float(distinct[-1]),
        len(distinct),
        (float(distinct[most]), int(counts[most])),
        equal_bins(positive, _TIME_BINS),
        equal_ratios(positive, _TIME_BINS),
    )


def _note_coverage(pitch: NDArray[np.uint8], vocabulary: Vocabulary) -> Coverage:
    low, high = vocabulary.pitch_low, vocabulary.pitch_high
    inside = pitch[(pitch >= low) & (pitch <= high)]
    below, above = int((pitch < low).sum()), int((pitch > high).sum())
    return Coverage(vocabulary.sizes[0], len(np.unique(inside)), low, high, below, above)


def _time_coverage(
    time: NDArray[np.float64], classes: NDArray[np.uint8], vocabulary: Vocabulary, fitted: NDArray[np.float64]
) -> Coverage:
    positive = fitted[fitted > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.0, 0.0)
    below, above = int(((time > 0) & (time < low)).sum()), int((time > high).sum())
    return Coverage(vocabulary.sizes[2], len(np.unique(classes)), low * 1000, high * 1000, below, above)


def _time_classes(time: NDArray[np.float64], classes: NDArray[np.uint8], vocabulary: Vocabulary) -> list[TimeClass]:
    table = []
    edges = [0.0, *vocabulary.time_edges]
    for number, decoded in enumerate(vocabulary.time_values):
        members = time[classes == number] * 1000
        errors = np.abs(members - decoded * 1000)
        found = len(members) > 0
        upper = edges[number + 1] * 1000 if number + 1 < len(edges) else None
        table.append(
            TimeClass(
                number,
                edges[number] * 1000,
                # Class 0 holds exact zeros alone.
                upper if number else 0.0,
                len(members),
                float(members.mean()) if found else None,
                decoded * 1000,
                float(errors.mean()) if found else None,
                float(errors.max()) if found else None,
            )
        )
    return table


def _repeats(pieces: Sequence[Piece], tokens: NDArray[np.uint8], window_size: int) -> list[Repeat]:
    """Repeats of runs of 2, 4, 8 ... events and of a window, until none is left."""
    lengths = [len(piece.events) for piece in pieces]
    powers = [2**k for k in range(1, _LONGEST_RUN.bit_length())]
    found: list[Repeat] = []
    for events in sorted({*powers, window_size}):
        # A run of n events is n - 1 and one more.
        starts = window_starts(lengths, events - 1)
        runs = sum(len(part) for part in starts)
        if not runs or (found and not found[-1].transposed):
            break
        exact = _repeated(window_digests(tokens, events), starts)
        transposed = _repeated(transposed_digests(tokens, events), starts)
        found.append(Repeat(events, runs, exact / runs, transposed / runs))
    return found


def _repeated(digests: NDArray[np.uint64], pieces: Iterable[Indices]) -> int:
    """How many of the runs that begin at these places of each piece occur there more than once."""
    total = 0
    for starts in pieces:
        _, counts = np.unique(digests[starts], return_counts=True)
        total += int(counts[counts > 1].sum())
    return total


def _split(music: Music | None, data: DataConfig, problem: str) -> dict[str, float | str]:
    """The windows of each part and the leak by the names of `summary.json`, or why there is no split."""
    if music is None:
        return {"split": data.split.name, "error": problem}
    return {
        "split": data.split.name,
        "groups": music.groups.count,
        "copies": music.groups.copies,
        "near_copies": music.groups.near_copies,
        "windows_train": len(music.splits.train),
        "windows_val": len(music.splits.val),
        "windows_test": len(music.splits.test),
        "leak_rate": music.leak.by_index,
        "leak_rate_content": music.leak.by_content,
        "leak_rate_transposed": music.leak.by_transposition,
    }


# What is printed


def text(found: Exploration) -> str:
    """The report for a terminal of 80 columns."""
    unit = _UNITS[TimeUnit[found.time_unit]]
    name = found.names[0] if found.pieces == 1 else f"{found.pieces} pieces"
    lines = _labelled(
        "data", f"{name}: {found.events:,} events, {found.strikes:,} notes, {found.length:,.1f} {found.time_unit}"
    )
    for line in [*found.skipped, *found.unusable]:
        lines += _labelled("left out", line)
    for channel in CHANNELS:
        lines += ["", *_channel_lines(channel, found.channels[channel], unit)]
    lines += ["", *_coverage_lines(found, unit)]
    lines += ["", *_class_lines(found, unit)]
    lines += ["", *_repeat_lines(found.repeats)]
    lines += ["", *_split_lines(found)]
    return "\n".join(lines)


def _labelled(label: str, content: str) -> list[str]:
    """A label and its content, wrapped."""
    return textwrap.wrap(content, WIDTH, initial_indent=f"{label:<11}", subsequent_indent=" " * 11)


def _number(value: float) -> str:
    """A whole number as it is, a time with as many decimals as tell it apart."""
    whole = isinstance(value, int) or value == 0 or value >= 10_000
    return f"{value:,.0f}" if whole else f"{value:,.{2 if value < 100 else 1}f}"


def _channel_lines(name: str, channel: Channel, unit: str) -> list[str]:
    zero = {"note": "", "velocity": f"; {channel.zeros:,} releases", "time": f"; {channel.zeros:,} simultaneous (0)"}
    if channel.low is None or channel.high is None or channel.commonest is None:
        return _labelled(name, f"none above 0{zero[name]}")
    of = f" {unit}" if name == "time" else ""
    value, count = channel.commonest
    summary = (
        f"{_number(channel.low)} to {_number(channel.high)}{of}, {channel.distinct:,} different, "
        f"commonest {_number(value)} ({count:,} times){zero[name]}"
    )
    lines = _labelled(name, summary)
    low, high = _number(channel.low), _number(channel.high)
    if channel.histogram is not None:
        lines += bars(channel.histogram.counts, low, high)
    if channel.log_histogram is not None and channel.low < channel.high:
        lines += ["", *_labelled("", "the same on a logarithmic axis")]
        lines += bars(channel.log_histogram.counts, low, high)
    return lines


def _coverage_lines(found: Exploration, unit: str) -> list[str]:
    lines = [f"{'coverage':<11}{'classes':>8}{'used':>8}{'from':>13}{'to':>13}{'below':>9}{'above':>9}"]
    for channel in CHANNELS:
        row = found.coverage[channel]
        ends = f"{_number(row.low):>13}{_number(row.high):>13}"
        lines.append(f"{channel:<11}{row.classes:>8}{row.used:>8}{ends}{row.below:>9,}{row.above:>9,}")
    note = found.coverage["note"]
    outside = note.below + note.above
    if outside:
        lines += _labelled("", f"{outside:,} events have a pitch without a class; encoding=full takes every pitch")
    time = found.coverage["time"]
    if time.below + time.above:
        lines += _labelled("", f"times beyond those of {found.fitted_to} fall in the first and the last class ({unit})")
    return lines


def _class_lines(found: Exploration, unit: str) -> list[str]:
    header = f"time classes of {found.fitted_to}, and what encoding and decoding does to all events, in {unit}"
    lines = textwrap.wrap(header, WIDTH)
    lines.append(
        f"{'class':>5}{'from':>13}{'to':>13}{'events':>10}{'mean':>11}{'decoded':>11}{'error':>8}{'largest':>9}"
    )
    for row in found.time_classes:
        upper = "" if row.upper is None else _number(row.upper)
        lines.append(
            f"{row.number:>5}{_number(row.lower):>13}{upper:>13}{row.events:>10,}{_cell(row.mean):>11}"
            f"{_number(row.decoded):>11}{_cell(row.error_mean):>8}{_cell(row.error_max):>9}"
        )
    lines.append(f"error of the positive times: mean {found.time_error_mean:.2f}, largest {found.time_error_max:.2f}")
    return lines


def _cell(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _repeat_lines(repeats: Sequence[Repeat]) -> list[str]:
    lines = ["repeats within a piece: share of its runs of so many events that occur again"]
    lines.append(f"{'events':>11}{'runs':>12}{'alike':>10}{'or transposed':>16}")
    for row in repeats:
        lines.append(f"{row.events:>11}{row.runs:>12,}{row.exact:>10.1%}{row.transposed:>16.1%}")
    return lines


def _split_lines(found: Exploration) -> list[str]:
    split = found.split
    if "error" in split:
        return _labelled("split", f"{split['split']}: {split['error']}")
    counts = f"{split['windows_train']:,} train, {split['windows_val']:,} val, {split['windows_test']:,} test"
    lines = _labelled("windows", f"{counts} (data.split={split['split']})")
    for line in found.groups:
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=" " * 11)
    for k, line in enumerate(found.leak):
        lines += _labelled("" if k else "leak", line)
    return lines


# What is written


def run(config: ExploreConfig) -> Path:
    """Measure as configured, print the report and write its files; their folder."""
    found = explore(config.data, config.encoding, config.seed)
    folder = Path(config.output) if config.output else Path("outputs") / "explore" / configs.run_id()
    print(text(found))
    write_json(folder / FIGURES, dataclasses.asdict(found))
    events = EventFile(folder / f"{EVENTS_PREFIX}000000")
    for channel, panels in _pages(found).items():
        title = found.names[0] if found.pieces == 1 else f"{found.pieces} pieces"
        pages = {form: draw(f"{title}: {channel}", panels, form) for form in FORMATS}
        for form, content in pages.items():
            write_bytes(folder / f"{channel}.{form}", content)
        events.image(0, channel, pages["png"])
        for panel in panels:
            tag = f"{channel}/logarithmic" if panel.log else channel
            values = np.log10(panel.histogram.edges).tolist() if panel.log else panel.histogram.edges
            events.histogram(0, tag, values, panel.histogram.counts)
    events.close()
    print(f"\nwritten to {shown(folder)}")
    return folder


def _pages(found: Exploration) -> dict[str, list[Panel]]:
    """The charts of each channel that has values above 0."""
    note, velocity, time = (found.channels[channel] for channel in CHANNELS)
    pages = {}
    if note.histogram is not None:
        ends = [found.coverage["note"].low - 0.5, found.coverage["note"].high + 0.5]
        # Only where it says something: the range of every pitch does not.
        marks = [end for end in ends if 0 < end < 127]
        pages["note"] = [Panel(note.histogram, "MIDI pitch", marks=marks, marks_label="the encoding's range")]
    if velocity.histogram is not None:
        label = f"velocity of the notes ({velocity.zeros:,} releases, 0, not shown)"
        pages["velocity"] = [Panel(velocity.histogram, label, limits=(0, 128))]
    if time.histogram is not None and time.log_histogram is not None:
        edges = [row.lower for row in found.time_classes[1:]]
        label = f"time since the event before, {_UNITS[TimeUnit[found.time_unit]]} ({time.zeros:,} of 0 not shown)"
        pages["time"] = [
            Panel(time.histogram, label, marks=edges, marks_label="lower edges of the classes"),
            Panel(
                time.log_histogram,
                "the same, logarithmic",
                log=True,
                marks=edges,
                marks_label="lower edges of the classes",
            ),
        ]
    return pages
