"""Context probe: the loss of a network against the number of events before the target.

W = windows probed, L = lengths of context, H = hidden_size

Every length is scored on the same targets. A network that carries a state is scored once more with all events from the
beginning of the piece, in the state that they left: what the window costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.config.commands import ContextConfig
from composer.config.limits import CHANNELS
from composer.data.permutation import Permutation
from composer.data.tokens import TokenSource
from composer.data.window_sets import Indices, ListedWindows, sample
from composer.data.windows import Windows
from composer.errors import ComposerError
from composer.evaluation.scores import nlls
from composer.nets.network import Network
from composer.random_streams import RandomStream

# A context of every length up to some, then ever wider steps.
_LENGTHS = 24
_BATCH = 512
# Pieces whose events are read from their beginning: as many as take seconds, not minutes.
_MAX_PIECES = 64
# Pieces read in parallel, and events read at once.
_ROWS, _STEPS = 16, 256
# Windows examined when those of few pieces are sampled.
_MAX_WINDOWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Probe:
    """Losses by context.

    Attributes:
        lengths: (L,) events read before the target.
        nll: (L, 3) mean negative log-likelihoods, nats.
        stateful: (3,) likewise with all events of the piece before the target; None where no state is carried.
        windows, pieces: how many targets there were, and in how many pieces.
    """

    lengths: list[int]
    nll: NDArray[np.float64]
    stateful: NDArray[np.float64] | None
    windows: int
    pieces: int

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for a file."""
        names = [f"nll_{channel}" for channel in CHANNELS]
        carried = None if self.stateful is None else _named(names, self.stateful.tolist(), float(self.stateful.sum()))
        return {
            "windows": self.windows,
            "pieces": self.pieces,
            "lengths": self.lengths,
            **_named(names, self.nll.T.tolist(), self.nll.sum(axis=1).tolist()),
            "stateful": carried,
        }


def _named(names: list[str], channels: list[Any], loss: Any) -> dict[str, Any]:
    return {"loss": loss, **dict(zip(names, channels, strict=True))}


def lengths(window_size: int, longest: int) -> list[int]:
    """Return lengths of context from 1 to `longest`, spaced geometrically; the training window is one of them."""
    spread = np.geomspace(1, longest, _LENGTHS).round().astype(int).tolist()
    return sorted({*spread, *([window_size] if window_size <= longest else [])})


def probe(model: Network, windows: Windows, offsets: NDArray[np.int64], asked: ContextConfig, seed: int) -> Probe:
    """Measure the loss of a network against the length of context, on a sample of windows of up to 64 pieces.

    Args:
        model: in evaluation mode.
        windows: of one split, with the window of the training; at least one.
        offsets: (P,) where each piece begins, rising.
        asked: how many windows, and the longest context; targets with fewer events before them are left out.
        seed: decides which windows.

    Raises:
        ComposerError: no target has so many events before it.
    """
    size, tokens = windows.window_size, windows.tokens
    longest = size if asked.longest is None else asked.longest
    targets = _drawn(windows, offsets, longest, asked.windows, seed)
    if not len(targets):
        raise ComposerError(
            f"context.longest={longest}: no scored event has as many of its piece before it; choose a smaller one"
        )
    begins = _begins(targets, offsets)
    spread = lengths(size, longest)
    found = np.stack([_windowed(model, tokens, targets, length).mean(axis=0) for length in spread])
    stateful = None
    # A permuted channel has no order that a state could carry.
    if model.carries and model.shuffled is None:
        stateful = _carried(model, tokens, targets, begins).mean(axis=0)
    return Probe(spread, found, stateful, len(targets), len(np.unique(begins)))


def _begins(positions: Indices, offsets: NDArray[np.int64]) -> Indices:
    """Return the first position (W,) of the piece of each position."""
    begins: Indices = offsets[np.searchsorted(offsets, positions, side="right") - 1]
    return begins


def _drawn(windows: Windows, offsets: NDArray[np.int64], longest: int, most: int, seed: int) -> Indices:
    """Return the positions of the targets that are probed (W,), rising."""
    looked_at = sample(windows.windows, _MAX_WINDOWS, [seed, RandomStream.CONTEXT_WINDOWS])
    targets = looked_at.positions() + windows.window_size
    begins = _begins(targets, offsets)
    enough = targets - begins >= longest
    targets, begins = targets[enough], begins[enough]
    pieces = np.unique(begins)
    if len(pieces) > _MAX_PIECES:
        chosen = pieces[Permutation(len(pieces), [seed, RandomStream.CONTEXT_PIECES])(np.arange(_MAX_PIECES))]
        targets = targets[np.isin(begins, chosen)]
    return sample(ListedWindows(np.sort(targets)), most, [seed, RandomStream.CONTEXT_WINDOWS]).positions()


@torch.no_grad()
def _windowed(model: Network, tokens: TokenSource, targets: Indices, length: int) -> NDArray[np.float64]:
    """Return negative log-likelihoods (W, 3) of the targets after `length` events, from an empty state."""
    windows = Windows(tokens, ListedWindows(targets - length), length)
    found = []
    for first in range(0, len(targets), _BATCH):
        batch = windows[np.arange(first, min(first + _BATCH, len(targets)))]
        assert isinstance(batch, Tensor)
        batch = batch.to(model.linear.weight.device)
        found.append(nlls(model(batch[:, :-1], batch[:, -1]), batch[:, -1]))
    return np.concatenate(found)


@torch.no_grad()
def _carried(model: Network, tokens: TokenSource, targets: Indices, begins: Indices) -> NDArray[np.float64]:
    """Return negative log-likelihoods (W, 3) of the targets after all earlier events of their pieces."""
    hidden = model.linear.weight.new_empty(len(targets), model.linear.in_features)
    pieces = np.unique(begins)
    for first in range(0, len(pieces), _ROWS):
        _read_pieces(model, tokens, targets, begins, pieces[first : first + _ROWS], hidden)
    events = torch.from_numpy(tokens[targets]).to(hidden.device)
    return nlls(model.heads(model.dropout(hidden), events), events)


def _read_pieces(
    model: Network, tokens: TokenSource, targets: Indices, begins: Indices, pieces: Indices, hidden: Tensor
) -> None:
    """Read pieces side by side from their beginnings, and keep in `hidden` (W, H) the state before each target."""
    wanted = [np.flatnonzero(begins == begin) for begin in pieces]
    # Events read of each: up to its last target.
    counts = [int((targets[own] - begin).max()) for own, begin in zip(wanted, pieces, strict=True)]
    state = model.empty_state(len(pieces))
    for first in range(0, max(counts), _STEPS):
        rows = np.zeros((len(pieces), _STEPS, len(model.widths)), np.uint8)
        for row, begin, count in zip(rows, pieces.tolist(), counts, strict=True):
            # States after the end of a piece are never used.
            read = tokens[begin + first : begin + min(first + _STEPS, count)] if first < count else row[:0]
            row[: len(read)] = read
        outputs, state = model.encode_from(torch.from_numpy(rows).to(hidden.device), state)
        for k, own in enumerate(wanted):
            steps = targets[own] - begins[own] - 1 - first
            inside = (steps >= 0) & (steps < _STEPS)
            hidden[torch.from_numpy(own[inside])] = outputs[k, torch.from_numpy(steps[inside])]
