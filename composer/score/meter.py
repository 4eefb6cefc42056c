"""Time signatures, bars, and the note values that fill bars and show the beat.

Places and lengths are whole numbers of `DIVISIONS` per quarter note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from composer.errors import ComposerError

DIVISIONS = 96
WHOLE = 4 * DIVISIONS
KINDS = ("whole", "half", "quarter", "eighth", "16th", "32nd", "64th", "128th")
MAX_MEASURES = 5000


@dataclass(frozen=True, slots=True)
class Meter:
    """A time signature.

    Attributes:
        numerator: upper figure.
        denominator: lower figure, a power of two.
    """

    numerator: int
    denominator: int

    @property
    def length(self) -> int:
        """Length of a bar."""
        return self.numerator * WHOLE // self.denominator

    @property
    def pulse(self) -> int:
        """Length of the unit of subdivision: the lower figure's value, from a sixteenth to a quarter note."""
        return min(max(WHOLE // self.denominator, DIVISIONS // 4), DIVISIONS)

    @property
    def compound(self) -> bool:
        """True if beats are groups of three: 6/8, 9/8, 12/8, 6/4."""
        return self.numerator % 3 == 0 and self.numerator > 3

    @property
    def levels(self) -> list[int]:
        """Lengths at which the bar is divided, from the bar itself down."""
        unit = WHOLE // self.denominator
        levels = [self.length]
        if self.compound:
            levels.append(3 * unit)
        elif self.numerator in (4, 8):
            levels += [self.length // 2] if self.numerator == 4 else [self.length // 2, self.length // 4]
        levels.append(unit)
        while levels[-1] % 2 == 0:
            levels.append(levels[-1] // 2)
        return list(dict.fromkeys(levels))

    @staticmethod
    def parse(text: str) -> Meter:
        """Read a meter such as `3/4`.

        Raises:
            ComposerError: the text is not a time signature.
        """
        above, _, below = text.partition("/")
        if above.isdecimal() and below in ("1", "2", "4", "8", "16", "32") and 0 < int(above) <= 32:
            return Meter(int(above), int(below))
        raise ComposerError(f"meter={text}: must be a time signature such as 4/4, 3/4 or 6/8")


@dataclass(frozen=True, slots=True)
class Measure:
    """One bar.

    Attributes:
        start: its place.
        length: its length, shorter than the meter's for an upbeat or where a repeat divides a bar.
        meter: the meter in force.
        offset: the part of the meter's bar before the start of this one: above 0 for an upbeat and for the second part
            of a bar that a repeat divides.
    """

    start: int
    length: int
    meter: Meter
    offset: int = 0

    @property
    def end(self) -> int:
        """Place at which the next bar begins."""
        return self.start + self.length

    @property
    def origin(self) -> int:
        """Place at which the meter's whole bar would begin, from which beats are counted."""
        return self.start - self.offset

    @property
    def partial(self) -> bool:
        """True if the bar is shorter than the meter's."""
        return self.length != self.meter.length


@dataclass(frozen=True, slots=True)
class Value:
    """A written note or rest value.

    Attributes:
        start: its place.
        duration: its length.
        kind: its name in MusicXML, such as `quarter`.
        dots: 0 or 1.
        triplet: whether it belongs to a triplet: its length is two thirds of the written value.
    """

    start: int
    duration: int
    kind: str
    dots: int
    triplet: bool


def meters_of(signatures: Sequence[tuple[float, int, int]]) -> list[tuple[int, Meter]]:
    """Return a file's time signatures as places and meters, the first at 0, without impossible ones."""
    meters = []
    for beats, numerator, denominator in signatures:
        if denominator <= 32 and 0 < numerator <= 32:
            meters.append((round(beats * DIVISIONS), Meter(numerator, denominator)))
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0, Meter(4, 4)))
    return meters


def with_meter(meters: list[tuple[int, Meter]], meter: Meter) -> list[tuple[int, Meter]]:
    """Return a file's meters with another one in force throughout, after the file's own upbeat."""
    if len(meters) > 1 and 0 < meters[1][0] < min(meters[1][1].length, meter.length):
        return [(0, meter), (meters[1][0], meter)]
    return [(0, meter)]


def begin_with(meters: list[tuple[int, Meter]], first: int) -> tuple[int, list[tuple[int, Meter]]]:
    """Remove silence before the first note: whole bars, and most of the bar of an upbeat.

    An upbeat begins at the pulse of its first note, where at least half of the bar is silent before it.

    Args:
        meters: places and meters, the first at 0.
        first: place of the first note.

    Returns:
        The length of the silence removed, and the meters without it.
    """
    bar = Measure(0, meters[0][1].length, meters[0][1])
    for number, (start, meter) in enumerate(meters):
        if start > first:
            break
        place = start + (first - start) // meter.length * meter.length
        stop = meters[number + 1][0] if number + 1 < len(meters) else place + meter.length
        bar = Measure(place, min(meter.length, stop - place), meter)
    silent = (first - bar.start) // bar.meter.pulse * bar.meter.pulse
    upbeat = not bar.partial and 2 * silent >= bar.length
    skipped = bar.start + (silent if upbeat else 0)
    later = [(start - skipped, meter) for start, meter in meters if start > skipped]
    if upbeat and (not later or later[0][0] > bar.end - skipped):
        later.insert(0, (bar.end - skipped, bar.meter))
    return skipped, [(0, bar.meter), *later]


def measures(meters: list[tuple[int, Meter]], end: int) -> list[Measure]:
    """Return the bars from 0 to `end`.

    A time signature that holds for less than a bar of its neighbour's is how MIDI files write an upbeat, or a bar that
    a repeat divides: such a bar is a part of one, and the neighbour's signature holds. At the start of the piece the
    lower figures may differ.

    Raises:
        ComposerError: there are more than `MAX_MEASURES` bars.
    """
    bars: list[Measure] = []
    for number, (start, meter) in enumerate(meters):
        stop = meters[number + 1][0] if number + 1 < len(meters) else max(end, start + 1)
        if start >= end and bars:
            break
        for place in range(start, stop, meter.length):
            length = meter.length if number + 1 == len(meters) else min(meter.length, stop - place)
            bars.append(Measure(place, length, meter))
            if len(bars) > MAX_MEASURES or place >= end:
                break
        if len(bars) > MAX_MEASURES:
            raise ComposerError(f"more than {MAX_MEASURES:,} bars, which no score has; render a part of the piece")
    main = max({bar.meter for bar in bars}, key=lambda meter: sum(b.length for b in bars if b.meter == meter))

    def holds(bar: Measure) -> Meter:
        if bar is bars[0] and len(meters) > 1 and bar.end == meters[1][0] and bar.length < meters[1][1].length:
            return meters[1][1]
        shorter = bar.meter.denominator == main.denominator and bar.length < main.length
        alone = sum(other.meter == bar.meter for other in bars) <= 0.1 * len(bars) + 1
        return main if shorter and alone else bar.meter

    whole: list[Measure] = []
    for bar in bars:
        meter = holds(bar)
        offset = 0
        if bar.length < meter.length:
            before = whole[-1] if whole else None
            if before is None:
                offset = meter.length - bar.length
            elif before.partial and not before.offset and before.length + bar.length <= meter.length:
                offset = before.length
        whole.append(Measure(bar.start, bar.length, meter, offset))
    return whole


def values(start: int, end: int, measure: Measure, triplets: frozenset[int], unit: int, *, rest: bool) -> list[Value]:
    """Write the time from `start` to `end`, inside a measure, as note values (tied) or rests.

    Args:
        start: first place.
        end: place after the last.
        measure: the bar that holds both.
        triplets: places of the pulses that are divided in three.
        unit: length of a pulse.
        rest: write rests: a rest never crosses a stronger beat than those at its ends.
    """
    written: list[Value] = []
    place, origin = start, measure.origin
    while place < end:
        pulse = origin + (place - origin) // unit * unit
        last = origin + (end - 1 - origin) // unit * unit
        if pulse in triplets and (place > pulse or end < pulse + unit):
            stop = min(end, pulse + unit)
            # As in a bar of three: a triplet's eighth is written half as long again as it lasts.
            inner = Measure(0, unit * 3 // 2, Meter(3, WHOLE // (unit // 2)))
            for value in _split((place - pulse) * 3 // 2, (stop - pulse) * 3 // 2, inner, rest):
                real = pulse + value.start * 2 // 3
                written.append(Value(real, value.duration * 2 // 3, value.kind, value.dots, True))
        else:
            stop = last if last in triplets and end < last + unit else end
            written += [
                Value(value.start + origin, value.duration, value.kind, value.dots, False)
                for value in _split(place - origin, stop - origin, measure, rest)
            ]
        place = stop
    return written


def _split(start: int, end: int, measure: Measure, rest: bool) -> list[Value]:
    """Return one value if it is readable, else split at the strongest beat inside."""
    levels = measure.meter.levels

    def rank(place: int) -> int:
        return next((index for index, level in enumerate(levels) if place % level == 0), len(levels))

    # The first place of the strongest level that lies inside.
    firsts = ((index, (start // level + 1) * level) for index, level in enumerate(levels))
    strongest, cut = next(((index, place) for index, place in firsts if place < end), (len(levels), end))
    look = _look(end - start)
    if look is not None:
        before, after = rank(start), rank(end) if end < measure.end - measure.origin else 0
        visible = strongest > max(before, after) if rest else strongest >= min(before, after)
        # Patterns across one beat, such as eighth, quarter, eighth, are easy to read.
        centred = look[1] == 0 and before == after == strongest + 1 and 2 * cut == start + end
        syncopation = centred and not rest and not (measure.meter.compound and strongest <= 1)
        if visible or syncopation or cut == end:
            return [Value(start, end - start, *look, False)]
    if cut == end:
        raise AssertionError(f"{start} to {end} cannot be written")
    return _split(start, cut, measure, rest) + _split(cut, end, measure, rest)


def _look(duration: int) -> tuple[str, int] | None:
    """Return name and dots of a single note value, or None if several are needed."""
    for power, kind in enumerate(KINDS):
        plain = WHOLE >> power
        if duration == plain:
            return kind, 0
        if 2 * duration == 3 * plain and plain >= 2:
            return kind, 1
    return None


def beam_window(measure: Measure, place: int, eighths_only: bool) -> int:
    """Return the number of the beam group at a place: a beam may join short notes with the same number."""
    meter, offset = measure.meter, place - measure.origin
    if meter.compound:
        size = 3 * WHOLE // meter.denominator
    elif meter.denominator >= 8:
        size = meter.length
    elif eighths_only and meter.numerator == 4:
        size = 2 * WHOLE // meter.denominator
    else:
        size = max(WHOLE // meter.denominator, DIVISIONS)
    return offset // size
