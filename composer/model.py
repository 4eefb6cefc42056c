"""The article's network: three one-hot channels side by side, an LSTM, dropout, one linear layer, three heads.

    B = batch, T = events read, H = hidden_size, L = num_layers
    V = sizes of the three channels; sum(V) = 229 in the article
    C = channels that are read: 3, or 2 where `model.inputs` drops one
    tokens (B, T, 3) integers in the channels' order note, velocity, time
    state  (h, c), each (L, B, H)

The weights are those of `nn.LSTM(sum(V), H, L)` and `nn.Linear(H, sum(V))` under the names `lstm` and `linear`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.schema import CHANNELS, ModelConfig

State = tuple[Tensor, Tensor]

# Of the permutation that `model.inputs=shuffle_*` scores with.
_SHUFFLE_SEED = 0


class Logits(NamedTuple):
    """Unnormalised log-probabilities of each channel, (..., V[channel])."""

    note: Tensor
    velocity: Tensor
    time: Tensor


class ThreeHeadLSTM(nn.Module):
    """An LSTM over events that predicts the next one, channel by channel."""

    offsets: Tensor

    def __init__(self, config: ModelConfig, sizes: tuple[int, int, int]) -> None:
        """Args: `config` as typed; `sizes` the classes of the note, velocity and time channels."""
        super().__init__()
        self.sizes = sizes
        width = sum(sizes)
        between = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(width, config.hidden_size, config.num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.hidden_size, width)
        action, _, channel = config.inputs.name.partition("_")
        self.shuffled = CHANNELS.index(channel) if action == "shuffle" else None
        self.channels = [k for k, name in enumerate(CHANNELS) if action != "drop" or name != channel]
        # Column of the class 0 of each channel that is read, in the concatenated input.
        offsets = torch.tensor([sum(sizes[:k]) for k in self.channels])
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, tokens: Tensor) -> Logits:
        """Logits (B, V) of the event after the T events of `tokens`, read from an empty state."""
        return self.heads(self.dropout(self.outputs(tokens)[:, -1]))

    def forward_every(self, tokens: Tensor) -> Logits:
        """Logits (B, T, V) of the event after each of the T events of `tokens`, given those up to it."""
        return self.heads(self.dropout(self.outputs(tokens)))

    def outputs(self, tokens: Tensor) -> Tensor:
        """The last layer's outputs (B, T, H) over the events of `tokens`, read from an empty state, before dropout.

        With `model.inputs=shuffle_*` one channel of `tokens` is permuted first (`shuffle`).

        On a CPU, columns of the input that are 0 in the whole batch are left out of the product together with their
        weights: a batch of one piece uses a fifth of them, and the LSTM's part of a step takes about half the time
        (`benchmarks/input_layer.py`). A GPU would have to wait for the count of columns, and reads all.
        """
        if self.shuffled is not None:
            tokens = self.shuffle(tokens, self.shuffled)
        if tokens.device.type != "cpu":
            full: Tensor = self.lstm(self.one_hot(tokens))[0]
            return full
        used, columns = torch.unique(self.columns(tokens), return_inverse=True)
        weights = [weight for layer in self.lstm.all_weights for weight in layer]
        ones = weights[0].new_zeros(*tokens.shape[:2], len(used)).scatter_(2, columns, 1.0)
        empty = weights[0].new_zeros(self.lstm.num_layers, len(tokens), self.lstm.hidden_size)
        # What nn.LSTM calls; the module itself insists on the full width.
        hidden, _, _ = torch.lstm(
            ones,
            (empty, empty),
            [weights[0].index_select(1, used), *weights[1:]],
            True,  # has_biases
            self.lstm.num_layers,
            self.lstm.dropout,
            self.training,
            False,  # bidirectional
            True,  # batch_first
        )
        return hidden

    def step(self, event: Tensor, state: State | None = None) -> tuple[Logits, State]:
        """Read one event and predict the next, dropout as in `forward`.

        Args:
            event: (B, 3) classes.
            state: after the events before; None is the empty state.

        Returns:
            Logits (B, V) of the next event, and the new state.
        """
        hidden, state = self.cell(event, state)
        return self.heads(self.dropout(hidden)), state

    def cell(self, event: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Advance the LSTM by one event.

        The input layer gathers and sums three rows of its weights: for one event that is quicker than a product with a
        one-hot vector. The gates are those of `nn.LSTM` (Hochreiter and Schmidhuber 1997, with forget gates):
        i, f, o = sigmoid(...), g = tanh(...), c = f c + i g, h = o tanh(c).

        A channel that `model.inputs` drops is not read here either. One that it shuffles is read as it stands: in
        composing, every event is drawn from the network, and there is no batch of true events to permute it over.

        Args:
            event: (B, 3) classes.
            state: after the events before; None is the empty state.

        Returns:
            The last layer's output (B, H), before dropout, and the new state.
        """
        weights = dict(self.lstm.named_parameters())
        if state is None:
            shape = (self.lstm.num_layers, len(event), self.lstm.hidden_size)
            state = (self.linear.weight.new_zeros(shape), self.linear.weight.new_zeros(shape))
        rows = weights["weight_ih_l0"].t()[self.columns(event)].sum(1)
        h_layers: list[Tensor] = []
        c_layers: list[Tensor] = []
        for layer, (h, c) in enumerate(zip(*state, strict=True)):
            if layer > 0:
                rows = F.linear(self.dropout(h_layers[-1]), weights[f"weight_ih_l{layer}"])
            bias = weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"]
            i, f, g, o = (rows + F.linear(h, weights[f"weight_hh_l{layer}"], bias)).chunk(4, dim=1)
            c_layers.append(torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g))
            h_layers.append(torch.sigmoid(o) * torch.tanh(c_layers[-1]))
        return h_layers[-1], (torch.stack(h_layers), torch.stack(c_layers))

    def heads(self, hidden: Tensor) -> Logits:
        """Split the linear layer's output (..., sum(V)) into the channels."""
        return Logits(*self.linear(hidden).split(self.sizes, dim=-1))

    def one_hot(self, tokens: Tensor) -> Tensor:
        """The concatenated input (B, T, sum(V)) with C ones an event: a channel that is not read is all zeros.

        Made for one batch at a time and dropped after it.
        """
        ones = torch.zeros(*tokens.shape[:2], sum(self.sizes), device=tokens.device, dtype=self.linear.weight.dtype)
        return ones.scatter_(2, self.columns(tokens), 1.0)

    def columns(self, tokens: Tensor) -> Tensor:
        """Columns (..., C) of the ones in the concatenated input, for events (..., 3)."""
        if len(self.channels) < len(CHANNELS):
            tokens = tokens[..., self.channels]
        return tokens.long() + self.offsets

    def shuffle(self, tokens: Tensor, channel: int) -> Tensor:
        """A copy of `tokens` (B, T, 3) with one channel permuted over all events of all windows.

        The channel keeps its distribution and loses its order (permutation importance, Breiman 2001). In training the
        permutation is drawn from the device's default generator, which is seeded before each batch; in evaluation it is
        the same for every batch of a size, so that scores repeat.
        """
        values = tokens[..., channel]
        if self.training:
            order = torch.randperm(values.numel(), device=tokens.device)
        else:
            # Drawn on the CPU, so that every device scores with the same one.
            fixed = torch.Generator().manual_seed(_SHUFFLE_SEED)
            order = torch.randperm(values.numel(), generator=fixed).to(tokens.device)
        tokens = tokens.clone()
        tokens[..., channel] = values.flatten()[order].view_as(values)
        return tokens
