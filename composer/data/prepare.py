"""Preparation of the data of a run, without torch: pieces read, split, vocabulary fitted, leakage measured."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from composer.config.data import DataConfig, EncodingConfig
from composer.corpus import duplicates
from composer.corpus.corpus import Corpus, read_corpus, unusable_reason
from composer.corpus.duplicates import Groups
from composer.corpus.metadata import SplitPart
from composer.data.encoded_rhythm import Rhythm, measure_rhythm
from composer.data.leakage import Leak, leak
from composer.data.splits import Splits, split_windows
from composer.data.tokens import TokenSource, encode_pieces
from composer.data.vocabulary import Fitted, TimeError, Vocabulary, fit
from composer.errors import ComposerError
from composer.files import write_atomic
from composer.music.events import Piece
from composer.music.pieces import Pieces

# Events whose rhythm is measured.
MAX_RHYTHM_EVENTS = 1 << 19


@dataclass(frozen=True, slots=True)
class PreparedData:
    """The data of a run: pieces, vocabulary, classes and split.

    Attributes:
        pieces: in the order of their files.
        tokens: 3 classes per event of all pieces, one after another.
        groups: groups of pieces that are copies or near-copies.
        leak: leakage from training into validation windows.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        store: the folder of the store on disk that the pieces were read from; None without.
        time_error: round-trip error of the training events' times.
        longest: the longest of these times, in `vocabulary.time_unit`.
        rhythm: effect of encoding on the inter-onset intervals; None without intervals or beats.
    """

    pieces: Pieces
    vocabulary: Vocabulary
    tokens: TokenSource
    splits: Splits
    groups: Groups
    leak: Leak
    sha256: str
    skipped: list[str]
    store: Path | None
    time_error: TimeError
    longest: float
    rhythm: Rhythm | None

    @property
    def events(self) -> int:
        """Number of events of all pieces."""
        return int(self.pieces.lengths.sum())


def load_data(data: DataConfig, encoding: EncodingConfig, seed: int) -> PreparedData:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the remedy.
    """
    return prepare(read_corpus(data, encoding), data, seed)


def prepare(corpus: Corpus, data: DataConfig, seed: int) -> PreparedData:
    """Encode and split pieces that have been read; see `load_data`."""
    splits, groups = split_corpus(corpus, data, seed)
    # The classes do not depend on how much of the training music is trained on.
    whole = splits if data.train_share == 1 else split_corpus(corpus, replace(data, train_share=1.0), seed)[0]
    fitted = _fit(corpus.pieces, whole, data, corpus.encoding)
    tokens = encode_pieces(corpus.pieces, fitted.vocabulary)
    return PreparedData(
        corpus.pieces,
        fitted.vocabulary,
        tokens,
        splits,
        groups,
        leak(tokens, splits, data.window_size, seed),
        corpus.sha256,
        corpus.skipped,
        corpus.store,
        fitted.time_error,
        fitted.longest,
        measure_rhythm(_some(corpus.pieces), fitted.vocabulary),
    )


def keep_usable(corpus: Corpus, data: DataConfig, encoding: EncodingConfig) -> tuple[Corpus, list[str]]:
    """Return a corpus that was read with `check=False` without the pieces that cannot be trained on.

    Returns:
        The corpus, and for each piece that is left out its name and the reason.
    """
    pieces, parts, names = corpus.pieces, corpus.parts, corpus.names
    reasons = [unusable_reason(piece, data, encoding) for piece in pieces]
    kept = [number for number, reason in enumerate(reasons) if not reason]
    usable = replace(
        corpus,
        pieces=pieces.only(kept),
        parts=None if parts is None else [parts[number] for number in kept],
        names=None if names is None else [names[number] for number in kept],
    )
    return usable, [f"{name}: {reason}" for name, reason in zip(pieces.names, reasons, strict=True) if reason]


def split_corpus(corpus: Corpus, data: DataConfig, seed: int) -> tuple[Splits, Groups]:
    """Split the windows of a corpus; return them with the groups of pieces that were kept together.

    Raises:
        ComposerError: too few pieces or windows for the held-out shares.
    """
    pieces = corpus.pieces
    groups = _group(pieces, data.group_similarity, corpus.cache)
    if corpus.names is not None:
        groups = duplicates.merge_named(groups, corpus.names)
    if corpus.parts is not None:
        _warn_of_divided(groups, corpus.parts)
    lengths, offsets = pieces.lengths.tolist(), pieces.offsets.tolist()
    splits = split_windows(
        lengths, data, seed, parts=corpus.parts, groups=groups.of, offsets=offsets, computed=pieces.on_disk
    )
    return splits, groups


def _group(pieces: Pieces, limit: float | None, cache: Path | None) -> Groups:
    """Return the groups of pieces of similar melody, kept in the folder `cache`.

    Finding them takes longer than reading the pieces.

    Args:
        pieces: of a corpus.
        limit: value of `data.group_similarity`; None makes each piece a group.
        cache: a folder; None keeps nothing.
    """
    if len(pieces) == 1 or limit is None:
        return duplicates.ungrouped(len(pieces))
    if cache is None:
        return duplicates.group((piece.events for piece in pieces), limit)
    key = f"{duplicates.VERSION} {limit!r} {pieces.offsets.tobytes().hex()}"
    path = cache / f"groups-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npy"
    try:
        copies, near_copies, *of = np.load(path).tolist()
    except (OSError, ValueError):
        of = []
    if len(of) == len(pieces):
        return Groups(np.array(of, np.int64), copies, near_copies)
    found = duplicates.group((piece.events for piece in pieces), limit)
    with suppress(ComposerError):
        # Caching is best effort: never fail a run because of it.
        kept = np.array([found.copies, found.near_copies, *found.of])
        write_atomic(path, lambda stream: np.save(stream, kept))
    return found


def _warn_of_divided(groups: Groups, parts: Sequence[SplitPart]) -> None:
    """Warn of groups whose pieces a split file puts into different parts."""
    of: dict[int, set[SplitPart]] = {}
    for number, part in zip(groups.of.tolist(), parts, strict=True):
        of.setdefault(number, set()).add(part)
    divided = sum(len(found) > 1 for found in of.values())
    if divided:
        warnings.warn(
            f"data.split=file: of the groups of similar pieces, {divided:,} have pieces in more than one part",
            stacklevel=5,
        )


def _some(pieces: Pieces) -> Iterator[Piece]:
    """Yield pieces spread evenly over all, about `MAX_RHYTHM_EVENTS` events of them."""
    count = int(np.clip(MAX_RHYTHM_EVENTS / max(pieces.lengths.mean(), 1), 1, len(pieces)))
    for place in np.linspace(0, len(pieces) - 1, count).round().astype(int).tolist():
        yield pieces[place]


def _fit(pieces: Pieces, splits: Splits, data: DataConfig, encoding: EncodingConfig) -> Fitted:
    """Fit the vocabulary to the training events.

    The training events are those of windows of `data.margin` inputs, so that runs with the same targets also have the
    same classes. For a random subset they are the events of all windows that it was drawn from: except for a few at the
    ends of ranges, each of these events is in some training window.
    """
    runs = splits.train.covered_runs(data.margin - data.window_size, data.window_size)
    counts = pieces.counts(runs)
    vocabulary = fit(encoding, counts.times, counts.time, counts.velocity)
    return Fitted(vocabulary, vocabulary.time_error(counts.times, counts.time), float(counts.times.max()))
