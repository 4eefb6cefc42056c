"""Cross-entropy of music in bits per note under a Markov model of the training music, without any network.

Each note is four symbols: the interval to the note before, the wait since it, the duration, the velocity. Each is
predicted from the two symbols of its own kind before it by counts of the training music, interpolated with those of
one symbol and of none, as Witten and Bell 1991 weight them ("The zero-frequency problem", method C); below these all
symbols are equally likely. The bits of a note are the sum over the four (multiple viewpoints: Conklin and Witten 1995).

    N = struck notes of a piece, S = N - 1 symbols of one kind, A = different symbols of the training music
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from composer.music.notes import NoteArrays
from composer.music.rhythm import FINE_GRID, MIN_SCORE_SHARE, TOLERANCE_BEATS, grid_share, intervals

Symbols = NDArray[np.int64]
Array = NDArray[np.float64]

# Symbols of its own kind before a symbol that predict it.
ORDER = 2
# Training notes that are counted: more hardly change the estimates.
MAX_NOTES = 1 << 15
# Velocities are distinguished where the training music has at most this number of them, as scores have; else 16
# classes of 8.
_MAX_VELOCITIES = 16
_VELOCITIES_PER_CLASS = 8
# Times of performances, in logarithmic classes per octave, from 1/128 second on.
_CLASSES_PER_OCTAVE, _SHORTEST_SECONDS = 4, 1 / 128
# Times of scores that are not on the grid lie above those that are.
_OFF_GRID = 1 << 20
_LONGEST_BEATS = 64
# Number of possible symbols: decides the cost of an unseen one.
_INTERVALS, _VELOCITIES = 255, 127
# Groups in which parts of music are held out from a model of the others.
_FOLDS = 8
# Least bits per note that separate noise from human music.
MIN_EXCESS_BITS = 2.0


class MarkovModel:
    """The counts of some music."""

    def __init__(self, pieces: Sequence[NoteArrays]) -> None:
        """Count.

        Args:
            pieces: of at least 2 notes each, the first `MAX_NOTES` notes of them.
        """
        self.pieces = _first(pieces, MAX_NOTES)
        waits = [intervals(piece.onset_beats) for piece in self.pieces]
        share = grid_share(np.concatenate(waits), FINE_GRID) if waits else None
        # Scores have their times in parts of the beat, performances in seconds.
        self.score = share is not None and share >= MIN_SCORE_SHARE
        heard = np.unique(np.concatenate([np.empty(0, np.int64), *(piece.velocity for piece in self.pieces)]))
        self.velocity_step = 1 if len(heard) <= _MAX_VELOCITIES else _VELOCITIES_PER_CLASS
        kinds = zip(*(self._symbols(piece) for piece in self.pieces), strict=True) if self.pieces else ()
        possible = (_INTERVALS, 0, 0, _VELOCITIES // self.velocity_step)
        self.counts = [_Counts(list(rows), size) for rows, size in zip(kinds, possible, strict=False)]

    def bits(self, piece: NoteArrays) -> float | None:
        """Return the mean bits per note, of all notes but the first; None for fewer than 2 notes, or after no music."""
        if len(piece) < 2 or not self.counts:
            return None
        kinds = zip(self.counts, self._symbols(piece), strict=True)
        return float(sum(counts.bits(symbols).mean() for counts, symbols in kinds))

    @cached_property
    def shuffled_bits(self) -> float | None:
        """Bits per note of the counted music with the symbols of each kind in random order; None without music."""
        if not self.counts:
            return None
        random = np.random.default_rng(0)
        kinds = zip(*(self._symbols(piece) for piece in self.pieces), strict=True)
        shuffled = [random.permutation(np.concatenate(rows)) for rows in kinds]
        pairs = zip(self.counts, shuffled, strict=True)
        return float(sum(counts.bits(symbols).mean() for counts, symbols in pairs))

    def _symbols(self, piece: NoteArrays) -> list[Symbols]:
        """Return four arrays (S,): interval, wait, duration and velocity of each note but the first."""
        if self.score:
            waits, durations = _on_grid(np.diff(piece.onset_beats)), _on_grid(piece.duration_beats[1:])
        else:
            waits, durations = _logarithmic(np.diff(piece.onset_seconds)), _logarithmic(piece.duration_seconds[1:])
        return [np.diff(piece.pitch), waits, durations, piece.velocity[1:] // self.velocity_step]


def cross_bits(parts: Sequence[NoteArrays]) -> list[float | None]:
    """Return the bits per note of parts of some music, each after the others, in eight folds at most.

    Parts of fewer than 2 notes, and a single part, have none.
    """
    folds = min(_FOLDS, len(parts))
    if folds < 2:
        return [None] * len(parts)
    models = [MarkovModel([part for k, part in enumerate(parts) if k % folds != fold]) for fold in range(folds)]
    return [models[k % folds].bits(part) for k, part in enumerate(parts)]


def noise(composed: float, human: float, shuffled: float, kind: str) -> str:
    """Return why pieces sound like noise; empty if they do not.

    They do if they surprise more than the training music with its notes in random order: what they keep of its pitches,
    rhythms and velocities then says less than chance would. Where human music is nearly as surprising as that, there is
    no order to lose, and they must surprise by `MIN_EXCESS_BITS` more.

    Args:
        composed: bits per note of the pieces.
        human: of human music.
        shuffled: `MarkovModel.shuffled_bits`.
        kind: of the human music, in words.
    """
    if composed <= max(shuffled, human + MIN_EXCESS_BITS):
        return ""
    return (
        f"its notes carry {composed:.1f} bits each after the training music ({kind} {human:.1f}, "
        f"the training music in random order {shuffled:.1f})"
    )


class _Counts:
    """Counts of each symbol of one kind after each context of 0 to `ORDER` symbols."""

    def __init__(self, rows: Sequence[Symbols], possible: int) -> None:
        self.alphabet = np.unique(np.concatenate(rows))
        self.base = 1 / max(possible, len(self.alphabet) + 1)
        self.orders = []
        for order in range(ORDER + 1):
            grams = [np.empty(0, np.int64), *(self._grams(self._codes(row), order) for row in rows)]
            self.orders.append(_Successors.of(np.concatenate(grams), self._size))

    @property
    def _size(self) -> int:
        # Code 0 is a symbol that the music does not have.
        return len(self.alphabet) + 1

    def bits(self, symbols: Symbols) -> Array:
        """Return the bits (S,) of each symbol given those before it."""
        codes = self._codes(symbols)
        likely = np.full(len(codes), self.base)
        for order in range(min(ORDER, len(codes) - 1) + 1):
            likely[order:] = self.orders[order].mix(self._grams(codes, order), self._size, likely[order:])
        return np.asarray(-np.log2(likely))

    def _codes(self, symbols: Symbols) -> Symbols:
        place = np.clip(np.searchsorted(self.alphabet, symbols), 0, len(self.alphabet) - 1)
        return np.where(self.alphabet[place] == symbols, place + 1, 0)

    def _grams(self, codes: Symbols, order: int) -> Symbols:
        """Return one number (S - order,) for each symbol with the `order` symbols before it."""
        grams = np.zeros(max(len(codes) - order, 0), np.int64)
        for k in range(order + 1):
            grams = grams * self._size + codes[k : k + len(grams)]
        return grams


@dataclass(frozen=True, slots=True)
class _Successors:
    """Counts for contexts of one length: grams and their counts, contexts with their totals and different grams."""

    grams: Symbols
    counts: Symbols
    contexts: Symbols
    totals: Symbols
    different: Symbols

    @classmethod
    def of(cls, grams: Symbols, size: int) -> _Successors:
        found, counts = np.unique(grams, return_counts=True)
        contexts, which = np.unique(found // size, return_inverse=True)
        totals = np.bincount(which, weights=counts, minlength=len(contexts)).astype(np.int64)
        return cls(found, counts, contexts, totals, np.bincount(which, minlength=len(contexts)))

    def mix(self, grams: Symbols, size: int, lower: Array) -> Array:
        """Return probabilities (S,): Witten and Bell's mixture of the counts with those of a shorter context."""
        contexts = grams // size
        count = _at(self.grams, self.counts, grams)
        total, different = (_at(self.contexts, values, contexts) for values in (self.totals, self.different))
        return np.where(total > 0, (count + different * lower) / np.maximum(total + different, 1), lower)


