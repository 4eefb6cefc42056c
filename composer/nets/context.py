"""The events that a network has read of pieces being composed, for networks without a faster way of their own.

B = pieces, T = window, H = hidden_size
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from composer.nets.network import Network

# Tensors in which a network summarises the events before, each (L, B, H) for B pieces.
State = tuple[Tensor, ...]


class Window(Protocol):
    """The context of pieces being composed: `hidden` (B, H) represents the last T events, or all.

    The heads are computed in blocks of `block` pieces (`stepping.py`).
    """

    block: ClassVar[int]
    hidden: Tensor

    def read(self, event: Tensor) -> None:
        """Append an event (B, 3) to the context."""

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""


class RecomputedWindow:
    """The context of the last T events, encoded again in full for every event: for any network.

    A Transformer's keys and values of earlier events cannot be cached: above the first layer they depend on events that
    have left the window since.
    """

    block: ClassVar[int] = 1

    def __init__(self, network: Network, primer: Tensor, length: int, apart: bool = True) -> None:
        """Read the primer.

        Args:
            network: in evaluation mode.
            primer: (B, N, 3) classes; with N = 0, `hidden` is 0.
            length: T.
            apart: encode one piece at a time on a CPU.
        """
        self.network, self.length, self.events = network, length, primer[:, -length:]
        self.apart = apart and primer.device.type == "cpu"
        self.hidden = network.linear.weight.new_zeros(len(primer), network.linear.in_features)
        if primer.shape[1]:
            self.hidden = self.last()

    def last(self) -> Tensor:
        """Return the representation (B, H) of the window.

        With `apart` it is computed one piece at a time: the rounding of a product depends on its shape, and so a piece
        does not depend on the others of the batch. 36 pieces of `experiment=transformer` take 37 ms per event apart,
        11 ms together.
        """
        pieces = torch.split(self.events, 1) if self.apart else [self.events]
        return torch.cat([self.network.encode_last(piece) for piece in pieces])

    def read(self, event: Tensor) -> None:
        """Append an event (B, 3) and drop the oldest of more than T."""
        self.events = torch.cat([self.events, event[:, None]], dim=1)[:, -self.length :]
        self.hidden = self.last()

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""
        self.events, self.hidden = self.events[pieces], self.hidden[pieces]


class CarriedState:
    """The context of all events since the start, one step of `encode_from` for each: for any network with a state.

    On a CPU each piece is advanced by itself, so that it does not depend on the others of the batch.
    """

    block: ClassVar[int] = 1

    def __init__(self, network: Network, primer: Tensor) -> None:
        """Read the `primer` (B, N, 3); with N = 0, `hidden` is 0."""
        self.network = network
        apart = len(primer) if primer.device.type == "cpu" else 1
        self.states = [network.empty_state(len(part)) for part in primer.chunk(apart)]
        self.hidden = network.linear.weight.new_zeros(len(primer), network.linear.in_features)
        for event in primer.unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Append an event (B, 3); `hidden` (B, H) then represents all events so far."""
        parts = event[:, None].chunk(len(self.states))
        read = [self.network.encode_from(part, state) for part, state in zip(parts, self.states, strict=True)]
        self.states = [state for _, state in read]
        self.hidden = torch.cat([hidden[:, -1] for hidden, _ in read])

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""
        if len(self.states) == 1 and len(self.hidden) > 1:
            raise NotImplementedError("a search with mode=stateful needs a CPU with this network")
        self.states = [self.states[piece] for piece in pieces.tolist()]
        self.hidden = self.hidden[pieces]
