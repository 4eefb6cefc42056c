"""Groups `sampling` and `sampling_grid`: how events are drawn while composing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from composer.config.limits import (
    COUNT,
    CUTS,
    PITCH,
    POSITIVE,
    UP_TO_1,
    Each,
    Group,
    NotEmpty,
    Range,
    Registered,
    Values,
    at_least,
    between,
)
from composer.config.scales import SCALES, scale_pitches
from composer.registry import NoKeys, keys_of

_GREEDY = "method=greedy takes the likeliest event"
Temperature = Annotated[float | None, dataclasses.replace(POSITIVE, for_zero=_GREEDY)]
TopK = Annotated[int | None, COUNT]
TopP = Annotated[float | None, UP_TO_1]
MinP = Annotated[float | None, between(0, 1)]
_EACH = ", each of them"
# Of all pieces of one command: minutes of computing, and hundreds of megabytes.
MAX_EVENTS, MAX_SECONDS = 1_000_000, 86_400


class Mode(Enum):
    """Events that the network reads before it predicts one while composing."""

    window = "window"
    stateful = "stateful"


keys_of("method", "sample", "greedy", "beam")(NoKeys)


class Ending(Enum):
    """Treatment of notes that sound when the length is reached."""

    cut = "cut"
    close = "close"


@dataclass(kw_only=True, slots=True)
class RuleConfig(Group):
    """Group `rules`: a rule of composing in addition to those of `sampling`; its keys are below its name."""


@dataclass(kw_only=True, slots=True)
class SamplingConfig(Group):
    """Group `sampling`: how a piece is composed. For `composer generate` the keys stand at the root."""

    prefix: ClassVar[str] = "sampling."

    events: Annotated[int, between(1, MAX_EVENTS)]
    """Events composed after the primer."""
    seconds: Annotated[float | None, Range(f"above 0 and at most {MAX_SECONDS} (a day)", above=0, most=MAX_SECONDS)]
    """Compose this many seconds of music instead of a number of events; null goes by `events`."""
    n: Annotated[int, COUNT]
    """Pieces composed."""
    mode: Mode
    """`window` reads the last `data.window_size` events, as in training; `stateful` all events since the primer began
    (recurrent networks)."""
    method: Annotated[str, Registered("method")]
    """Choice of the next event from its probabilities: `sample` draws, `greedy` takes the likeliest class of each
    channel, `beam` searches for the likeliest pieces."""
    beams: Annotated[int, between(1, 16)]
    """Pieces that `method=beam` keeps in view; the `n` likeliest of them are written."""
    temperature: Temperature
    """Divides the logits before the softmax: below 1 is safer, above 1 is bolder. null is the run's own: what its end
    has chosen (`sampling_grid`), or else its config; 1 where neither says one."""
    top_k: TopK
    """Sample among the k likeliest classes of each channel; null among all."""
    top_p: TopP
    """Sample among the likeliest classes whose probabilities reach p; 1 among all. null is the run's own."""
    min_p: MinP
    """Sample among the classes at least as likely as this share of the likeliest one's probability; null among all."""
    note_temperature: Temperature
    """`temperature` of the note channel alone; null takes `temperature`."""
    velocity_temperature: Temperature
    """`temperature` of the velocity channel alone; null takes `temperature`."""
    time_temperature: Temperature
    """`temperature` of the time channel alone; null takes `temperature`."""
    note_top_k: TopK
    """`top_k` of the note channel alone; null takes `top_k`."""
    velocity_top_k: TopK
    """`top_k` of the velocity channel alone; null takes `top_k`."""
    time_top_k: TopK
    """`top_k` of the time channel alone; null takes `top_k`."""
    note_top_p: TopP
    """`top_p` of the note channel alone; null takes `top_p`."""
    velocity_top_p: TopP
    """`top_p` of the velocity channel alone; null takes `top_p`."""
    time_top_p: TopP
    """`top_p` of the time channel alone; null takes `top_p`."""
    note_min_p: MinP
    """`min_p` of the note channel alone; null takes `min_p`."""
    velocity_min_p: MinP
    """`min_p` of the velocity channel alone; null takes `min_p`."""
    time_min_p: MinP
    """`min_p` of the time channel alone; null takes `min_p`."""
    repeats: Annotated[int | None, at_least(2)]
    """A figure of up to 32 strikes and releases is played at most this many times in a row; null is no limit."""
    keep_grid: bool
    """Strike notes where the training music does: on its grid, 1/4, 1/12 or 1/24 beat from the bar line. Only for
    networks that read scores in beats; without it one odd time moves all notes that follow."""
    playable: bool
    """Draw no release of a silent pitch and no strike of a sounding one. Written files never hold them."""
    polyphony: Annotated[int | None, COUNT]
    """Notes at once; null is no limit."""
    pitch_low: Annotated[int | None, PITCH]
    """Lowest MIDI pitch that is struck, included; null is the network's."""
    pitch_high: Annotated[int | None, Values("from pitch_low to 127")]
    """Highest MIDI pitch that is struck, included; null is the network's."""
    scale: str | None
    """A key such as `Bb` or `F#m`, or a scale such as `D:dorian`, whose pitches are struck; null is all."""
    max_note_seconds: Annotated[float | None, POSITIVE]
    """Longest note, as a rule; null draws as the network does, and releases what it holds longer than any note of the
    training music when the piece is written."""
    ending: Ending
    """`cut` ends what sounds with the last event; `close` composes the releases too, within the length."""
    rules: dict[str, RuleConfig]
    """Rules by name in addition to those of the keys above; a plugin brings them."""
    include_primer: bool
    """Begin the written piece with the primer's own events."""

    def check(self) -> None:
        """Check relations between keys, and the scale; raises a `ComposerError`."""
        limit = f"at most {MAX_EVENTS:,} events in all, and n={self.n} pieces of {self.events:,} are more"
        self.require(self.seconds is not None or self.n * self.events <= MAX_EVENTS, "events", limit)
        limit = f"at most {MAX_SECONDS:,} seconds in all, and n={self.n} pieces of this length are more"
        self.require(self.seconds is None or self.n * self.seconds <= MAX_SECONDS, "seconds", limit)
        limit = f"at most beams={self.beams} with method=beam"
        self.require(self.method != "beam" or self.n <= self.beams, "n", limit)
        low, high = self.pitch_low or 0, self.pitch_high
        self.require(high is None or low <= high <= 127, "pitch_high", f"null, or from {low} to 127")
        known = self.scale is None or scale_pitches(self.scale) is not None
        limit = f"null, a key such as Bb or F#m, or a tonic with one of {', '.join(SCALES)}, such as D:dorian"
        self.require(known, "scale", limit)

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
class SamplingGridConfig(Group):
    """Node `sampling_grid`: what a run tries at its end where `sampling.temperature` or `sampling.top_p` is null.

    Each is composed with the best weights; the one nearest to held-out music becomes the run's own.
    """

    prefix: ClassVar[str] = "sampling_grid."

    pieces: Annotated[int, at_least(0)]
    """Pieces composed with each setting; 0 tries none, and the run composes at temperature 1 without a cut."""
    events: Annotated[int, COUNT]
    """Events of each piece, at most `sampling.events`."""
    temperatures: Annotated[list[float], NotEmpty(), Each(POSITIVE, _EACH)]
    """Temperatures to try, each with each value of `top_p`."""
    top_p: Annotated[list[float], NotEmpty(), Each(UP_TO_1, _EACH)]
    """Values of `top_p` to try; 1 is no cut."""
