"""Tokens: the classes of the events of a corpus, as an array or computed from a store.

N = events of all pieces, one after another, B = any number of windows, C = channels: note, velocity and time, and
with `model.bar_position` the place in the bar
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from composer.corpus.store import Store, StoredPieces, fields
from composer.data.vocabulary import Vocabulary
from composer.music.pieces import Pieces


class TokenSource(Protocol):
    """The events of a corpus as classes of a vocabulary."""

    def __len__(self) -> int:
        """Return the number of events N."""

    def __getitem__(self, positions: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the classes (..., C) of the events at positions of any shape."""

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Return the classes (B, length, C) of the events from each position (B,) on."""

    def chunks(
        self, runs: Sequence[range], overlap: int = 0, bridge: int = 0
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield position and classes of consecutive events that hold all `runs`.

        Args:
            runs: ranges of positions, rising and without overlap.
            overlap: number of events at the end of a chunk that the next chunk repeats.
            bridge: gaps of at most this many events are read too, so that there are fewer chunks.
        """


class ArrayTokens:
    """Classes in memory: 3 bytes per event."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        """Store the classes (N, C)."""
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, positions: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.array[positions]

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Return the classes (B, length, C) of the events from each position (B,) on."""
        positions = starts[:, None] + np.arange(length)
        return self[positions]

    def chunks(
        self, runs: Sequence[range], overlap: int = 0, bridge: int = 0
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield all events at once; see `TokenSource.chunks`."""
        yield 0, self.array


class StoredTokens:
    """Classes of the events of a store, computed on demand.

    Reading classes from disk would be two to five times faster (`benchmarks/large_store.py`), but both are much faster
    than training, and each vocabulary, and so each seed of a sweep, would need its own copy.
    """

    def __init__(self, store: Store, vocabulary: Vocabulary) -> None:
        """Prepare the lookup of classes; `vocabulary` has the time unit of the `store`."""
        assert store.unit is vocabulary.time_unit
        self.store, self.pitch_low = store, vocabulary.pitch_low
        self.time_classes = vocabulary.time_classes(store.times)
        self.velocity_classes = vocabulary.velocity_classes(np.arange(128, dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.store.events)

    def __getitem__(self, positions: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.classes(np.asarray(self.store.events[positions]))

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Return the classes (B, length, 3) of the events from each position (B,) on."""
        return self.classes(np.lib.stride_tricks.sliding_window_view(self.store.events, length)[starts])

    def chunks(
        self, runs: Sequence[range], overlap: int = 0, bridge: int = 0
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield position and classes of consecutive events; see `TokenSource.chunks`."""
        for first, codes in self.store.chunks(runs, overlap, bridge):
            yield first, self.classes(codes)

    def classes(self, codes: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the classes (..., 3) of event codes of any shape."""
        pitch, velocity, time = fields(codes)
        classes = np.empty((*codes.shape, 3), np.uint8)
        # A piece with pitches outside the vocabulary is in the store, but not in the run.
        classes[..., 0] = pitch - np.uint8(self.pitch_low)
        classes[..., 1] = self.velocity_classes[velocity]
        classes[..., 2] = self.time_classes[time]
        return classes


def encode_pieces(pieces: Pieces, vocabulary: Vocabulary) -> TokenSource:
    """Return the classes of the events of all pieces, one after another.

    Raises:
        ComposerError: a pitch is outside the vocabulary.
    """
    if isinstance(pieces, StoredPieces):
        return StoredTokens(pieces.store, vocabulary)
    return ArrayTokens(np.concatenate([vocabulary.encode(piece.events) for piece in pieces]))
