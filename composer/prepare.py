"""The music of a run, without torch: pieces read, vocabulary fitted to the training events, windows split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer import scale
from composer.corpus import Corpus, Tokens, read_corpus
from composer.events import Pieces
from composer.ranges import Starts
from composer.schema import DataConfig, EncodingConfig
from composer.splits import Leak, Splits, covered
from composer.splits import leak as measure_leak
from composer.store import StoredPieces, StoredTokens
from composer.vocabulary import TimeError, Vocabulary, fit


@dataclass(frozen=True, slots=True)
class Music:
    """Everything that a run knows of its data.

    Attributes:
        pieces: in the order of their files.
        tokens: (N, 3) classes of all pieces, one after another.
        offsets: (P,) where each piece begins among them.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        time_error: round-trip error of the training events' times.
    """

    pieces: Pieces
    vocabulary: Vocabulary
    tokens: Tokens
    offsets: NDArray[np.int64]
    splits: Splits
    leak: Leak
    sha256: str
    skipped: list[str]
    time_error: TimeError

    @property
    def events(self) -> int:
        """Events of all pieces."""
        return int(self.pieces.lengths.sum())


def load_music(data: DataConfig, encoding: EncodingConfig, seed: int) -> Music:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the way out.
    """
    corpus = read_corpus(data, encoding)
    parts = corpus.split(data, seed)
    if corpus.lazy:
        vocabulary, tokens, leak, time_error = _measure_store(corpus, parts, data, encoding, seed)
    else:
        vocabulary, tokens, leak, time_error = _measure(corpus, parts, data, encoding)
    return Music(
        corpus.pieces,
        vocabulary,
        tokens,
        corpus.offsets,
        parts,
        leak,
        corpus.sha256,
        corpus.skipped,
        time_error,
    )


def _measure(
    corpus: Corpus, parts: Splits, data: DataConfig, encoding: EncodingConfig
) -> tuple[Vocabulary, Tokens, Leak, TimeError]:
    times = np.concatenate([piece.events.delta_time for piece in corpus.pieces])
    assert not isinstance(parts.train, Starts)
    # Of windows of `margin` events: runs that share their targets also share the classes.
    late = data.margin - data.window_size
    trained = times[covered(len(times), parts.train - late, data.margin)]
    vocabulary = fit(encoding, trained)
    tokens = corpus.tokens(vocabulary)
    assert isinstance(tokens, np.ndarray)
    return vocabulary, tokens, measure_leak(tokens, parts, data.window_size), vocabulary.time_error(trained)


def _measure_store(
    corpus: Corpus, parts: Splits, data: DataConfig, encoding: EncodingConfig, seed: int
) -> tuple[Vocabulary, Tokens, Leak, TimeError]:
    assert isinstance(corpus.pieces, StoredPieces)
    assert isinstance(parts.train, Starts)
    vocabulary, time_error = scale.fit_store(corpus.pieces.store, parts.train, data, encoding)
    tokens = corpus.tokens(vocabulary)
    assert isinstance(tokens, StoredTokens)
    return vocabulary, tokens, scale.leak(tokens, parts, data.window_size, seed), time_error