def _at(keys: Symbols, values: Symbols, wanted: Symbols) -> Symbols:
    """Return the values of wanted keys (S,) among sorted keys; 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    place = np.clip(np.searchsorted(keys, wanted), 0, len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _on_grid(beats: Array) -> Symbols:
    """Return times (S,) in 1/24 beats; those off this grid in classes of half octaves."""
    slots = np.rint(np.minimum(beats, _LONGEST_BEATS) * FINE_GRID).astype(np.int64)
    off = np.abs(beats * FINE_GRID - slots) > TOLERANCE_BEATS * FINE_GRID
    octaves = np.rint(2 * np.log2(np.maximum(beats, 1 / 256))).astype(np.int64)
    return np.asarray(np.where(off & (beats < _LONGEST_BEATS), _OFF_GRID + octaves, slots))


def _logarithmic(seconds: Array) -> Symbols:
    octaves = np.log2(np.maximum(seconds, _SHORTEST_SECONDS / 2) / _SHORTEST_SECONDS)
    return np.asarray(np.floor(octaves * _CLASSES_PER_OCTAVE).astype(np.int64))


def _first(pieces: Sequence[NoteArrays], notes: int) -> list[NoteArrays]:
    """Return the pieces of at least 2 notes, the last cut so that they have at most `notes` notes in all."""
    found, total = [], 0
    for piece in pieces:
        if len(piece) < 2:
            continue
        if total >= notes:
            break
        found.append(piece[: notes - total] if total + len(piece) > notes else piece)
        total += len(piece)
    return [piece for piece in found if len(piece) >= 2]
