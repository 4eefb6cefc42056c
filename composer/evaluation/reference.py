"""The music that composed pieces are compared with: training music and held-out music, and the comparison.

The same figures are computed of composed and of human music. Of many pieces a fixed sample is used.

One class of some 300 lines, because its figures share the music that it reads once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import DataConfig
from composer.data.splits import Splits, split_rule
from composer.data.window_sets import ListedWindows, WindowSet
from composer.evaluation.copying import COPIED_NOTES, NgramIndex, figures, mean, measure
from composer.evaluation.distance import Distance, HumanMusic
from composer.evaluation.judgements import Copying, Quality, passage_dict
from composer.evaluation.legend import QUALITY
from composer.evaluation.phrases import ending
from composer.evaluation.quality import (
    PART_NOTES,
    Heard,
    Likeness,
    Monotony,
    collapse,
    features,
    likeness,
    measures,
    monotony,
)
from composer.evaluation.structure import structure
from composer.evaluation.surprise import MAX_NOTES, MarkovModel, cross_bits, noise
from composer.music.events import Piece
from composer.music.notes import NoteArrays, excerpts, notes_of
from composer.music.pieces import Pieces
from composer.random_streams import RandomStream

# Events at which the draw of pieces ends: the training music in which quotations are searched.
MAX_EVENTS = 1 << 20
# The same for held-out music, the source of the excerpts below.
_HELD_OUT_EVENTS = 1 << 16
# Excerpts of held-out and training music, as long as the composed pieces.
_EXCERPTS = 16
# Parts of each kind of music whose distributions are compared.
_PARTS = 32
# Notes of the excerpts of human and of composed music that the summary figure compares: the same for pieces of every
# length, so that these figures can be compared.
_DISTANCE_NOTES = 100
# Events that `released_per_500` counts notes for, and the notes that as many events strike.
_EVENTS, _NOTES_PER_EVENT = 500, 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """Some music of a split.

    Attributes:
        pieces: runs of events without a gap, each with its strikes.
        sources: different pieces that they are from.
        of: pieces that the split has in all.
        endings: the strikes of the runs that reach the end of their piece, in which some note is struck.
        events: of the runs.
    """

    pieces: list[tuple[Piece, NoteArrays]]
    sources: int
    of: int
    endings: list[NoteArrays] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Events of all runs."""
        return sum(len(piece.events) for piece, _ in self.pieces)

    @property
    def strikes(self) -> list[NoteArrays]:
        """The struck notes of each run."""
        return [strikes for _, strikes in self.pieces]


