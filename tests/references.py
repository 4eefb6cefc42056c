"""Slow or simple versions of what the package computes, and short ways to make its objects, for several test files."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.composing.sampling import Session
from composer.config.sampling import SamplingConfig
from composer.data.leakage import event_codes
from composer.data.splits import Splits, window_runs
from composer.data.tokens import ArrayTokens
from composer.data.window_sets import Indices, ListedWindows, positions_of
from composer.data.windows import Windows
from composer.nets.network import Logits, Network, State
from composer.nets.recurrent import Recurrent


def window_starts(piece_lengths: Sequence[int], window_size: int, first_target: int | None = None) -> list[Indices]:
    """Return the first positions of the windows of each piece."""
    return [positions_of([run]) for run in window_runs(piece_lengths, window_size, first_target)]


def covered(events: int, starts: Indices, window_size: int) -> NDArray[np.bool_]:
    """Return (events,) whether each position is an input or the target of some window that begins at `starts`."""
    found = np.zeros(events, np.bool_)
    for start in starts.tolist():
        found[start : start + window_size + 1] = True
    return found


def window_digests(tokens: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """Return the digests of `leakage.window_digests`, event by event of each window."""
    code = event_codes(tokens)
    digest = np.zeros(len(tokens) - length + 1, np.uint64)
    for k in range(length):
        digest = digest * np.uint64(0x9E3779B97F4A7C15) + code[k : k + len(digest)]
    return digest


def windows_at(
    tokens: NDArray[np.uint8], starts: object, window_size: int, supervisable: NDArray[np.bool_] | None = None
) -> Windows:
    """Return the windows of an array of classes that begin at `starts`."""
    windows = ListedWindows(np.asarray(starts, np.int64))
    return Windows(ArrayTokens(tokens), windows, window_size, supervisable)  # type: ignore[arg-type]


def splits_at(train: object, val: object, test: object = ()) -> Splits:
    """Return a split of windows that begin at these positions."""
    return Splits(*(ListedWindows(np.asarray(part, np.int64)) for part in (train, val, test)))


def step(model: Recurrent, event: Tensor, state: State | None = None) -> tuple[Logits, State]:
    """Read one event (B, 3), in evaluation mode; return logits (B, V) of the next event, and the new state."""
    hidden, state = model.cell(event, state)
    return model.heads(model.dropout(hidden)), state


def forward_every(model: Network, tokens: Tensor, given: Tensor | None = None) -> Logits:
    """Return logits (B, T, V) of the event after each of `tokens`, by those up to it."""
    return model.heads(model.hidden_states(tokens), given)


@torch.no_grad()
def compose_window(
    model: Network, primer: Tensor, config: SamplingConfig, generators: list[torch.Generator], events: int
) -> Tensor:
    """The article's composing: read the last T events, draw the next, append it, drop the first.

    Args:
        model: in evaluation mode.
        primer: (B, T, 3) classes.
        config: how to draw; what it says of rules is not looked at.
        generators: one a piece, so that a piece does not depend on those beside it.
        events: how many to compose.

    Returns:
        (B, events, 3) composed classes, without the primer.
    """
    return Session(model, primer, config, generators).take(events).long()
