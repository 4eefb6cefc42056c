"""Playing to a MIDI port while composing, for `composer live`.

An event is composed when the one before it has been sent, and sent when its time has come. So what counts is not how
long a piece takes but how late its messages are: that is measured, and printed at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import mido
import numpy as np
from numpy.typing import NDArray

from composer.composing.composer import Composer
from composer.config.commands import LiveConfig
from composer.music.events import add_releases


@dataclass(frozen=True, slots=True)
class Latency:
    """How events were played.

    Attributes:
        composing: (N,) seconds that each event took to compose.
        late: (N,) seconds from the time of each event to when its message had been sent.
    """

    composing: NDArray[np.float64]
    late: NDArray[np.float64]

    def __str__(self) -> str:
        if not len(self.late):
            return "nothing was played"
        parts = []
        for name, values in (("composed in", self.composing), ("sent late by", self.late)):
            median, most, largest = np.quantile(values, [0.5, 0.99, 1]) * 1000
            parts.append(f"{name} {median:.2f} ms (median), {most:.2f} ms (99 %), {largest:.2f} ms (largest)")
        return f"{len(self.late):,} events: {'; '.join(parts)}"


def play(
    events: Iterable[tuple[int, int, float]],
    port: Any,
    *,
    program: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Latency:
    """Send events to a port, each at its time; what sounds is released at the end, also at Ctrl-C or an error.

    Args:
        events: (pitch, velocity, seconds since the event before), composed as they are asked for.
        port: an output of mido.
        program: General MIDI program, from 0.
        clock: seconds, rising.
        sleep: waits so many seconds.
    """
    composing, late = [], []
    sounding: set[int] = set()
    port.send(mido.Message("program_change", program=program))
    due = asked = clock()
    try:
        for pitch, velocity, wait in events:
            composing.append(clock() - asked)
            due += wait
            if (left := due - clock()) > 0:
                sleep(left)
            if pitch in sounding:
                port.send(mido.Message("note_on", note=pitch, velocity=0))
                sounding.discard(pitch)
            if velocity:
                port.send(mido.Message("note_on", note=pitch, velocity=velocity))
                sounding.add(pitch)
            asked = clock()
            late.append(asked - due)
    except KeyboardInterrupt:
        pass
    finally:
        for pitch in sorted(sounding):
            port.send(mido.Message("note_on", note=pitch, velocity=0))
    return Latency(np.array(composing[: len(late)]), np.array(late))


def sounding(composer: Composer, config: LiveConfig) -> Iterator[tuple[int, int, float]]:
    """Yield the events of `composed`, with releases of notes held too long, as `composer generate` writes them."""
    events, longest = composed(composer, config), composer.longest(config)
    return events if longest is None else add_releases(events, longest)


def composed(composer: Composer, config: LiveConfig) -> Iterator[tuple[int, int, float]]:
    """Yield events as `play` takes them, up to the config's length."""
    vocabulary = composer.vocabulary
    primed = composer.primed(config.primer)
    timing = composer.timing(primed.place)
    seconds = np.asarray(vocabulary.time_values) / composer.units_per_second(timing)
    session = composer.session(config, config.seed, primed, timing)
    elapsed, count = 0.0, 0
    while count < config.events if config.seconds is None else elapsed <= config.seconds:
        note, velocity, wait = session.next()[0].tolist()
        elapsed, count = elapsed + seconds[wait], count + 1
        if config.seconds is None or elapsed <= config.seconds:
            yield note + vocabulary.pitch_low, velocity, float(seconds[wait])
        if session.playing is not None and bool(session.playing.done[0]):
            return
