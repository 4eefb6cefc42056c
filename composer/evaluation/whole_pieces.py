"""Likelihood of whole pieces, each from its first event on: per event, per note, per beat and per second.

    N = events of a piece, T = data.window_size

Windows score the events that have a whole window before them. Published figures are of whole pieces, so that here every
event counts: the first by the training music's classes, the next T by the network after the events so far, the others
after the last T. With p the product of these probabilities,

    nats per note    -ln p / struck notes
    nats per beat    -ln p / beats, a time step where a piece has a frame every beat, as the JSB chorales have
    bits per second  -log2 p / seconds

A network that was trained on the last step of its windows alone (`loss.supervision=last`) never learnt to predict after
fewer than T events, which the first T of a piece then show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.config.data import DataConfig, TimeUnit
from composer.config.limits import CHANNELS
from composer.corpus.corpus import Corpus
from composer.data.permutation import Permutation
from composer.data.tokens import TokenSource
from composer.data.window_sets import ListedWindows, WindowSet
from composer.data.windows import Windows
from composer.evaluation.scores import Seconds, nlls
from composer.nets.network import Network
from composer.random_streams import RandomStream

# Events that are scored at most, in whole pieces drawn by the seed: a minute or two on one core.
MAX_EVENTS = 200_000
_BATCH = 512

Nats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """A whole piece.

    Attributes:
        name: of the piece.
        nats: (3,) negative log-likelihood of all its events, by channel.
        events, notes: all of them, and those that strike a note.
        beats: its length in beats; None where times are read in seconds.
        seconds: its length.
    """

    name: str
    nats: Nats
    events: int
    notes: int
    beats: float | None
    seconds: float

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for a file."""
        channels = {f"nats_{channel}": value for channel, value in zip(CHANNELS, self.nats.tolist(), strict=True)}
        return {"piece": self.name, "nats": float(self.nats.sum()), **channels} | {
            "events": self.events,
            "notes": self.notes,
            "beats": self.beats,
            "seconds": self.seconds,
        }


def first_event(training: Tensor, sizes: Sequence[int]) -> list[Nats]:
    """Return the probabilities (V,) of the classes of each channel by training events (W, 3), each counted once more.

    Without events all classes are equally likely (Laplace's rule of succession).
    """
    columns = training.long().numpy()
    found = []
    for channel, size in enumerate(sizes):
        counts = np.bincount(columns[:, channel], minlength=size) + 1.0
        found.append(counts / counts.sum())
    return found


def held_out(windows: WindowSet, corpus: Corpus, data: DataConfig) -> list[int]:
    """Return the numbers of the pieces all of whose windows are among `windows`; none where windows divide a piece."""
    begins, counts = corpus.pieces.offsets + data.margin - data.window_size, corpus.pieces.lengths - data.margin
    inside = windows.contains(begins) & windows.contains(begins + counts - 1) & (counts > 0)
    numbers: list[int] = np.flatnonzero(inside).tolist()
    # The windows of a piece that is divided may include its first and its last.
    return numbers if int(counts[inside].sum()) == len(windows) else []


def score(
    model: Network,
    tokens: TokenSource,
    corpus: Corpus,
    numbers: Sequence[int],
    window_size: int,
    first: Sequence[Nats],
    seconds: Seconds,
    seed: int,
) -> list[Scored]:
    """Score whole pieces, at most `MAX_EVENTS` events of them.

    Args:
        model: in evaluation mode.
        tokens: of all pieces, with the place in the bar where the network reads it.
        corpus: the pieces.
        numbers: of the pieces.
        window_size: T.
        first: probabilities of the first event; see `first_event`.
        seconds: by position.
        seed: draws the pieces where they are too many.
    """
    found: list[Scored] = []
    total = 0
    for number in _drawn(numbers, seed):
        begin, count = int(corpus.pieces.offsets[number]), int(corpus.pieces.lengths[number])
        if found and total + count > MAX_EVENTS:
            continue
        total += count
        positions = np.arange(begin, begin + count)
        classes = tokens[positions]
        start = [-math.log(first[channel][classes[0, channel]]) for channel in range(len(CHANNELS))]
        nats = np.asarray(start) + event_nats(model, tokens, begin, count, window_size).sum(axis=0)
        piece = corpus.pieces[number]
        beats = float(piece.events.delta_time.sum()) if corpus.encoding.unit is TimeUnit.beats else None
        notes = int((piece.events.velocity > 0).sum())
        found.append(Scored(piece.name, nats, count, notes, beats, float(seconds[positions].sum())))
    return found


def _drawn(numbers: Sequence[int], seed: int) -> Iterator[int]:
    order = Permutation(len(numbers), [seed, RandomStream.WHOLE_PIECES])(np.arange(len(numbers)))
    yield from (numbers[place] for place in order.tolist())


@torch.no_grad()
def event_nats(model: Network, tokens: TokenSource, begin: int, count: int, window_size: int) -> Nats:
    """Return the negative log-likelihoods (N - 1, 3) of every event of a piece but the first.

    Args:
        model: in evaluation mode.
        tokens: of all pieces.
        begin: position of the piece's first event.
        count: N.
        window_size: T.
    """
    device, short = model.linear.weight.device, min(window_size, count - 1)
    head = torch.from_numpy(tokens[begin : begin + short + 1][None]).to(device)
    if model.encodes_prefixes:
        found = [nlls(model.heads(model.hidden_states(head[:, :-1])[0], head[0, 1:]), head[0, 1:])]
    else:
        found = [nlls(model(head[:, : k + 1], head[:, k + 1]), head[:, k + 1]) for k in range(short)]
    rest = Windows(tokens, ListedWindows(np.arange(begin + 1, begin + count - window_size)), window_size)
    for place in range(0, len(rest), _BATCH):
        batch = rest[np.arange(place, min(place + _BATCH, len(rest)))]
        assert isinstance(batch, Tensor)
        batch = batch.to(device)
        found.append(nlls(model(batch[:, :-1], batch[:, -1]), batch[:, -1]))
    return np.concatenate(found)


def figures(pieces: Sequence[Scored], held: int) -> dict[str, Any]:
    """Return the figures of pieces together, and each piece's own, as `evaluation.json` has them.

    Args:
        pieces: at least one.
        held: how many there are to be scored.
    """
    nats, seconds = float(sum(piece.nats.sum() for piece in pieces)), sum(piece.seconds for piece in pieces)
    events, notes = sum(piece.events for piece in pieces), sum(piece.notes for piece in pieces)
    beats = [piece.beats for piece in pieces if piece.beats is not None]
    return {
        "pieces": len(pieces),
        "held_out": held,
        "events": events,
        "notes": notes,
        "beats": sum(beats) if beats else None,
        "seconds": seconds,
        "nats": nats,
        "nats_per_event": nats / events,
        "nats_per_note": nats / notes if notes else None,
        "nats_per_beat": nats / sum(beats) if sum(beats) else None,
        "bits_per_second": nats / math.log(2) / seconds if seconds else None,
        "by_piece": [piece.to_plain() for piece in pieces],
    }
