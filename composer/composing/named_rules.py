"""The rules of composing by name: those that keys of `sampling` switch on, and those of the group `rules`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from composer import registry
from composer.composing.rules import (
    LAST_STRIKE_SECONDS,
    MoveRule,
    Playing,
    Rules,
    TimeRule,
    at_most,
    closed_by_events,
    closed_by_time,
    never_leave,
    no_longer,
    not_more_often,
    on_places,
    playable,
    shortest,
    within,
)
from composer.config.sampling import Ending, RuleConfig, SamplingConfig
from composer.config.scales import scale_pitches
from composer.errors import ComposerError
from composer.registry import Contract, implements


@dataclass(frozen=True, slots=True)
class Scope:
    """The classes that rules are made for, and the settings of the piece.

    Attributes:
        sampling: how the piece is composed.
        notes: N, classes of the note channel, a semitone each.
        lowest: MIDI pitch of class 0.
        times: (M,) time of each class, in the vocabulary's unit.
        per_second: the vocabulary's units of time in a second.
        grid: places per beat and the place of the moment 0 in beats, where times are in beats; else None.
    """

    sampling: SamplingConfig
    notes: int
    lowest: int
    times: Tensor
    per_second: float
    grid: tuple[int, float] | None = None


class Masks(NamedTuple):
    """The masks of a rule; None restricts nothing.

    Attributes:
        moves: of notes and velocities.
        waits: of times.
        last_strike: a piece that is silent after this time has ended.
    """

    moves: MoveRule | None = None
    waits: TimeRule | None = None
    last_strike: float = math.inf


class Rule:
    """A rule of composing: classes that may not come next, given what plays.

    A subclass defines `moves`, `waits` or both. A rule that would leave a piece nothing gives way for that event to the
    rules before it.

    Attributes:
        config: its keys.
        scope: the classes and settings.
    """

    def __init__(self, config: RuleConfig | SamplingConfig, scope: Scope) -> None:
        """Keep the keys and the scope."""
        self.config, self.scope = config, scope

    def moves(self, playing: Playing) -> Tensor:
        """Return a mask (B, N, 2) of moves that may come next: `[..., 0]` releases a note, `[..., 1]` strikes it.

        Args:
            playing: sounding notes and time of each piece.
        """
        raise NotImplementedError

    def waits(self, playing: Playing, strike: Tensor) -> Tensor:
        """Return a mask (B, M) of time classes that may come next.

        Args:
            playing: sounding notes and time of each piece.
            strike: (B,) bool, whether the event that comes is a strike.
        """
        raise NotImplementedError

    def masks(self) -> Masks:
        """Return the masks that the rule defines."""
        kind, scope = type(self), self.scope

        def moves(playing: Playing) -> Tensor:
            return self._checked("moves", self.moves(playing), (len(playing.now), scope.notes, 2))

        def waits(playing: Playing, strike: Tensor) -> Tensor:
            return self._checked("waits", self.waits(playing, strike), (len(playing.now), len(scope.times)))

        return Masks(None if kind.moves is Rule.moves else moves, None if kind.waits is Rule.waits else waits)

    def _checked(self, method: str, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the mask in its shape (dimensions of 1 are expanded); refuse any other."""
        fits = mask.ndim == len(shape) and all(own in (1, size) for own, size in zip(mask.shape, shape, strict=True))
        if mask.dtype != torch.bool or not fits:
            found = f"{mask.dtype} {tuple(mask.shape)}".removeprefix("torch.")
            raise ComposerError(f"{type(self).__name__}.{method}: must return a bool mask {shape}, not {found}")
        return mask.expand(shape)


CONTRACT = Contract(Rule, ("moves", "waits", "masks"))
# Those of this package, the most important first; keys of `sampling` switch them on.
_OF_SAMPLING = ("playable", "ending", "max_note_seconds", "polyphony", "pitches", "repeats", "keep_grid")