class ReferenceMusic:
    """The music of a run, read when it is first needed."""

    def __init__(
        self, pieces: Pieces, splits: Splits, data: DataConfig, seed: int, training: Part | None = None
    ) -> None:
        """Keep what is needed.

        Args:
            pieces: of the run.
            splits: the windows.
            data: how they were divided.
            seed: decides the draw.
            training: the training music, where another `ReferenceMusic` has read it.
        """
        self._training = training
        self.pieces, self.splits, self.data, self.seed = pieces, splits, data, seed
        self._rows = lru_cache(2)(self._measure_rows)
        self._human = lru_cache(2)(self._measure_human)

    def with_validation_held_out(self) -> ReferenceMusic:
        """Return the same training music, with the validation windows as the held-out music."""
        splits = replace(self.splits, test=ListedWindows(np.empty(0, np.int64)))
        # Training music may take long to read: both share it.
        return ReferenceMusic(self.pieces, splits, self.data, self.seed, self.training)

    @property
    def held_out_split(self) -> str | None:
        """`test`, or `val` where there is no test; None where validation windows overlap those that train."""
        if len(self.splits.test):
            return "test"
        return None if split_rule(self.data.split).reuses_passages else "val"

    @property
    def training(self) -> Part:
        """Music that some training window holds."""
        if self._training is None:
            self._training = self._read(self.splits.train, MAX_EVENTS)
        return self._training

    @cached_property
    def held_out(self) -> Part | None:
        """Music that no training window holds."""
        split = self.held_out_split
        return None if split is None else self._read(getattr(self.splits, split), _HELD_OUT_EVENTS)

    @cached_property
    def ngrams(self) -> NgramIndex:
        """Index of the training music for finding quotations."""
        return NgramIndex(self.training.strikes)

    @cached_property
    def heard(self) -> Heard | None:
        """Ranges of the training music; None where it has no note."""
        return Heard.of(self.training.strikes)

    @property
    def longest_note_seconds(self) -> float | None:
        """Of the training music; None where no note has a length."""
        return None if self.heard is None else self.heard.longest_seconds

    @cached_property
    def markov(self) -> MarkovModel:
        """A Markov model of the training music."""
        return MarkovModel(self.training.strikes)

    @cached_property
    def _human_music(self) -> HumanMusic | None:
        training, held_out = self._measure_rows(_DISTANCE_NOTES)
        return HumanMusic(training, held_out) if training or held_out else None

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

    def copying(self, pieces: Sequence[Piece], drawn: Sequence[Piece] | None = None) -> Copying:
        """Return what composed pieces quote from the training music, and what held-out music does.

        Args:
            pieces: as written: notes that are held too long are released.
            drawn: the same as the network drew them, whose events decide how long the human excerpts are; None where
                they are not known.
        """
        strikes = [notes_of(piece) for piece in pieces]
        longest = [self.ngrams.longest(piece) for piece in strikes]
        each = [figures(piece, self.ngrams, run) for piece, run in zip(strikes, longest, strict=True)]
        return Copying(
            composed=mean(each),
            pieces=each,
            held_out=self._human(_notes(drawn or pieces)).copying,
            split=self.held_out_split,
            longest=longest,
            training_pieces=self.training.sources,
            training_pieces_in_all=self.training.of,
            training_events=self.training.events,
        )

    def quality(self, pieces: Sequence[Piece], drawn: Sequence[Piece] | None = None) -> Quality:
        """Return the quality figures of composed pieces, and of training and held-out music.

        Args:
            pieces: as written: notes that are held too long are released.
            drawn: the same as the network drew them, where a collapse is looked for; None where they are not known.
        """
        strikes = [notes_of(piece) for piece in pieces]
        human = self._human(_notes(drawn or pieces))
        made = _features(strikes)
        similar = {"composed": _likeness(self._training_features, made), "held_out": self._held_out_likeness}
        to_held_out = _likeness(self._held_out_features, made)
        composed = _means([self._row(piece) | structure(piece) for piece in strikes if len(piece) > 1])
        composed |= _means([{"ending": ending(piece)} for piece in strikes if len(piece)])
        if drawn:
            added = sum(len(piece.events) for piece in pieces) - sum(len(piece.events) for piece in drawn)
            composed["released_per_500"] = _EVENTS * added / max(sum(len(piece.events) for piece in drawn), 1)
        return Quality(
            composed=_ordered(composed),
            training=human.training,
            held_out=human.held_out or None,
            split=self.held_out_split,
            overlap={key: None if value is None else _with_mean(value.overlap) for key, value in similar.items()},
            divergence={key: None if value is None else value.divergence for key, value in similar.items()},
            overlap_held_out=None if to_held_out is None else _with_mean(to_held_out.overlap),
            divergence_held_out=None if to_held_out is None else to_held_out.divergence,
            parts={
                "training": len(self._training_features),
                "composed": len(made),
                "held_out": len(self._held_out_features),
            },
            distance=self.measure_distance(pieces),
            collapse=next((reason for piece in drawn or pieces if (reason := self._collapse(piece))), None),
            noise=self._noise(composed, human),
            surprise_shuffled=self.markov.shuffled_bits,
        )

    def distance(self, pieces: Sequence[Piece]) -> float | None:
        """Return how far composed pieces are from held-out music (without any, from training music): less is nearer.

        Args:
            pieces: as written: notes that are held too long are released.

        Returns:
            `measure_distance` as a number.
        """
        found = self.measure_distance(pieces)
        return None if found is None else found.value

    def measure_distance(self, pieces: Sequence[Piece]) -> Distance | None:
        """Return how far composed pieces are from human music (`evaluation/distance.py`).

        Each piece is cut into excerpts of 100 notes, as human music is; a shorter one is one. The first call computes
        the figures of the human excerpts; others take milliseconds per piece.

        Args:
            pieces: as written: notes that are held too long are released.

        Returns:
            None where no piece has two notes, or there is no human music to compare with.
        """
        strikes = [found for piece in pieces if len(found := notes_of(piece)) > 1]
        if not strikes or self._human_music is None:
            return None
        return self._human_music.distance(
            [[self._row(part, copying=True) for part in _windows(piece, _DISTANCE_NOTES)] for piece in strikes]
        )

    def _row(self, piece: NoteArrays, *, copying: bool = False) -> dict[str, float]:
        """Return the fast figures of a piece of at least 2 notes, and its copied share."""
        bits = self.markov.bits(piece)
        row = measures(piece, self.heard) | ({} if bits is None else {"surprise": bits})
        return row | (self.ngrams.shares(piece, (COPIED_NOTES,)) if copying else {})

    def _measure_rows(self, notes: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        """Return the fast figures of excerpts of training and of held-out music.

        The surprise of a training excerpt is that after the others. What it copies is not measured: itself.
        """
        most = max(MAX_NOTES // notes, _EXCERPTS)
        parts = excerpts(self.training.strikes, notes, most) or self.training.strikes[:most]
        bits = cross_bits(parts)
        training = []
        for k in _spread(len(parts), _EXCERPTS):
            if len(parts[k]) > 1:
                found = bits[k]
                training.append(measures(parts[k], self.heard) | ({} if found is None else {"surprise": found}))
        return training, [self._row(piece, copying=True) for piece in self._excerpts(self.held_out, notes)]

    def _excerpts(self, part: Part | None, notes: int) -> list[NoteArrays]:
        """Return excerpts of `notes` notes, at least two; of shorter music all of it."""
        found = [] if part is None else excerpts(part.strikes, notes, _EXCERPTS) or part.strikes[:_EXCERPTS]
        return [piece for piece in found if len(piece) > 1]

    def _collapse(self, piece: Piece) -> str:
        struck_any = bool((piece.events.velocity > 0).any())
        return collapse(monotony(piece.events), self._usual) if struck_any else "it plays no note"

    def _noise(self, composed: dict[str, float], human: _Human) -> str | None:
        """Return why pieces sound like noise, compared with held-out music, or else training music."""
        shuffled = self.markov.shuffled_bits
        for kind, found in (("held-out music", human.held_out), ("training music", human.training)):
            if "surprise" in found and "surprise" in composed and shuffled is not None:
                return noise(composed["surprise"], found["surprise"], shuffled, kind) or None
        return None

    def passages(self, piece: Piece) -> list[dict[str, Any]]:
        """Return the quoted passages of a piece as the player page colours them: `start`, `end`, `source` and more."""
        return [passage_dict(passage) for passage in self.ngrams.passages(notes_of(piece))]

    def _measure_human(self, notes: int) -> _Human:
        """Return the figures of human music in excerpts of `notes` notes; of shorter music all of it."""
        rows = zip((self.training, self.held_out), self._rows(notes), strict=True)
        training, held_out = (self._human_figures(part, notes, found) for part, found in rows)
        excerpted = self._excerpts(self.held_out, notes)
        return _Human(training, held_out, measure(excerpted, self.ngrams) if excerpted else None)

    def _human_figures(self, part: Part | None, notes: int, rows: list[dict[str, float]]) -> dict[str, float]:
        if part is None or not rows:
            return {}
        found = _means(rows) | _means([structure(piece) for piece in self._excerpts(part, notes)])
        found |= _means([{"ending": ending(piece)} for piece in part.endings])
        longest = self.longest_note_seconds
        if longest is not None:
            # Notes that are longer than any of the training music, as composing releases them.
            durations = np.concatenate([piece.duration_seconds for piece in part.strikes])
            found["released_per_500"] = float((durations > longest + 1e-6).mean()) * _EVENTS * _NOTES_PER_EVENT
        return _ordered(found)

    def _read(self, windows: WindowSet, most: int) -> Part:
        """Return the music that windows hold, of pieces in a random order until there are `most` events of them.

        Of a random subset it is the music of all windows that it was drawn from: windows overlap so much that few
        events are in none of the subset's.
        """
        pool, offsets = windows.pool, self.pieces.offsets
        begins = np.array([run.start for run in pool.covered_runs(0, 0)], np.int64)
        holding = np.unique(np.searchsorted(offsets, begins, side="right") - 1)
        drawn: list[int] = []
        events = 0
        for number in np.random.default_rng([self.seed, RandomStream.REFERENCE_PIECES]).permutation(holding).tolist():
            if drawn and events >= most:
                break
            drawn.append(number)
            events += int(self.pieces.lengths[number])
        parts: list[tuple[Piece, NoteArrays]] = []
        endings = []
        for number in sorted(drawn):
            piece, offset = self.pieces[number], int(offsets[number])
            strikes = notes_of(piece)
            inside = pool.touches(np.arange(offset, offset + len(piece.events)), self.data.window_size)
            for begin, end in _runs(inside):
                run = replace(piece, events=piece.events[begin:end])
                held = strikes[(strikes.event >= begin) & (strikes.event < end)]
                parts.append((run, held))
                if end == len(piece.events) and len(held):
                    endings.append(held)
        return Part(parts, len(drawn), len(holding), endings)


@dataclass(frozen=True, slots=True)
class _Human:
    """The figures of training music, of held-out music, and what the latter quotes; nothing where there is none."""

    training: dict[str, float]
    held_out: dict[str, float]
    copying: dict[str, float] | None


def _runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (begin, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _notes(pieces: Sequence[Piece]) -> int:
    """Return the expected number of notes of a composed piece: half of its events."""
    return max(2, round(float(np.mean([len(piece.events) for piece in pieces])) / 2))


def _likeness(ones: list[Any], others: list[Any]) -> Likeness | None:
    return likeness(ones, others) if len(ones) > 2 and others else None


def _features(strikes: list[NoteArrays]) -> list[Any]:
    return [features(part) for part in excerpts(strikes, PART_NOTES, _PARTS) if len(part) > 1]


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each figure as a mean over the pieces that have it."""
    return mean(list(rows))


def _ordered(found: dict[str, float]) -> dict[str, float]:
    """Return the figures of `legend.QUALITY` in that order; others are left out."""
    return {key: found[key] for key in QUALITY if key in found}


def _spread(count: int, most: int) -> list[int]:
    """Return numbers from 0 to `count` - 1: all, or `most` of them at equal distances."""
    return list(range(count)) if count <= most else np.linspace(0, count - 1, most).round().astype(int).tolist()


def _windows(piece: NoteArrays, notes: int) -> list[NoteArrays]:
    """Return excerpts of `notes` notes that cover a piece evenly and may overlap; a shorter piece is one."""
    count = max(math.ceil(len(piece) / notes), 1)
    begins = np.linspace(0, max(len(piece) - notes, 0), count).round().astype(int).tolist()
    return [piece[begin : begin + notes] for begin in begins]


def _with_mean(values: dict[str, float]) -> dict[str, float]:
    return {**values, "mean": float(np.mean(list(values.values())))}
