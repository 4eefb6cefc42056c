"""The seconds that the scored events take, whatever unit the network was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from composer.config.schema import DataConfig, TimeUnit
from composer.corpus.corpus import Corpus, read_corpus
from composer.corpus.store import EVENT_BITS, Store, StoredPieces
from composer.data.window_sets import Indices


class Seconds:
    """Seconds since the event before, by position among the classes of a corpus (`Corpus.tokens`)."""

    def __init__(self, corpus: Corpus, data: DataConfig) -> None:
        """Keep the times, or read them.

        Args:
            corpus: as it is scored. Times in beats are read again in seconds: a tempo map turns equal beats into
                other times.
            data: what it was read by.
        """
        if corpus.encoding.unit is not TimeUnit.seconds:
            corpus = read_corpus(data, dataclasses.replace(corpus.encoding, time_unit=TimeUnit.seconds))
        self.store: Store | None = None
        self.times: NDArray[np.float64] = np.empty(0)
        if corpus.lazy:
            assert isinstance(corpus.pieces, StoredPieces)
            self.store = corpus.pieces.store
        else:
            self.times = np.concatenate([piece.events.delta_time for piece in corpus.pieces])

    def __getitem__(self, positions: Indices) -> NDArray[np.float64]:
        """(B,) seconds of the events at these positions (B,)."""
        if self.store is None:
            return self.times[positions]
        codes = np.asarray(self.store.events[positions])
        return np.asarray(self.store.times[codes >> EVENT_BITS])