def make_rules(scope: Scope) -> Rules:
    """Return the rules of `scope.sampling` in their order, then those of `scope.sampling.rules` by name.

    Raises:
        ComposerError: no pitch is left to strike, `max_note_seconds` is shorter than any step, or nothing has
            registered a name.
    """
    chosen = [(name, scope.sampling.rules[name]) for name in sorted(scope.sampling.rules)]
    named: Sequence[tuple[str, RuleConfig | SamplingConfig]]
    named = [*((name, scope.sampling) for name in _OF_SAMPLING), *chosen]
    found = [registry.part("rules", name)(config, scope).masks() for name, config in named]
    moves = tuple(masks.moves for masks in found if masks.moves is not None)
    waits = tuple(masks.waits for masks in found if masks.waits is not None)
    return Rules(scope.times, moves, waits, min(masks.last_strike for masks in found))


@implements("rules", "playable")
class Playable(Rule):
    """A sounding note is released before it is struck again, and a silent one is not released."""

    def masks(self) -> Masks:
        """Return the masks."""
        return Masks(playable) if self.scope.sampling.playable else Masks()


@implements("rules", "ending")
class Closing(Rule):
    """With `ending=close` all notes end within the length."""

    def masks(self) -> Masks:
        """Return the masks."""
        sampling, per_second = self.scope.sampling, self.scope.per_second
        if sampling.ending is not Ending.close:
            return Masks()
        if sampling.seconds is None:
            return Masks(closed_by_events(sampling.events))
        last = (sampling.seconds - min(LAST_STRIKE_SECONDS, sampling.seconds / 4)) * per_second
        return Masks(*closed_by_time(sampling.seconds * per_second, last, self.scope.times), last)


@implements("rules", "max_note_seconds")
class LongestNote(Rule):
    """No note sounds longer than `max_note_seconds`."""

    def masks(self) -> Masks:
        """Return the masks."""
        longest = self.scope.sampling.max_note_seconds
        if longest is None:
            return Masks()
        _check_longest(longest, shortest(self.scope.times) / self.scope.per_second)
        return Masks(*no_longer(longest * self.scope.per_second, self.scope.times))


@implements("rules", "polyphony")
class Polyphony(Rule):
    """At most `polyphony` notes at once."""

    def masks(self) -> Masks:
        """Return the masks."""
        voices = self.scope.sampling.polyphony
        return Masks() if voices is None else Masks(at_most(voices))


@implements("rules", "pitches")
class Pitches(Rule):
    """Only pitches from `pitch_low` to `pitch_high` and of `scale` are struck."""

    def masks(self) -> Masks:
        """Return the masks."""
        scope = self.scope
        sampling = scope.sampling
        if (sampling.pitch_low, sampling.pitch_high, sampling.scale) == (None, None, None):
            return Masks()
        return Masks(within(_pitches(sampling, scope.notes, scope.lowest).to(scope.times.device)))


@implements("rules", "repeats")
class Repeats(Rule):
    """No figure is repeated more than `repeats` times in a row."""

    def masks(self) -> Masks:
        """Return the masks."""
        times = self.scope.sampling.repeats
        return Masks() if times is None else Masks(not_more_often(times))


@implements("rules", "keep_grid")
class KeepGrid(Rule):
    """Notes are struck on the grid of the training music."""

    def masks(self) -> Masks:
        """Return the masks."""
        grid, times = self.scope.grid, self.scope.times
        if not self.scope.sampling.keep_grid or grid is None or never_leave(*grid, times):
            return Masks()
        return Masks(waits=on_places(*grid, times))


def _check_longest(longest: float, shortest: float) -> None:
    if longest < shortest:
        raise ComposerError(
            f"max_note_seconds={longest:g}: the network's shortest step is {shortest:.3g} seconds; give at least that"
        )


def _pitches(config: SamplingConfig, notes: int, lowest: int) -> Tensor:
    """Return (N,) classes that may be struck."""
    low = 0 if config.pitch_low is None else config.pitch_low
    high = 127 if config.pitch_high is None else config.pitch_high
    classes = None if config.scale is None else scale_pitches(config.scale)
    pitches = range(lowest, lowest + notes)
    allowed = [low <= pitch <= high and (classes is None or pitch % 12 in classes) for pitch in pitches]
    if not any(allowed):
        raise ComposerError(
            f"pitch_low={low}, pitch_high={high}, scale={config.scale or 'null'}: leave none of the network's pitches "
            f"{lowest}..{lowest + notes - 1}"
        )
    return torch.tensor(allowed)
