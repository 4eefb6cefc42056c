"""The report of `composer explore` for a terminal."""

from __future__ import annotations

import textwrap

from composer.config.data import TimeUnit
from composer.config.limits import CHANNELS
from composer.data.encoded_rhythm import Rhythm
from composer.explore.histograms import WIDTH, bars
from composer.explore.measure import Channel, Exploration

UNITS = {TimeUnit.seconds: "ms", TimeUnit.beats: "thousandths of a beat"}
# Pieces that are told of one by one; `explore.json` has all.
_MAX_LINES = 20


def text(found: Exploration) -> str:
    """Return the report for a terminal of 80 columns."""
    unit = UNITS[TimeUnit[found.time_unit]]
    name = found.names[0] if found.pieces == 1 else f"{found.pieces} pieces"
    lines = _labelled(
        "data", f"{name}: {found.events:,} events, {found.strikes:,} notes, {found.length:,.1f} {found.time_unit}"
    )
    left_out = [*found.skipped, *found.unusable]
    for line in left_out[:_MAX_LINES]:
        lines += _labelled("left out", line)
    if len(left_out) > _MAX_LINES:
        lines += _labelled("left out", f"{len(left_out) - _MAX_LINES:,} more")
    if found.left_out:
        lines += _labelled("left out", found.left_out)
    if found.on_grid is not None and found.on_grid_encoded is not None:
        rhythm = Rhythm(found.on_grid, found.on_grid_encoded)
        lines += _labelled("rhythm", f"{rhythm} (times in {found.time_unit}, encoding.time_unit)")
    for channel in CHANNELS:
        lines += ["", *_channel_lines(channel, found.channels[channel], unit)]
    lines += ["", *_coverage_lines(found, unit)]
    lines += ["", *_class_lines(found, unit)]
    lines += ["", *_repeat_lines(found)]
    lines += ["", *_split_lines(found)]
    return "\n".join(lines)


def _labelled(label: str, content: str) -> list[str]:
    """Return a label and its content, wrapped."""
    return textwrap.wrap(content, WIDTH, initial_indent=f"{label:<11}", subsequent_indent=" " * 11)


def number(value: float) -> str:
    """Return a whole number as it is, a time with as many decimals as tell it apart."""
    whole = isinstance(value, int) or value == 0 or value >= 10_000
    return f"{value:,.0f}" if whole else f"{value:,.{2 if value < 100 else 1}f}"


def _channel_lines(name: str, channel: Channel, unit: str) -> list[str]:
    zero = {"note": "", "velocity": f"; {channel.zeros:,} releases", "time": f"; {channel.zeros:,} simultaneous (0)"}
    if channel.low is None or channel.high is None or channel.commonest is None:
        return _labelled(name, f"none above 0{zero[name]}")
    of = f" {unit}" if name == "time" else ""
    value, count = channel.commonest
    summary = (
        f"{number(channel.low)} to {number(channel.high)}{of}, {channel.distinct:,} different, "
        f"commonest {number(value)} ({count:,} times){zero[name]}"
    )
    lines = _labelled(name, summary)
    low, high = number(channel.low), number(channel.high)
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
        ends = f"{number(row.low):>13}{number(row.high):>13}"
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
        upper = "" if row.upper is None else number(row.upper)
        lines.append(
            f"{row.number:>5}{number(row.lower):>13}{upper:>13}{row.events:>10,}{_cell(row.mean):>11}"
            f"{number(row.decoded):>11}{_cell(row.error_mean):>8}{_cell(row.error_max):>9}"
        )
    lines.append(f"error of the positive times: mean {found.time_error_mean:.2f}, largest {found.time_error_max:.2f}")
    return lines


def _cell(value: float | None) -> str:
    return "-" if value is None else number(value)


def _repeat_lines(found: Exploration) -> list[str]:
    lines = ["repeats within a piece: share of its runs of so many events that occur again"]
    if found.repeats_of < found.pieces:
        lines += _labelled("", f"of {found.repeats_of:,} of the {found.pieces:,} pieces, drawn by the seed")
    lines.append(f"{'events':>11}{'runs':>12}{'alike':>10}{'or transposed':>16}")
    for row in found.repeats:
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
    for line in found.held_out:
        label, text = line[:11].strip(), line[11:]
        lines += _labelled(label, text)
    for k, line in enumerate(found.leak):
        lines += _labelled("" if k else "leak", line)
    return lines
