"""Recurrent networks: the article's LSTM, and a GRU.

    B = batch, T = events read, H = hidden_size, L = num_layers, G = gates: 4 of the LSTM, 3 of the GRU
    I = width of the input, sum(V) = 229 one-hot in the article
    tokens (B, T, 3) integer classes in the order note, velocity, time
    state  of the LSTM (h, c), of the GRU (h,), each (L, B, H)

The weights of the LSTM are those of `nn.LSTM(I, H, L)` and `nn.Linear(H, sum(V))` under the names `lstm` and `linear`;
those of the GRU are named in the same way.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.model import RecurrentConfig
from composer.nets.context import State
from composer.nets.network import Network
from composer.nets.stepping import Cells, GRUCells, LSTMCells, RunningState, SlidingWindow
from composer.registry import implements


class Recurrent(Network):
    """A recurrent network: the state after an event is a function of the event and the state before it."""

    # Tensors of a state, and the cells for composing.
    parts: ClassVar[int]
    kind: ClassVar[type[Cells]]
    carries = True

    def __init__(self, config: RecurrentConfig, sizes: tuple[int, int, int]) -> None:
        """Create the network; `sizes` are the numbers of note, velocity and time classes."""
        super().__init__(config, sizes)
        between = config.dropout if config.num_layers > 1 else 0.0
        self.add_layers(config.hidden_size, config.num_layers, between)
        self.weight_dropout, self.variational_dropout = config.weight_dropout, config.variational_dropout
        self.add_heads(config)

    def add_layers(self, hidden_size: int, num_layers: int, dropout: float) -> None:
        """Create the layers, with `dropout` between them."""
        raise NotImplementedError

    @property
    def layers(self) -> nn.RNNBase:
        """Layers as torch's module."""
        raise NotImplementedError

    def run(self, inputs: Tensor, weights: list[Tensor], state: State) -> tuple[Tensor, State]:
        """Run torch's function on `inputs` (B, T, I); return the last layer's outputs (B, T, H) and the final state."""
        raise NotImplementedError

    def cell_step(self, input_gates: Tensor, state: State, gated_h: Tensor, weights: list[Tensor]) -> State:
        """Compute one step of one layer.

        Args:
            input_gates: (B, G H) product of the input and its weights.
            state: each (B, H).
            gated_h: (B, H) the state h as input to the gates, masked by variational dropout.
            weights: hidden-to-hidden (G H, H), and the two biases (G H,).
        """
        raise NotImplementedError

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the last layer's outputs (B, T, H) for the events of `tokens`, from an empty state, before dropout."""
        return self.encode_from(tokens, self.empty_state(len(tokens)))[0]

    def encode_from(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return `encode` continued from `state`, and the state after the last event.

        On a CPU, columns of a one-hot input that are 0 in the whole batch are left out of the product together with
        their weights: a batch of one piece uses a fifth of them, and the LSTM's part of a step takes about half the
        time (`benchmarks/input_layer.py`). A GPU would have to wait for the number of columns, and uses all.
        """
        if self.training and self.variational_dropout:
            return self.unrolled(tokens, state)
        weights = self.weights()
        if self.embedding is None and tokens.device.type == "cpu":
            used, columns = torch.unique(self.columns(tokens), return_inverse=True)
            inputs = weights[0].new_zeros(*tokens.shape[:2], len(used)).scatter_(2, columns, 1.0)
            weights[0] = weights[0].index_select(1, used)
        else:
            inputs = self.embed(tokens)
        # The function that torch's module calls; the module itself accepts only its own weights in full width.
        return self.run(inputs, weights, state)

    def weights(self) -> list[Tensor]:
        """Return the weights of each layer in turn: input-to-hidden, hidden-to-hidden, and their biases.

        In training `model.weight_dropout` drops hidden-to-hidden weights: the same ones for all windows and steps of a
        batch (DropConnect, Wan et al. 2013; in an LSTM, Merity et al. 2018).
        """
        weights: list[Tensor] = [weight for layer in self.layers.all_weights for weight in layer]
        if self.training and self.weight_dropout:
            for k in range(1, len(weights), 4):
                weights[k] = F.dropout(weights[k], self.weight_dropout)
        return weights

    def unrolled(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute `encode_from` in training, step by step with `model.variational_dropout`.

        In each layer some inputs and some units of h are dropped, with a new mask for every window that holds for all
        of its steps (Gal and Ghahramani 2016, with one mask for all gates). Torch's function has no such option.
        """
        weights = self.weights()
        outputs = self.embed(tokens)
        after: list[State] = []
        for layer, before in enumerate(zip(*state, strict=True)):
            weight_ih, *rest = weights[4 * layer : 4 * layer + 4]
            rows = F.linear(outputs * self._mask(outputs), weight_ih).unbind(1)
            mask = self._mask(before[0][:, None])[:, 0]
            steps = []
            for row in rows:
                before = self.cell_step(row, before, before[0] * mask, rest)
                steps.append(before[0])
            outputs = torch.stack(steps, dim=1)
            after.append(before)
            if layer < self.layers.num_layers - 1:
                outputs = self.dropout(outputs)
        return outputs, tuple(torch.stack(part) for part in zip(*after, strict=True))

    def _mask(self, like: Tensor) -> Tensor:
        """Return a mask (B, 1, W) of zeros and 1 / (1 - p), for (B, T, W)."""
        return F.dropout(torch.ones_like(like[:, :1]), self.variational_dropout)

    def empty_state(self, batch: int) -> State:
        """Return the state before any event."""
        shape = (self.layers.num_layers, batch, self.layers.hidden_size)
        return tuple(self.linear.weight.new_zeros(shape) for _ in range(self.parts))

    def cell(self, event: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Advance the layers by one event; `composer export` writes this step as ONNX.

        A one-hot input layer gathers and sums three rows of its weights: for one event that is faster than a product
        with a one-hot vector.

        A channel that `model.inputs` drops is dropped here too. A channel that it shuffles is used unchanged: in
        composing, every event is sampled from the network, and there is no batch of true events to permute it over.

        Args:
            event: (B, 3) classes.
            state: the state after the preceding events; None is the empty state.

        Returns:
            The last layer's output (B, H), before dropout, and the new state.
        """
        weights = self.weights()
        if state is None:
            state = self.empty_state(len(event))
        if self.embedding is None:
            rows = weights[0].t()[self.columns(event)].sum(1)
        else:
            rows = F.linear(self.embed(event), weights[0])
        after: list[State] = []
        for layer, before in enumerate(zip(*state, strict=True)):
            if layer > 0:
                rows = F.linear(self.dropout(after[-1][0]), weights[4 * layer])
            after.append(self.cell_step(rows, before, before[0], weights[4 * layer + 1 : 4 * layer + 4]))
        return after[-1][0], tuple(torch.stack(part) for part in zip(*after, strict=True))

    def window(self, primer: Tensor, length: int | None = None, *, apart: bool = True) -> SlidingWindow:
        """Return the sliding window of a composition after `primer` (B, N, 3): the last `length` events, or N."""
        return SlidingWindow(self.cells(), primer, length or primer.shape[1])

    def running(self, primer: Tensor) -> RunningState:
        """Return the state of a composition that begins after `primer` (B, N, 3); it is never reset."""
        return RunningState(self.cells(), primer)

    def cells(self) -> Cells:
        """Return the layers with their current weights, for single steps in evaluation mode."""
        first = self.channels[0]
        begin = sum(self.sizes[:first])
        weights = [weight.detach() for weight in self.weights()]
        return self.kind(self.table(), slice(begin, begin + self.sizes[first]), weights, self.columns)

    def table(self) -> Tensor:
        """Return the table (I, G H) of what each class of each channel adds to the gates of the first layer."""
        weight_ih = self.weights()[0].detach()
        if self.embedding is None:
            return weight_ih.t()
        parts = zip(
            torch.split(self.embedding.weight.detach(), list(self.widths)),
            weight_ih.chunk(len(self.widths), dim=1),
            strict=True,
        )
        return torch.cat([rows @ columns.t() for rows, columns in parts])


@implements("model", "lstm")
class ThreeHeadLSTM(Recurrent):
    """The article's network: three concatenated one-hot channels, an LSTM, dropout, one linear layer, three heads.

    Hochreiter and Schmidhuber 1997, with forget gates: i, f, o = sigmoid(...), g = tanh(...), c = f c + i g,
    h = o tanh(c).
    """

    parts, kind = 2, LSTMCells

    def add_layers(self, hidden_size: int, num_layers: int, dropout: float) -> None:
        """Create the layers, with `dropout` between them."""
        self.lstm = nn.LSTM(self.input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)

    @property
    def layers(self) -> nn.RNNBase:
        """Layers as torch's module."""
        return self.lstm

    def run(self, inputs: Tensor, weights: list[Tensor], state: State) -> tuple[Tensor, State]:
        """Run torch's function on `inputs` (B, T, I); return the last layer's outputs (B, T, H) and the final state."""
        # has_biases, layers, dropout, training, bidirectional, batch_first
        rest = (True, self.lstm.num_layers, self.lstm.dropout, self.training, False, True)
        outputs, *after = torch.lstm(inputs, state, weights, *rest)
        return outputs, tuple(after)

    def cell_step(self, input_gates: Tensor, state: State, gated_h: Tensor, weights: list[Tensor]) -> State:
        """Compute one step of one layer; see `Recurrent.cell_step`."""
        hidden, *biases = weights
        i, f, g, o = (input_gates + F.linear(gated_h, hidden, biases[0] + biases[1])).chunk(4, dim=1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


@implements("model", "gru")
class ThreeHeadGRU(Recurrent):
    """The same network with a gated recurrent unit (Cho et al. 2014, in torch's variant).

    r, z = sigmoid(...), n = tanh(W x + b + r (U h + d)), h = (1 - z) n + z h.
    """

    parts, kind = 1, GRUCells

    def add_layers(self, hidden_size: int, num_layers: int, dropout: float) -> None:
        """Create the layers, with `dropout` between them."""
        self.gru = nn.GRU(self.input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)

    @property
    def layers(self) -> nn.RNNBase:
        """Layers as torch's module."""
        return self.gru

    def run(self, inputs: Tensor, weights: list[Tensor], state: State) -> tuple[Tensor, State]:
        """Run torch's function on `inputs` (B, T, I); return the last layer's outputs (B, T, H) and the final state."""
        rest = (True, self.gru.num_layers, self.gru.dropout, self.training, False, True)
        outputs, *after = torch.gru(inputs, state[0], weights, *rest)
        return outputs, tuple(after)

    def cell_step(self, input_gates: Tensor, state: State, gated_h: Tensor, weights: list[Tensor]) -> State:
        """Compute one step of one layer; see `Recurrent.cell_step`."""
        hidden, bias, hidden_bias = weights
        r, z, n = (input_gates + bias).chunk(3, dim=1)
        r_seen, z_seen, n_seen = F.linear(gated_h, hidden, hidden_bias).chunk(3, dim=1)
        n = torch.tanh(n + torch.sigmoid(r + r_seen) * n_seen)
        z = torch.sigmoid(z + z_seen)
        return ((1 - z) * n + z * state[0],)
