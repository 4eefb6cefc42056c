"""The music of a run, without torch: pieces read, vocabulary fitted to the training events, windows split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.config.data import DataConfig, EncodingConfig
from composer.corpus.corpus import Corpus, Tokens, read_corpus
from composer.corpus.duplicates import Groups
from composer.corpus.store import StoredPieces, StoredTokens
from composer.data import leakage as scale
from composer.data.splits import Leak, Splits, covered
from composer.data.splits import leak as measure_leak
from composer.data.vocabulary import Fitted, TimeError, Vocabulary, fit
from composer.data.window_sets import Starts
from composer.music.events import Piece, Pieces
from composer.music.rhythm import Rhythm, measure_rhythm

# Events whose rhythm is looked at.
MAX_RHYTHM_EVENTS = 1 << 19


@dataclass(frozen=True, slots=True)
class Music:
    """Everything that a run knows of its data.

    Attributes:
        pieces: in the order of their files.
        tokens: (N, 3) classes of all pieces, one after another.
        offsets: (P,) where each piece begins among them.
        groups: which of the pieces are alike.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        time_error: round-trip error of the training events' times.
        longest: the largest of these, in `vocabulary.time_unit`.
        rhythm: what encoding does to the inter-onset intervals; None without any, or without beats.
    """

    pieces: Pieces
    vocabulary: Vocabulary
    tokens: Tokens
    offsets: NDArray[np.int64]
    splits: Splits
    groups: Groups
    leak: Leak
    sha256: str
    skipped: list[str]
    time_error: TimeError
    longest: float
    rhythm: Rhythm | None

    @property
    def events(self) -> int:
        """Events of all pieces."""
        return int(self.pieces.lengths.sum())


def load_music(data: DataConfig, encoding: EncodingConfig, seed: int) -> Music:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the way out.
    """
    return prepare(read_corpus(data, encoding), data, seed)


def prepare(corpus: Corpus, data: DataConfig, seed: int) -> Music:
    """Encode and split pieces that have been read; see `load_music`."""
    encoding = corpus.encoding
    splits, groups = corpus.split(data, seed)
    fitted = _fit(corpus, splits, data, encoding)
    tokens = corpus.tokens(fitted.vocabulary)
    if isinstance(tokens, StoredTokens):
        leak = scale.leak(tokens, splits, data.window_size, seed)
    else:
        leak = measure_leak(tokens, splits, data.window_size)
    return Music(
        corpus.pieces,
        fitted.vocabulary,
        tokens,
        corpus.offsets,
        splits,
        groups,
        leak,
        corpus.sha256,
        corpus.skipped,
        fitted.time_error,
        fitted.longest,
        measure_rhythm(_some(corpus.pieces), fitted.vocabulary),
    )


def _some(pieces: Pieces) -> Iterator[Piece]:
    """Yield pieces spread evenly over all, about `MAX_RHYTHM_EVENTS` events of them."""
    count = int(np.clip(MAX_RHYTHM_EVENTS / max(pieces.lengths.mean(), 1), 1, len(pieces)))
    for place in np.linspace(0, len(pieces) - 1, count).round().astype(int).tolist():
        yield pieces[place]


def _fit(corpus: Corpus, splits: Splits, data: DataConfig, encoding: EncodingConfig) -> Fitted:
    if isinstance(splits.train, Starts):
        assert isinstance(corpus.pieces, StoredPieces)
        return scale.fit_store(corpus.pieces.store, splits.train, data, encoding)
    times = np.concatenate([piece.events.delta_time for piece in corpus.pieces])
    # Of windows of `margin` events: runs that share their targets also share the classes.
    late = data.margin - data.window_size
    training = covered(len(times), splits.train - late, data.margin)
    trained = times[training]
    vocabulary = fit(encoding, trained, np.concatenate([piece.events.velocity for piece in corpus.pieces])[training])
    return Fitted(vocabulary, vocabulary.time_error(trained), float(trained.max()))
