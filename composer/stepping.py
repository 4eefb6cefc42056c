"""Recurrent networks one event at a time, as composing needs them: a sliding window, or one running state.

    B = pieces, T = window, H = hidden_size, G = gates, R = rows of a block
    table  (sum(V), G H) what each class of each channel adds to the gates of the first layer
    state  of each layer its tensors (blocks, R, H): of the LSTM (h, c), of the GRU (h,)

Products are taken in blocks of R rows, of the same shape however many pieces there are: the rounding of a product
depends on its shape, and a draw may hang on one rounding step. So on a CPU a piece is the same, to the bit, whichever
others are composed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from composer.network import State

# Rows of a block of single states: enough for a product to be quick, few enough for one piece.
BLOCK = 8
# Numbers that a processor's functions take at once; what is left over goes another way, and rounds differently.
_LANES = 32


class Layer(NamedTuple):
    """Weights of a layer, transposed: a row of a state times these.

    Attributes:
        into: (I, G H).
        hidden: (H, G H).
        bias: (G H,) added to the input's part.
        hidden_bias: (G H,) added to the state's part.
    """

    into: Tensor
    hidden: Tensor
    bias: Tensor
    hidden_bias: Tensor


class Cells:
    """The layers of a recurrent network, ready for single steps in place."""

    # Tensors of a state.
    parts: int

    def __init__(self, table: Tensor, first: slice, weights: list[Tensor], columns: Callable[[Tensor], Tensor]) -> None:
        """Prepare the weights.

        Args:
            table: see the head of this file.
            first: rows of it of which every event has exactly one: these take the bias.
            weights: of each layer as torch has them: input-to-hidden, hidden-to-hidden, and their biases.
            columns: rows (B, C) of the table that events (B, 3) have.
        """
        self.layers = [self.layer(*weights[k : k + 4]) for k in range(0, len(weights), 4)]
        self.hidden_size = self.layers[0].hidden.shape[0]
        self.table = self.prepared(table)
        self.table[first] += self.layers[0].bias
        self.columns, self.starts = columns, torch.empty(0)

    def prepared(self, weights: Tensor) -> Tensor:
        """A copy of `weights` (..., G H) as `unit` wants them."""
        return weights.clone(memory_format=torch.contiguous_format)

    def layer(self, into: Tensor, hidden: Tensor, bias: Tensor, hidden_bias: Tensor) -> Layer:
        """A layer's weights as `unit` wants them."""
        transposed = (self.prepared(weights) for weights in (into.t(), hidden.t(), bias, hidden_bias))
        return Layer(*transposed)

    def empty(self, blocks: int, rows: int) -> list[State]:
        """The state of each layer before any event."""
        shape = (blocks, rows, self.hidden_size)
        return [tuple(self.table.new_zeros(shape) for _ in range(self.parts)) for _ in self.layers]

    def rows(self, least: int) -> int:
        """Rows of a block that has at least so many: no numbers are left over at its end (`_LANES`)."""
        step = _LANES // math.gcd(self.hidden_size, _LANES)
        return -(-least // step) * step

    def gathered(self, event: Tensor) -> Tensor:
        """(B, G H): what events (B, 3) add to the first layer's gates."""
        columns = self.columns(event)
        if len(self.starts) != len(columns):
            self.starts = torch.arange(0, columns.numel(), columns.shape[1], device=columns.device)
        return torch.embedding_bag(self.table, columns.flatten(), self.starts)[0]

    def step(self, rows: Tensor, state: list[State]) -> None:
        """Advance every state by an event.

        Args:
            rows: (blocks, R, G H), or one row for all of a block, from `gathered`.
            state: changed in place.
        """
        for k, layer in enumerate(self.layers):
            if k > 0:
                rows = product(state[k - 1][0], layer.into, layer.bias)
            self.unit(rows, layer, state[k])

    def unit(self, rows: Tensor, layer: Layer, state: State) -> None:
        """One layer's step, in place."""
        raise NotImplementedError


class LSTMCells(Cells):
    """Cells of an LSTM; its gates in torch's order i, f, g, o, those of g doubled.

    tanh(x) = 2 sigmoid(2 x) - 1, so that one call serves all four gates: on a CPU it takes a tenth of the time of tanh.
    """

    parts = 2

    def prepared(self, weights: Tensor) -> Tensor:
        """A copy of `weights` (..., 4 H), those of g doubled, which changes no rounding."""
        copy = super().prepared(weights)
        copy.chunk(4, dim=-1)[2].mul_(2)
        return copy

    def layer(self, into: Tensor, hidden: Tensor, bias: Tensor, hidden_bias: Tensor) -> Layer:
        """A layer's weights, both biases in one."""
        return super().layer(into, hidden, bias + hidden_bias, torch.zeros_like(bias))

    def unit(self, rows: Tensor, layer: Layer, state: State) -> None:
        """One layer's step, in place."""
        h, c = state
        i, f, g, o = product(h, layer.hidden, rows).sigmoid_().chunk(4, dim=-1)
        c.mul_(f).addcmul_(i, g, value=2).sub_(i)
        torch.mul(o, torch.mul(c, 2).sigmoid_().mul_(2).sub_(1), out=h)


class GRUCells(Cells):
    """Cells of a GRU; its gates in torch's order r, z, n."""

    parts = 1

    def unit(self, rows: Tensor, layer: Layer, state: State) -> None:
        """One layer's step, in place."""
        (h,) = state
        seen = product(h, layer.hidden, layer.hidden_bias)
        both = 2 * self.hidden_size
        r, z = (seen[..., :both] + rows[..., :both]).sigmoid_().chunk(2, dim=-1)
        n = torch.addcmul(rows[..., both:], r, seen[..., both:]).tanh_()
        h.copy_(torch.lerp(n, h, z))


def product(left: Tensor, weights: Tensor, added: Tensor) -> Tensor:
    """`left` (blocks, R, I) times `weights` (I, O), plus `added`: block by block, each of one shape."""
    return torch.baddbmm(added, left, weights.expand(len(left), -1, -1))


class SlidingWindow:
    """What the last T events read as, one network step an event.

    Reading a window of T events anew for every event costs T steps. Here T states are kept, begun 1, 2, ..., T events
    ago; a new event advances all of them in one product, and the oldest has then read exactly the last T events. It is
    used, and begun anew. The states stand in a ring, so that nothing is moved. Until T events have been read, the
    window is all of them.

    A channel that `model.inputs` drops has no part in it; one that it shuffles is fed as it was drawn.
    """

    def __init__(self, cells: Cells, primer: Tensor, length: int) -> None:
        """Args: the `cells`; `primer` (B, N, 3) is read; T."""
        self.cells, self.length, self.count = cells, length, 0
        self.state = cells.empty(len(primer), cells.rows(length))
        self.hidden = cells.table.new_zeros(len(primer), cells.hidden_size)
        for event in primer[:, -length:].unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Read an event (B, 3); `hidden` (B, H) is then that of the last T."""
        self.cells.step(self.cells.gathered(event)[:, None], self.state)
        # The state of the last place was begun before the first event.
        place = self.count % self.length if self.count >= self.length else self.length - 1
        self.hidden = self.state[-1][0][:, place].clone()
        for part in (part for layer in self.state for part in layer):
            part[:, self.count % self.length] = 0
        self.count += 1

    def select(self, pieces: Tensor) -> None:
        """Go on with these pieces (B,), by number, in place of the present ones."""
        self.state = [tuple(part[pieces] for part in layer) for layer in self.state]
        self.hidden = self.hidden[pieces]


class RunningState:
    """What all events since the start read as: one state a piece, never begun anew."""

    def __init__(self, cells: Cells, primer: Tensor) -> None:
        """Args: the `cells`; `primer` (B, N, 3) is read."""
        self.cells, self.batch, self.rows = cells, len(primer), cells.rows(BLOCK)
        self.state = cells.empty(-(-self.batch // self.rows), self.rows)
        # A view: steps change the state in place.
        self.hidden = self.state[-1][0].flatten(0, 1)[: self.batch]
        for event in primer.unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Read an event (B, 3); `hidden` (B, H) is then that of all events so far."""
        self.cells.step(blocks(self.cells.gathered(event), self.rows), self.state)

    def select(self, pieces: Tensor) -> None:
        """Go on with these pieces (B,), by number, in place of the present ones."""
        for part in (part for layer in self.state for part in layer):
            part.copy_(blocks(part.flatten(0, 1)[pieces], self.rows))


def blocks(rows: Tensor, size: int) -> Tensor:
    """(B, W) as (blocks, size, W), filled up with rows that say nothing."""
    if len(rows) == 1:
        return rows.expand(1, size, *rows.shape[1:])
    missing = -len(rows) % size
    if missing:
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    return rows.view(-1, size, *rows.shape[1:])
