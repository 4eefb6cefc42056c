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
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from composer.nets.network import State

# Rows of a block of single states: enough for a product to be quick, few enough for one piece.
BLOCK = 8
# Numbers that a processor's functions take at once; what is left over goes another way, and rounds differently.
_LANES = 32
# Numbers of a product to work on at once: 512 KiB, half of a core's cache.
_AT_ONCE = 1 << 17


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


class Unit:
    """The states of one layer, advanced in place.

    Attributes:
        state: (parts, blocks, R, H), as at the head of this file.
    """

    def __init__(self, layer: Layer, state: Tensor) -> None:
        """Args: its weights; the `state` to advance."""
        self.layer, self.state = layer, state
        _, blocks, rows, hidden_size = state.shape
        width = len(layer.bias)
        # A GPU takes all blocks at once.
        self.size = max(1, _AT_ONCE // (rows * width)) if state.device.type == "cpu" else blocks
        # Room to work in and views are made once: for a single piece they would take as long as the sums.
        product = state.new_empty(min(blocks, self.size), rows, width)
        values = state.new_empty(len(product), rows, hidden_size)
        self.works = []
        for own in torch.split(state, self.size, dim=1):
            count = own.shape[1]
            weights = layer.hidden.expand(count, -1, -1)
            self.works.append(Work(own.unbind(), weights, product[:count], values[:count]))

    def advance(self, rows: Tensor) -> None:
        """Take a step.

        Args:
            rows: (blocks, R, G H), or one row for all of a block: the input times its weights.
        """
        if len(self.works) == 1:
            self.step(rows, self.works[0])
            return
        for own, work in zip(torch.split(rows, self.size), self.works, strict=True):
            self.step(own, work)

    def step(self, rows: Tensor, work: Work) -> None:
        """Take a step with some of the blocks."""
        raise NotImplementedError


class Work:
    """Some blocks of a layer, few enough that what a step works on stays near the processor.

    Attributes:
        state: its parts, each (blocks, R, H).
        weights: hidden-to-hidden, (blocks, H, G H).
        product: (blocks, R, G H) to work in, and `gates`, the same gate by gate, each (blocks, R, H).
        values: (blocks, R, H) to work in.
    """

    def __init__(self, state: State, weights: Tensor, product: Tensor, values: Tensor) -> None:
        """Args: as the attributes."""
        self.state, self.weights, self.product, self.values = state, weights, product, values
        self.gates = torch.split(product, values.shape[-1], dim=-1)


class LSTMUnit(Unit):
    """An LSTM's; gates in torch's order i, f, g, o, those of g doubled (`LSTMCells`)."""

    def step(self, rows: Tensor, work: Work) -> None:
        """Take a step with some of the blocks."""
        (h, c), (i, f, g, o), values = work.state, work.gates, work.values
        torch.baddbmm(rows, h, work.weights, out=work.product).sigmoid_()
        c.mul_(f).addcmul_(i, g, value=2).sub_(i)
        torch.mul(c, 2, out=values).sigmoid_().mul_(2).sub_(1)
        torch.mul(o, values, out=h)


class GRUUnit(Unit):
    """A GRU's; gates in torch's order r, z, n."""

    def step(self, rows: Tensor, work: Work) -> None:
        """Take a step with some of the blocks."""
        (h,), (r, z, seen), n = work.state, work.gates, work.values
        torch.baddbmm(self.layer.hidden_bias, h, work.weights, out=work.product)
        r_rows, z_rows, n_rows = torch.split(rows, n.shape[-1], dim=-1)
        r.add_(r_rows).sigmoid_()
        z.add_(z_rows).sigmoid_()
        torch.addcmul(n_rows, r, seen, out=n).tanh_()
        torch.lerp(n, h, z, out=h)


class Cells:
    """The layers of a recurrent network, ready for single steps in place."""

    # Tensors of a state, and what advances them.
    parts: ClassVar[int]
    unit: ClassVar[type[Unit]]

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


class LSTMCells(Cells):
    """Cells of an LSTM; its gates in torch's order i, f, g, o, those of g doubled.

    tanh(x) = 2 sigmoid(2 x) - 1, so that one call serves all four gates: on a CPU it takes a tenth of the time of tanh.
    """

    parts, unit = 2, LSTMUnit

    def prepared(self, weights: Tensor) -> Tensor:
        """A copy of `weights` (..., 4 H), those of g doubled, which changes no rounding."""
        copy = super().prepared(weights)
        copy.chunk(4, dim=-1)[2].mul_(2)
        return copy

    def layer(self, into: Tensor, hidden: Tensor, bias: Tensor, hidden_bias: Tensor) -> Layer:
        """A layer's weights, both biases in one."""
        return super().layer(into, hidden, bias + hidden_bias, torch.zeros_like(bias))


class GRUCells(Cells):
    """Cells of a GRU; its gates in torch's order r, z, n."""

    parts, unit = 1, GRUUnit


class Stack:
    """The states of all layers, advanced in place.

    Attributes:
        values: (L, parts, blocks, R, H), 0 before any event.
        hidden: (blocks, R, H) of them: the last layer's h.
    """

    def __init__(self, cells: Cells, blocks: int, rows: int) -> None:
        """Args: the `cells`; the states' shape."""
        layers = cells.layers
        self.values = cells.table.new_zeros(len(layers), cells.parts, blocks, rows, cells.hidden_size)
        self.units = [cells.unit(layer, state) for layer, state in zip(layers, self.values, strict=True)]
        self.hidden = self.values[-1, 0]

    def advance(self, rows: Tensor) -> None:
        """Advance every state by an event.

        Args:
            rows: (blocks, R, G H), or one row for all of a block, from `Cells.gathered`.
        """
        below: Unit | None = None
        for unit in self.units:
            if below is not None:
                rows = product(below.state[0], unit.layer.into, unit.layer.bias)
            unit.advance(rows)
            below = unit


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

    # A piece's own states are a block, and so are its heads.
    block: ClassVar[int] = 1

    def __init__(self, cells: Cells, primer: Tensor, length: int) -> None:
        """Args: the `cells`; `primer` (B, N, 3) is read; T."""
        self.cells, self.length, self.count = cells, length, 0
        self.stack = Stack(cells, len(primer), cells.rows(length))
        self.hidden = cells.table.new_zeros(len(primer), cells.hidden_size)
        self.places = self.stack.values.unbind(-2)
        self.last = self.stack.hidden.unbind(-2)
        for event in primer[:, -length:].unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Read an event (B, 3); `hidden` (B, H) is then that of the last T."""
        self.stack.advance(self.cells.gathered(event).unsqueeze(1))
        place = self.count % self.length
        # The state of the last place was begun before the first event.
        self.hidden = self.last[place if self.count >= self.length else self.length - 1].clone()
        self.places[place].zero_()
        self.count += 1

    def select(self, pieces: Tensor) -> None:
        """Go on with these pieces (B,), by number, in place of the present ones."""
        self.stack.values.copy_(self.stack.values[:, :, pieces])
        self.hidden = self.hidden[pieces]


class RunningState:
    """What all events since the start read as: one state a piece, never begun anew."""

    block: ClassVar[int] = BLOCK

    def __init__(self, cells: Cells, primer: Tensor) -> None:
        """Args: the `cells`; `primer` (B, N, 3) is read."""
        self.cells, self.rows = cells, cells.rows(BLOCK)
        self.stack = Stack(cells, -(-len(primer) // self.rows), self.rows)
        # A view: steps change the states in place.
        self.hidden = self.stack.hidden.flatten(0, 1)[: len(primer)]
        for event in primer.unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Read an event (B, 3); `hidden` (B, H) is then that of all events so far."""
        self.stack.advance(blocks(self.cells.gathered(event), self.rows))

    def select(self, pieces: Tensor) -> None:
        """Go on with these pieces (B,), by number, in place of the present ones."""
        for part in (part for layer in self.stack.values for part in layer):
            part.copy_(blocks(part.flatten(0, 1)[pieces], self.rows))


def blocks(rows: Tensor, size: int) -> Tensor:
    """(B, W) as (blocks, size, W), filled up with rows that say nothing."""
    if size == 1:
        return rows.unsqueeze(1)
    if len(rows) == 1:
        return rows.expand(1, size, *rows.shape[1:])
    missing = -len(rows) % size
    if missing:
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    return rows.view(-1, size, *rows.shape[1:])
