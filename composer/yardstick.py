"""What composed pieces are held against: the music that trained, and human music that did not.

The same figures are taken of composed and of held-out music. Of many pieces a fixed draw stands for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.copying import Passage, Reference, figures, mean, measure
from composer.events import Piece, Pieces
from composer.quality import (
    PART_NOTES,
    Likeness,
    Monotony,
    collapse,
    features,
    groove_similarity,
    likeness,
    monotony,
)
from composer.ranges import Indices, Ranges, Starts
from composer.schema import DataConfig, Split
from composer.splits import Splits, covered
from composer.strikes import Strikes, excerpts, struck
from composer.structure import structure

# Events at which the draw of pieces ends: quotations are searched for in so much training music.
MOST_EVENTS = 1 << 20
# Likewise of held-out music, where the excerpts below come from.
_HELD_OUT_EVENTS = 1 << 16
# Excerpts of held-out and training music, as long as what was composed.
_EXCERPTS = 16
# Parts of each kind of music whose distributions are compared.
_PARTS = 32
_DRAW_STREAM = 9


@dataclass(frozen=True, slots=True)
class Part:
    """Some music of a split.

    Attributes:
        pieces: runs of events without a gap, each with its strikes.
        sources: different pieces that they are from.
        of: pieces that the split has in all.
        events: of the runs.
    """

    pieces: list[tuple[Piece, Strikes]]
    sources: int
    of: int

    @property
    def events(self) -> int:
        """Events of all runs."""
        return sum(len(piece.events) for piece, _ in self.pieces)

    @property
    def strikes(self) -> list[Strikes]:
        """The struck notes of each run."""
        return [strikes for _, strikes in self.pieces]


class Yardstick:
    """The music of a run, read when it is first needed."""

    def __init__(
        self, pieces: Pieces, offsets: NDArray[np.int64], splits: Splits, data: DataConfig, events: int, seed: int
    ) -> None:
        """Keep what is needed.

        Args:
            pieces: of the run.
            offsets: where each begins among the positions of the windows.
            splits: the windows.
            data: how they were divided.
            events: positions in all.
            seed: decides the draw.
        """
        self.pieces, self.offsets, self.splits, self.data = pieces, offsets, splits, data
        self.positions, self.seed = events, seed
        self._human = lru_cache(2)(self._measure_human)

    @property
    def held_out_split(self) -> str | None:
        """`test`, or `val` where there is no test; None where validation windows overlap those that train."""
        if len(self.splits.test):
            return "test"
        return None if self.data.split is Split.shuffled else "val"

    @cached_property
    def training(self) -> Part:
        """Music that some training window holds."""
        return self._read(self.splits.train, MOST_EVENTS)

    @cached_property
    def held_out(self) -> Part | None:
        """Music that no training window holds."""
        split = self.held_out_split
        return None if split is None else self._read(getattr(self.splits, split), _HELD_OUT_EVENTS)

    @cached_property
    def reference(self) -> Reference:
        """The training music, to look quotations up in."""
        return Reference(self.training.strikes)

    @cached_property
    def longest_note_seconds(self) -> float | None:
        """Of the training music; None where no note has a length."""
        longest = max((float(piece.duration_seconds.max()) for piece in self.training.strikes if len(piece)), default=0)
        return longest or None

    @cached_property
    def _usual(self) -> Monotony:
        struck_any = [piece for piece, strikes in self.training.pieces if len(strikes)][:_PARTS]
        found = [monotony(piece.events, anywhere=True) for piece in struck_any]
        return Monotony(*(max((getattr(m, key) for m in found), default=0.0) for key in ("pitch", "time", "loop")))

    @cached_property
    def _training_features(self) -> list[Any]:
        return _features(self.training.strikes)

    @cached_property
    def _held_out_features(self) -> list[Any]:
        return [] if self.held_out is None else _features(self.held_out.strikes)

    @cached_property
    def _held_out_likeness(self) -> Likeness | None:
        return _likeness(self._training_features, self._held_out_features)

    def copying(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """What composed pieces quote from the training music, beside what held-out music does.

        Returns:
            `composed` and `held_out` as `copying.measure` gives them (`held_out` of excerpts as long as the composed
            pieces at most, None without held-out music), with `split`; of each piece its figures (`pieces`) and its
            `longest` passage; and how much `reference` music there was.
        """
        strikes = [struck(piece) for piece in pieces]
        longest = [self.reference.longest(piece) for piece in strikes]
        each = [figures(piece, self.reference, run) for piece, run in zip(strikes, longest, strict=True)]
        return {
            "composed": mean(each),
            "pieces": each,
            "held_out": self._human(_notes(pieces)).copying,
            "split": self.held_out_split,
            "longest": [None if passage is None else told(passage) for passage in longest],
            "reference": {"pieces": self.training.sources, "of": self.training.of, "events": self.training.events},
        }

    def quality(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """What composed pieces are like, beside training and held-out music.

        Returns:
            Figures of the `composed` pieces, of `training` and of `held_out` music (means over excerpts as long as the
            composed pieces at most); `overlap` (with its `mean`) and `divergence` from the training music, of parts of
            32 notes, each by `composed` and `held_out`; `overlap_held_out` and `divergence_held_out`, those of the
            composed pieces from the held-out music; `parts`, how many these were; `collapse`, a reason or None.
        """
        strikes = [struck(piece) for piece in pieces]
        human = self._human(_notes(pieces))
        made = _features(strikes)
        alike = {"composed": _likeness(self._training_features, made), "held_out": self._held_out_likeness}
        to_held_out = _likeness(self._held_out_features, made)
        return {
            "composed": _means(strikes),
            "training": human.training,
            "held_out": human.held_out or None,
            "split": self.held_out_split,
            "overlap": {key: value and _with_mean(value.overlap) for key, value in alike.items()},
            "divergence": {key: value and value.divergence for key, value in alike.items()},
            "overlap_held_out": to_held_out and _with_mean(to_held_out.overlap),
            "divergence_held_out": to_held_out and to_held_out.divergence,
            "parts": {
                "training": len(self._training_features),
                "composed": len(made),
                "held_out": len(self._held_out_features),
            },
            "collapse": next((reason for piece in pieces if (reason := self._collapse(piece))), None),
        }

    def distance(self, pieces: Sequence[Piece]) -> float | None:
        """Return how far composed pieces are from held-out music (without any, from training music): 0 is no distance.

        The mean over the figures of `quality` and the share of copied runs of 8 notes, each as |a - b| / (|a| + |b|).
        """
        quality, copying = self.quality(pieces), self.copying(pieces)
        human = {**(quality["held_out"] or quality["training"]), **(copying["held_out"] or {})}
        made = {**quality["composed"], **copying["composed"]}
        keys = [key for key in (*quality["composed"], "interval_8") if key in human and key in made]
        apart = [abs(made[key] - human[key]) / max(abs(made[key]) + abs(human[key]), 1e-9) for key in keys]
        return float(np.mean(apart)) if apart else None

    def _collapse(self, piece: Piece) -> str:
        struck_any = bool((piece.events.velocity > 0).any())
        return collapse(monotony(piece.events), self._usual) if struck_any else "it strikes no note"

    def passages(self, piece: Piece) -> list[dict[str, Any]]:
        """What a piece quotes, as the player page colours it: `start`, `end`, `source`, `transposition` and more."""
        return [told(passage) for passage in self.reference.passages(struck(piece))]

    def _measure_human(self, notes: int) -> _Human:
        """The figures of human music, in excerpts of so many notes; of what is shorter all."""
        training, held_out = (
            [] if part is None else excerpts(part.strikes, notes, _EXCERPTS) or part.strikes[:_EXCERPTS]
            for part in (self.training, self.held_out)
        )
        copying = measure(held_out, self.reference) if held_out else None
        return _Human(_means(training), _means(held_out), copying)

    def _read(self, starts: Indices | Starts, most: int) -> Part:
        """The music that windows hold, of pieces in a random order until there are `most` events of them."""
        reach = _Reach(starts, self.positions, self.data.window_size)
        holding = reach.pieces(self.offsets)
        drawn: list[int] = []
        events = 0
        for number in np.random.default_rng([self.seed, _DRAW_STREAM]).permutation(holding).tolist():
            if drawn and events >= most:
                break
            drawn.append(number)
            events += int(self.pieces.lengths[number])
        parts: list[tuple[Piece, Strikes]] = []
        for number in sorted(drawn):
            piece, offset = self.pieces[number], int(self.offsets[number])
            strikes = struck(piece)
            for begin, end in _runs(reach.holds(np.arange(offset, offset + len(piece.events)))):
                run = replace(piece, events=piece.events[begin:end])
                parts.append((run, strikes[(strikes.event >= begin) & (strikes.event < end)]))
        return Part(parts, len(drawn), len(holding))


@dataclass(frozen=True, slots=True)
class _Human:
    """The figures of training music, of held-out music, and what the latter quotes; nothing where there is none."""

    training: dict[str, float]
    held_out: dict[str, float]
    copying: dict[str, float] | None


class _Reach:
    """The events that windows hold, as inputs or as targets."""

    def __init__(self, starts: Indices | Starts, positions: int, window_size: int) -> None:
        # Of a drawn share of a large corpus all that it was drawn from: windows overlap so much that few events are in
        # none of the share's.
        self.pool = starts.pool if isinstance(starts, Starts) else None
        self.firsts = self.pool.firsts if self.pool is not None else np.unique(np.asarray(starts))
        self.covered = covered(positions, self.firsts, window_size) if self.pool is None else None
        self.window_size = window_size

    def pieces(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the pieces that hold a window, rising."""
        return np.unique(np.searchsorted(offsets, self.firsts, side="right") - 1)

    def holds(self, positions: Indices) -> NDArray[np.bool_]:
        """Whether each position is in a window."""
        if self.covered is not None:
            return self.covered[positions]
        assert isinstance(self.pool, Ranges)
        return self.pool.touches(positions, self.window_size)


