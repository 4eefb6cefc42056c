"""Groups `sampling` and `sampling_grid`: how events are drawn while composing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from composer.config.limits import CHANNELS, CUTS, finite, require
from composer.config.scales import SCALES, scale_pitches


class Mode(Enum):
    """What the network has read when it predicts an event while composing."""

    window = "window"
    stateful = "stateful"


class Method(Enum):
    """How the next event is taken from its probabilities."""

    sample = "sample"
    greedy = "greedy"
    beam = "beam"


class Ending(Enum):
    """What becomes of notes that sound when the length is reached."""

    cut = "cut"
    close = "close"


@dataclass(kw_only=True, slots=True)
class SamplingConfig:
    """Group `sampling`: how a piece is composed. For `composer generate` the keys stand at the root."""

    prefix: ClassVar[str] = "sampling."

    events: int
    """Events composed after the primer."""
    seconds: float | None
    """Compose this many seconds of music instead of a number of events; null goes by `events`."""
    n: int
    """Pieces composed."""
    mode: Mode
    """`window` reads the last `data.window_size` events, as in training; `stateful` all events since the primer began
    (recurrent networks)."""
    method: Method
    """`sample` draws, `greedy` takes the likeliest class of each channel, `beam` searches for the likeliest pieces."""
    beams: int
    """Pieces that `method=beam` keeps in view; the `n` likeliest of them are written."""
    temperature: float | None
    """Divides the logits before the softmax: below 1 is safer, above 1 is bolder. null is the run's own: what its end
    has chosen (`sampling_grid`), or else its config; 1 where neither says one."""
    top_k: int | None
    """Sample among the k likeliest classes of each channel; null among all."""
    top_p: float | None
    """Sample among the likeliest classes whose probabilities reach p; 1 among all. null is the run's own, as above."""
    min_p: float | None
    """Sample among the classes at least so likely as this share of the likeliest one's probability; null among all."""
    note_temperature: float | None
    """For one channel in place of the common value; null, here and below, is the common one."""
    velocity_temperature: float | None
    time_temperature: float | None
    note_top_k: int | None
    velocity_top_k: int | None
    time_top_k: int | None
    note_top_p: float | None
    velocity_top_p: float | None
    time_top_p: float | None
    note_min_p: float | None
    velocity_min_p: float | None
    time_min_p: float | None
    repeats: int | None
    """A figure of up to 32 strikes and releases is played at most so many times in a row; null is no limit."""
    keep_grid: bool
    """Strike notes where the training music does: on its grid, 1/4, 1/12 or 1/24 beat from the bar line. Only for
    networks that read scores in beats; without it one odd time moves all notes that follow."""
    playable: bool
    """Draw no release of a silent pitch and no strike of a sounding one. Written files never hold them."""
    polyphony: int | None
    """Notes at once; null is no limit."""
    pitch_low: int | None
    pitch_high: int | None
    """Lowest and highest MIDI pitch that is struck, both included; null is the network's."""
    scale: str | None
    """A key such as `Bb` or `F#m`, or a scale such as `D:dorian`, whose pitches are struck; null is all."""
    max_note_seconds: float | None
    """Longest note, as a rule; null draws as the network does, and releases what it holds longer than any note of the
    training music when the piece is written."""
    ending: Ending
    """`cut` ends what sounds with the last event; `close` composes the releases too, within the length."""
    include_primer: bool
    """Begin the written piece with the primer's own events."""

    def __post_init__(self) -> None:
        self._check("events", self.events >= 1, "at least 1")
        seconds = self.seconds
        self._check("seconds", seconds is None or (seconds > 0 and finite(seconds)), "null, or finite and above 0")
        self._check("n", self.n >= 1, "at least 1")
        self._check("beams", 1 <= self.beams <= 16, "from 1 to 16")
        limit = f"at most beams={self.beams} with method=beam"
        self._check("n", self.method is not Method.beam or self.n <= self.beams, limit)
        for channel in ("", *(f"{name}_" for name in CHANNELS)):
            self._check_channel(channel)
        self._check("repeats", self.repeats is None or self.repeats >= 2, "null or at least 2")
        self._check("polyphony", self.polyphony is None or self.polyphony >= 1, "null or at least 1")
        low, high = self.pitch_low, self.pitch_high
        self._check("pitch_low", low is None or 0 <= low <= 127, "null, or from 0 to 127")
        self._check("pitch_high", high is None or (low or 0) <= high <= 127, f"null, or from {low or 0} to 127")
        known = self.scale is None or scale_pitches(self.scale) is not None
        limit = f"null, a key such as Bb or F#m, or a tonic with one of {', '.join(SCALES)}, such as D:dorian"
        self._check("scale", known, limit)
        longest = self.max_note_seconds
        valid = longest is None or (longest > 0 and finite(longest))
        self._check("max_note_seconds", valid, "null, or finite and above 0")

    def _check_channel(self, channel: str) -> None:
        """Check the keys of a channel, or the common ones; null is the common value, or none."""
        temperature, top_k, top_p, min_p = (getattr(self, channel + key) for key in CUTS)
        valid = temperature is None or (temperature > 0 and finite(temperature))
        self._check(f"{channel}temperature", valid, "null, or finite and above 0")
        self._check(f"{channel}top_k", top_k is None or top_k >= 1, "null or at least 1")
        self._check(f"{channel}top_p", top_p is None or 0 < top_p <= 1, "null, or above 0 up to 1")
        self._check(f"{channel}min_p", min_p is None or 0 <= min_p <= 1, "null, or from 0 to 1")

    def _check(self, key: str, holds: bool, limit: str) -> None:
        value = getattr(self, key)
        require(holds, f"{self.prefix}{key}", value.name if isinstance(value, Enum) else value, limit)

    def cut(self, channel: str) -> tuple[float, int | None, float | None, float | None]:
        """Return the values of `CUTS` for a channel: its own, else the common ones, else temperature 1 and no cut.

        A `top_p` of 1 cuts nothing and is returned as None.
        """
        own = (getattr(self, f"{channel}_{key}") for key in CUTS)
        common = (getattr(self, key) for key in CUTS)
        temperature, top_k, top_p, min_p = (
            of_all if one is None else one for one, of_all in zip(own, common, strict=True)
        )
        return 1.0 if temperature is None else temperature, top_k, None if top_p == 1 else top_p, min_p


@dataclass(kw_only=True, slots=True)
class SamplingGridConfig:
    """Node `sampling_grid`: what a run tries at its end where `sampling.temperature` or `sampling.top_p` is null.

    Each is composed with the best weights; the one nearest to held-out music becomes the run's own.
    """

    pieces: int
    """Pieces composed with each setting; 0 tries none, and the run composes at temperature 1 without a cut."""
    events: int
    """Events of each piece, at most `sampling.events`."""
    temperatures: list[float]
    top_p: list[float]
    """1 is no cut."""

    def __post_init__(self) -> None:
        require(self.pieces >= 0, "sampling_grid.pieces", self.pieces, "at least 0")
        require(self.events >= 1, "sampling_grid.events", self.events, "at least 1")
        for key, values in (("temperatures", self.temperatures), ("top_p", self.top_p)):
            require(bool(values), f"sampling_grid.{key}", "[]", "a list of at least one number")
        for value in self.temperatures:
            limit = "finite and above 0, each of them"
            require(value > 0 and finite(value), "sampling_grid.temperatures", value, limit)
        for value in self.top_p:
            require(0 < value <= 1, "sampling_grid.top_p", value, "above 0 up to 1, each of them")
