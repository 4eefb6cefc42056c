"""Recurrent networks advanced one event at a time, for composing: a sliding window, or one running state.

    B = pieces, T = window, H = hidden_size, G = gates, R = rows of a block
    table  (sum(V), G H) contribution of each class of each channel to the gates of the first layer
    state  tensors (blocks, R, H) of each layer: of the LSTM (h, c), of the GRU (h,)

Products are computed in blocks of R rows, of the same shape for every number of pieces: the rounding of a product
depends on its shape, and a sample may depend on one rounding step. So on a CPU a piece is bit-identical whatever other
pieces are composed in the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from composer.nets.context import State

# Rows of a block of single states: enough for a fast product, few enough for one piece.
BLOCK = 8
# Numbers that vectorised functions of a CPU process together; a remainder takes another path and rounds differently.
_LANES = 32
# Numbers of a product computed together: 512 KiB, half of a core's cache.
_MAX_PRODUCT_SIZE = 1 << 17


class Layer(NamedTuple):
    """Weights of a layer, transposed for products with rows of a state.

    Attributes:
        weight_ih: (I, G H).
        weight_hh: (H, G H).
        bias: (G H,) added to the input's part.
        hidden_bias: (G H,) added to the state's part.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    hidden_bias: Tensor


class Unit:
    """The states of one layer, advanced in place.

    Attributes:
        state: (parts, blocks, R, H), as at the head of this file.
    """

    def __init__(self, layer: Layer, state: Tensor) -> None:
        """Prepare to advance `state` with the weights of `layer`."""
        self.layer, self.state = layer, state
        _, blocks, rows, hidden_size = state.shape
        width = len(layer.bias)
        # A GPU computes all blocks together.
        self.size = max(1, _MAX_PRODUCT_SIZE // (rows * width)) if state.device.type == "cpu" else blocks
        # Buffers and views are created once: for a single piece that would take as long as the arithmetic.
        product = state.new_empty(min(blocks, self.size), rows, width)
        values = state.new_empty(len(product), rows, hidden_size)
        self.works = []
        for own in torch.split(state, self.size, dim=1):
            count = own.shape[1]
            weights = layer.weight_hh.expand(count, -1, -1)
            self.works.append(Work(own.unbind(), weights, product[:count], values[:count]))

    def advance(self, rows: Tensor) -> None:
        """Advance the states by one step.

        Args:
            rows: (blocks, R, G H), or one row per block: the product of the input and its weights.
        """
        if len(self.works) == 1:
            self.step(rows, self.works[0])
            return
        for own, work in zip(torch.split(rows, self.size), self.works, strict=True):
            self.step(own, work)

    def step(self, rows: Tensor, work: Work) -> None:
        """Advance some of the blocks by one step."""
        raise NotImplementedError


class Work:
    """Buffers for some blocks of a layer, few enough that the data of a step stays in the cache.

    Attributes:
        state: tensors of the state, each (blocks, R, H).
        weights: hidden-to-hidden, (blocks, H, G H).
        product: (blocks, R, G H) buffer; `gates` are its views per gate, each (blocks, R, H).
        values: (blocks, R, H) buffer.
    """

    def __init__(self, state: State, weights: Tensor, product: Tensor, values: Tensor) -> None:
        """Store the buffers and split `product` into gates."""
        self.state, self.weights, self.product, self.values = state, weights, product, values
        self.gates = torch.split(product, values.shape[-1], dim=-1)


class LSTMUnit(Unit):
    """The states of an LSTM layer; gates in torch's order i, f, g, o, those of g doubled (`LSTMCells`)."""

    def step(self, rows: Tensor, work: Work) -> None:
        """Advance some of the blocks by one step."""
        (h, c), (i, f, g, o), values = work.state, work.gates, work.values
        torch.baddbmm(rows, h, work.weights, out=work.product).sigmoid_()
        c.mul_(f).addcmul_(i, g, value=2).sub_(i)
        torch.mul(c, 2, out=values).sigmoid_().mul_(2).sub_(1)
        torch.mul(o, values, out=h)


class GRUUnit(Unit):
    """The states of a GRU layer; gates in torch's order r, z, n."""

    def step(self, rows: Tensor, work: Work) -> None:
        """Advance some of the blocks by one step."""
        (h,), (r, z, gated_h), n = work.state, work.gates, work.values
        torch.baddbmm(self.layer.hidden_bias, h, work.weights, out=work.product)
        r_rows, z_rows, n_rows = torch.split(rows, n.shape[-1], dim=-1)
        r.add_(r_rows).sigmoid_()
        z.add_(z_rows).sigmoid_()
        torch.addcmul(n_rows, r, gated_h, out=n).tanh_()
        torch.lerp(n, h, z, out=h)


class Cells:
    """The layers of a recurrent network, prepared for single steps in place."""

    # Tensors of a state, and the class that advances them.
    parts: ClassVar[int]
    unit: ClassVar[type[Unit]]

    def __init__(self, table: Tensor, first: slice, weights: list[Tensor], columns: Callable[[Tensor], Tensor]) -> None:
        """Prepare the weights.

        Args:
            table: see the head of this file.
            first: rows of the table of which every event has exactly one; the bias is added to these.
            weights: torch's weights of each layer: input-to-hidden, hidden-to-hidden, and their biases.
            columns: function from events (B, 3) to rows (B, C) of the table.
        """
        self.layers = [self.layer(*weights[k : k + 4]) for k in range(0, len(weights), 4)]
        self.hidden_size = self.layers[0].weight_hh.shape[0]
        self.table = self.prepared(table)
        self.table[first] += self.layers[0].bias
        self.columns, self.starts = columns, torch.empty(0)

    def prepared(self, weights: Tensor) -> Tensor:
        """Return a copy of `weights` (..., G H) in the layout of `unit`."""
        return weights.clone(memory_format=torch.contiguous_format)

    def layer(self, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, hidden_bias: Tensor) -> Layer:
        """Return a layer's weights in the layout of `unit`."""
        transposed = (self.prepared(weights) for weights in (weight_ih.t(), weight_hh.t(), bias, hidden_bias))
        return Layer(*transposed)

    def rows(self, least: int) -> int:
        """Return the rows of a block of at least `least` rows whose size is a multiple of `_LANES`."""
        step = _LANES // math.gcd(self.hidden_size, _LANES)
        return -(-least // step) * step

    def gathered(self, event: Tensor) -> Tensor:
        """Return the contribution (B, G H) of events (B, 3) to the first layer's gates."""
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
        """Return a copy of `weights` (..., 4 H), those of g doubled, which changes no rounding."""
        copy = super().prepared(weights)
        copy.chunk(4, dim=-1)[2].mul_(2)
        return copy

    def layer(self, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, hidden_bias: Tensor) -> Layer:
        """Return a layer's weights, with the sum of both biases."""
        return super().layer(weight_ih, weight_hh, bias + hidden_bias, torch.zeros_like(bias))


class GRUCells(Cells):
    """Cells of a GRU; its gates in torch's order r, z, n."""

    parts, unit = 1, GRUUnit


class Stack:
    """The states of all layers, advanced in place.

    Attributes:
        values: (L, parts, blocks, R, H), 0 before any event.
        hidden: (blocks, R, H), a view of the last layer's h.
    """

    def __init__(self, cells: Cells, blocks: int, rows: int) -> None:
        """Create empty states of this shape for the `cells`."""
        layers = cells.layers
        self.values = cells.table.new_zeros(len(layers), cells.parts, blocks, rows, cells.hidden_size)
        self.units = [cells.unit(layer, state) for layer, state in zip(layers, self.values, strict=True)]
        self.hidden = self.values[-1, 0]

    def advance(self, rows: Tensor) -> None:
        """Advance every state by an event.

        Args:
            rows: (blocks, R, G H), or one row per block, from `Cells.gathered`.
        """
        below: Unit | None = None
        for unit in self.units:
            if below is not None:
                rows = product(below.state[0], unit.layer.weight_ih, unit.layer.bias)
            unit.advance(rows)
            below = unit


def product(left: Tensor, weights: Tensor, added: Tensor) -> Tensor:
    """Return `left` (blocks, R, I) times `weights` (I, O), plus `added`, as one product per block."""
    return torch.baddbmm(added, left, weights.expand(len(left), -1, -1))


class SlidingWindow:
    """The context of the last T events, at one network step per event.

    Reading a window of T events for every new event costs T steps. Here T states are kept, started 1, 2, ..., T events
    ago; a new event advances all of them in one product, and the oldest has then read exactly the last T events. It is
    used, and then reset. The states form a ring buffer, so that nothing is moved. Until T events have been read, the
    window is all of them.

    A channel that `model.inputs` drops is left out; a channel that it shuffles is used as it was sampled.
    """

    # The states of one piece are a block, and so are its heads.
    block: ClassVar[int] = 1

    def __init__(self, cells: Cells, primer: Tensor, length: int) -> None:
        """Read the `primer` (B, N, 3); `length` is T."""
        self.cells, self.length, self.count = cells, length, 0
        self.stack = Stack(cells, len(primer), cells.rows(length))
        self.hidden = cells.table.new_zeros(len(primer), cells.hidden_size)
        self.places = self.stack.values.unbind(-2)
        self.last = self.stack.hidden.unbind(-2)
        for event in primer[:, -length:].unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Append an event (B, 3); `hidden` (B, H) then represents the last T events."""
        self.stack.advance(self.cells.gathered(event).unsqueeze(1))
        place = self.count % self.length
        # The state at the last place was started before the first event.
        self.hidden = self.last[place if self.count >= self.length else self.length - 1].clone()
        self.places[place].zero_()
        self.count += 1

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""
        self.stack.values.copy_(self.stack.values[:, :, pieces])
        self.hidden = self.hidden[pieces]


class RunningState:
    """The context of all events since the start: one state per piece, never reset."""

    block: ClassVar[int] = BLOCK

    def __init__(self, cells: Cells, primer: Tensor) -> None:
        """Read the `primer` (B, N, 3)."""
        self.cells, self.rows = cells, cells.rows(BLOCK)
        self.stack = Stack(cells, -(-len(primer) // self.rows), self.rows)
        # A view: steps change the states in place.
        self.hidden = self.stack.hidden.flatten(0, 1)[: len(primer)]
        for event in primer.unbind(1):
            self.read(event)

    def read(self, event: Tensor) -> None:
        """Append an event (B, 3); `hidden` (B, H) then represents all events so far."""
        self.stack.advance(blocks(self.cells.gathered(event), self.rows))

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""
        for part in (part for layer in self.stack.values for part in layer):
            part.copy_(blocks(part.flatten(0, 1)[pieces], self.rows))


def blocks(rows: Tensor, size: int) -> Tensor:
    """Return rows (B, W) as (blocks, size, W), padded with rows that are ignored."""
    if size == 1:
        return rows.unsqueeze(1)
    if len(rows) == 1:
        return rows.expand(1, size, *rows.shape[1:])
    missing = -len(rows) % size
    if missing:
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    return rows.view(-1, size, *rows.shape[1:])