def _runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(begin, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _notes(pieces: Sequence[Piece]) -> int:
    """The notes of a composed piece: half of its events, which is the same for as many events whatever they are."""
    return max(2, round(float(np.mean([len(piece.events) for piece in pieces])) / 2))


def _likeness(ones: list[Any], others: list[Any]) -> Likeness | None:
    return likeness(ones, others) if len(ones) > 2 and others else None


def _features(strikes: list[Strikes]) -> list[Any]:
    return [features(part) for part in excerpts(strikes, PART_NOTES, _PARTS) if len(part) > 1]


def _means(strikes: list[Strikes]) -> dict[str, float]:
    """The figures of `features` that are numbers, groove and structure, each a mean over the pieces that have it."""
    rows: list[dict[str, float]] = []
    for piece in strikes:
        if len(piece) < 2:
            continue
        groove = groove_similarity(piece)
        numbers = {key: float(value) for key, value in features(piece).items() if np.ndim(value) == 0}
        rows.append(numbers | ({} if groove is None else {"groove_similarity": groove}) | structure(piece))
    return mean(rows)


def _with_mean(values: dict[str, float]) -> dict[str, float]:
    return {**values, "mean": float(np.mean(list(values.values())))}


def told(passage: Passage) -> dict[str, Any]:
    """A passage as files and the player page have it, times in milliseconds rounded down: its first note is in it."""
    plain = {**asdict(passage), "seconds": passage.seconds}
    return {key: math.floor(value * 1000) / 1000 if isinstance(value, float) else value for key, value in plain.items()}
