"""Rules as masks over the classes of the next event, computed from the sounding notes.

    B = pieces, N = classes of the note channel, M = classes of the time channel, K = events that are remembered
    move   a note struck or released: (B, N, 2) masks of moves, 0 is a release and 1 a strike
    times  (M,) time of each class; all times in the vocabulary's unit

A rule is a function of what plays, and rules are combined in their order. One that would leave a piece nothing gives
way for that event to those before it, so that something always remains; `playable`, the first, never leaves nothing.
The note is masked by the moves that it has, the velocity by those of the note that was drawn, the time by both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from composer.music.rhythm import PLACE_TOLERANCE_BEATS, on_grid

# Longest figure, in events, whose repetitions are counted.
PERIOD = 32
# Seconds before the end in which `ending=close` strikes nothing.
LAST_STRIKE_SECONDS = 0.5
# Times are sums of decoded classes: what rounding may add up to.
_TOLERANCE = 1e-9


class Playing(NamedTuple):
    """Sounding notes of each piece.

    Attributes:
        sounding: (B, N) notes that were struck and not released.
        struck: (B, N) time of a note's last move.
        now: (B,) time of the last event.
        passed: events so far.
        recent: (B, K) codes of the last moves, the latest first: twice the note, plus 1 for a strike.
        runs: (B, K) how many events in succession equalled the one 1, 2, ... K before them, as moves.
        done: (B,) whether a piece that is closed has ended; what follows does not belong to it.
        closed: (B,) events up to the last silence before that.
    """

    sounding: Tensor
    struck: Tensor
    now: Tensor
    passed: int
    recent: Tensor
    runs: Tensor
    done: Tensor
    closed: Tensor

    def select(self, pieces: Tensor) -> Playing:
        """Return these pieces (B,), by number."""
        parts = (part if isinstance(part, int) else part[pieces] for part in self)
        return Playing(*parts)  # type: ignore[arg-type]


def silence(batch: int, notes: int, device: torch.device | str = "cpu") -> Playing:
    """Return the state before the first event, with no sounding note, for a note channel of N classes."""
    times = torch.zeros(batch, notes, dtype=torch.float64, device=device)
    codes = torch.zeros(batch, PERIOD, dtype=torch.long, device=device)
    done, closed = torch.zeros(batch, dtype=torch.bool, device=device), codes[:, 0].clone()
    return Playing(times > 0, times, times[:, 0].clone(), 0, codes - 1, codes, done, closed)


def sounding_after(
    classes: Iterable[int], strikes: Iterable[bool], waits: Iterable[float], notes: int, device: torch.device | str
) -> Playing:
    """What plays, of one piece, after events that are not counted: their note classes, kinds, and times before them."""
    playing, now = silence(1, notes, device), 0.0
    struck: dict[int, float] = {}
    for note, strike, wait in zip(classes, strikes, waits, strict=True):
        now += wait
        struck.pop(note, None)
        if strike:
            struck[note] = now
    for note, time in struck.items():
        playing.sounding[0, note], playing.struck[0, note] = True, time - now
    return playing


def after(playing: Playing, event: Tensor, times: Tensor, last_strike: float = math.inf) -> Playing:
    """Return the sounding notes after an event (B, 3); `times` as in the head, `last_strike` as in `Rules`."""
    note, velocity, time = event.unbind(1)
    strike, now = velocity > 0, playing.now + times[time]
    move, count = (2 * note + strike)[:, None], playing.passed + 1
    sounding = playing.sounding.scatter(1, note[:, None], strike[:, None])
    ended = ~sounding.any(1) & ~playing.done
    return Playing(
        sounding,
        playing.struck.scatter(1, note[:, None], now[:, None]),
        now,
        count,
        torch.cat([move, playing.recent[:, :-1]], dim=1),
        (playing.runs + 1) * (playing.recent == move),
        playing.done | (ended & (now > last_strike)),
        torch.where(ended, count, playing.closed),
    )


# A mask of moves (B, N, 2); a mask of time classes (B, M), given which of the pieces (B,) strike.
MoveRule = Callable[[Playing], Tensor]
TimeRule = Callable[[Playing, Tensor], Tensor]


@dataclass(frozen=True)
class Rules:
    """Rules by priority, the most important first.

    Attributes:
        times: as at the head of this file.
        moves: rules on notes and velocities.
        waits: rules on times.
        last_strike: a piece that is silent after this time has ended.
    """

    times: Tensor
    moves: tuple[MoveRule, ...] = ()
    waits: tuple[TimeRule, ...] = ()
    last_strike: float = math.inf

    @property
    def free(self) -> bool:
        """Whether no rule restricts the next event."""
        return not (self.moves or self.waits)

    def after(self, playing: Playing, event: Tensor) -> Playing:
        """Return the sounding notes after an event (B, 3)."""
        return after(playing, event, self.times, self.last_strike)

    def legal_moves(self, playing: Playing) -> Tensor:
        """Return (B, N, 2) moves that may come next, at least one of each piece."""
        every = torch.ones_like(playing.sounding)[..., None].expand(-1, -1, 2)
        return meet(every, (rule(playing) for rule in self.moves))

    def legal_times(self, playing: Playing, strike: Tensor) -> Tensor:
        """Return (B, M) time classes of the next event, at least one of each piece; `strike` (B,) tells its move."""
        every = torch.ones(len(strike), len(self.times), dtype=torch.bool, device=strike.device)
        return meet(every, (rule(playing, strike) for rule in self.waits))


def meet(mask: Tensor, others: Iterable[Tensor]) -> Tensor:
    """Return the intersection of masks (B, ...); a mask that would leave a piece nothing is ignored for that piece."""
    for other in others:
        both = mask & other
        some = both.flatten(1).any(1).view(-1, *[1] * (mask.ndim - 1))
        mask = torch.where(some, both, mask)
    return mask


def _moves(release: Tensor, strike: Tensor) -> Tensor:
    return torch.stack([release, strike.expand_as(release)], dim=-1)


def playable(playing: Playing) -> Tensor:
    """Make a mask: a sounding note is released before it is struck again, and a silent one is not released."""
    return _moves(playing.sounding, ~playing.sounding)


def at_most(voices: int) -> MoveRule:
    """Make a mask: no more notes at once than `voices`."""

    def rule(playing: Playing) -> Tensor:
        room = playing.sounding.sum(1, keepdim=True) < voices
        return _moves(torch.ones_like(playing.sounding), playing.sounding | room)

    return rule


def within(allowed: Tensor) -> MoveRule:
    """Make a mask: only notes of `allowed` (N,) are struck."""

    def rule(playing: Playing) -> Tensor:
        return _moves(torch.ones_like(playing.sounding), allowed)

    return rule


def not_more_often(times: int) -> MoveRule:
    """Make a mask: no figure of up to `PERIOD` moves is repeated more than `times` times in a row."""
    limits = torch.arange(1, PERIOD + 1) * (times - 1)

    def rule(playing: Playing) -> Tensor:
        # With the next event equal to the one a figure before it, the figure would begin once more.
        over = playing.runs >= limits.to(playing.runs.device)
        codes = torch.zeros_like(playing.sounding, dtype=torch.long).repeat(1, 2)
        return codes.scatter_add(1, playing.recent.clamp(min=0), over.long()).view(len(codes), -1, 2) == 0

    return rule


def on_places(divisions: int, start: float, times: Tensor) -> TimeRule:
    """Make a mask: notes are struck on multiples of 1/`divisions` beat.

    Args:
        divisions: places per beat.
        start: place in beats of the moment 0.
        times: as at the head of this file, in beats.
    """

    def rule(playing: Playing, strike: Tensor) -> Tensor:
        places = (start + playing.now[:, None] + times) * divisions
        return ((places - places.round()).abs() <= PLACE_TOLERANCE_BEATS * divisions) | ~strike[:, None]

    return rule


def never_leave(divisions: int, start: float, times: Tensor) -> bool:
    """Tell whether every event stands on a place of the grid whatever is drawn; see `on_places` for the arguments."""
    steps = np.append(times.cpu().numpy(), start)
    return bool(on_grid(steps, divisions, _TOLERANCE).all())


def no_longer(limit: float, times: Tensor) -> tuple[MoveRule, TimeRule]:
    """Make a mask: no note sounds longer than `limit`.

    A note that would exceed it with the next shortest step is released now, before anything else,
    and no event waits past the first note's end.
    """
    step = shortest(times)

    def left(playing: Playing) -> Tensor:
        ends = torch.where(playing.sounding, playing.struck + limit - playing.now[:, None], torch.inf)
        return ends.clamp(min=0) + _TOLERANCE

    def rule(playing: Playing) -> Tensor:
        due = left(playing) < step
        none = ~due.any(1, keepdim=True)
        return _moves(due | none, none.expand_as(due))

    return rule, lambda playing, strike: times <= left(playing).amin(1, keepdim=True)


def closed_by_events(total: int) -> MoveRule:
    """Make a mask: all notes end within `total` events."""

    def rule(playing: Playing) -> Tensor:
        sounding, remaining = playing.sounding.sum(1, keepdim=True), total - playing.passed
        # A strike of a silent note takes two events, one of a sounding note (where that is legal) only its own.
        strike = torch.where(playing.sounding, sounding + 1, sounding + 2) <= remaining
        return _moves(playing.sounding | (sounding < remaining), strike)

    return rule


def closed_by_time(end: float, last_strike: float, times: Tensor) -> tuple[MoveRule, TimeRule]:
    """Make a mask: all notes are struck by `last_strike` and end by `end`."""
    step = shortest(times)

    def rule(playing: Playing) -> Tensor:
        now = playing.now[:, None]
        return _moves(playing.sounding | (now + step <= end), (now <= last_strike).expand_as(playing.sounding))

    def wait(playing: Playing, strike: Tensor) -> Tensor:
        return playing.now[:, None] + times <= torch.where(strike, last_strike, end)[:, None]

    return rule, wait


def shortest(times: Tensor) -> float:
    """Return the shortest positive time that can be drawn; 0 where there is none."""
    positive = times[times > 0]
    return float(positive.min()) if len(positive) else 0.0
