"""What every network shares, whatever reads the events: the input, the heads, and how training and composing call it.

    B = batch, T = events read, H = hidden_size
    V = sizes of the three channels; sum(V) = 229 in the article
    C = channels that are read: 3, or 2 where `model.inputs` drops one; one more with `model.bar_position`
    tokens (B, T, 3) integers in the channels' order note, velocity, time; (B, T, 4) with the place in the bar
    hidden (..., H) what was read up to an event, from which the next is predicted

A kind of network (`recurrent.py`, `transformer.py`) adds the layers between: `encode`, and `window` for composing.
Training, scoring and composing know this class alone.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.limits import CHANNELS
from composer.config.model import Heads, ModelConfig
from composer.errors import ComposerError
from composer.music.rhythm import BAR_CLASSES

# Of the permutation that `model.inputs=shuffle_*` scores with.
_SHUFFLE_SEED = 0


# What a recurrent network keeps of the events before.
State = tuple[Tensor, ...]


class Logits(NamedTuple):
    """Unnormalised log-probabilities of each channel, (..., V[channel])."""

    note: Tensor
    velocity: Tensor
    time: Tensor


class Window(Protocol):
    """What was read while pieces are composed: `hidden` (B, H), of the last T events or of all.

    The heads are computed in blocks of `block` pieces (`stepping.py`).
    """

    block: ClassVar[int]
    hidden: Tensor

    def read(self, event: Tensor) -> None:
        """Take in an event (B, 3)."""

    def select(self, pieces: Tensor) -> None:
        """Go on with these pieces (B,), by number, in place of the present ones."""


class Network(nn.Module):
    """A network over events that predicts the next one, channel by channel."""

    offsets: Tensor
    dropout: nn.Dropout
    linear: nn.Linear
    chain: Chain | None
    # Whether events can be read from the state that others left.
    carries: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, sizes: tuple[int, int, int]) -> None:
        """Args: `config` as typed; `sizes` the classes of the note, velocity and time channels."""
        super().__init__()
        self.sizes = sizes
        action, _, channel = config.inputs.name.partition("_")
        self.shuffled = CHANNELS.index(channel) if action == "shuffle" else None
        self.channels = [k for k, name in enumerate(CHANNELS) if action != "drop" or name != channel]
        self.bar_position = config.bar_position
        # Classes of each column of the events that are read: the channels, then the place in the bar.
        self.widths: tuple[int, ...] = (*sizes, BAR_CLASSES) if config.bar_position else sizes
        if config.bar_position:
            self.channels.append(len(CHANNELS))
        # Column of the class 0 of each channel that is read, in the concatenated input.
        offsets = torch.tensor([sum(self.widths[:k]) for k in self.channels])
        self.register_buffer("offsets", offsets, persistent=False)
        size = config.embedding_size
        self.embedding = None if size is None else nn.Embedding(sum(self.widths), size)
        self.input_size = sum(self.widths) if size is None else len(self.widths) * size

    def add_heads(self, config: ModelConfig) -> None:
        """Make what follows the layers; called after these, so that a seed gives them the weights it always did."""
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.hidden_size, sum(self.sizes))
        self.chain = Chain(config.hidden_size, self.sizes) if config.heads is Heads.chained else None

    def encode(self, tokens: Tensor) -> Tensor:
        """What each event of `tokens` (B, T, 3) and those before it read as: (B, T, H), before dropout."""
        raise NotImplementedError

    def empty_state(self, batch: int) -> State:
        """The state of B rows before any event; where `carries`."""
        raise NotImplementedError

    def encode_from(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """As `encode`, but from `state` on, and the state after the last event; where `carries`."""
        raise NotImplementedError

    def window(self, primer: Tensor, length: int | None = None, *, apart: bool = True) -> Window:
        """The window of a composition that begins after `primer`; the network in evaluation mode.

        Args:
            primer: (B, N, 3).
            length: T, events that the window holds; None is N. Before T events it holds all there are.
            apart: read each piece to the same bits whatever else is in the batch; without it, where that is faster,
                all pieces are read together.
        """
        raise NotImplementedError

    def running(self, primer: Tensor) -> Window:
        """The state of a composition that begins after `primer` (B, N, 3), and is never begun anew.

        Raises:
            ComposerError: the network has none.
        """
        raise ComposerError("mode=stateful: this network keeps no state from event to event; use mode=window")

    def last_hidden(self, tokens: Tensor) -> Tensor:
        """What the T events of `tokens` read as: (B, H), after dropout."""
        dropped: Tensor = self.dropout(self.encode(self.apply_input_ablation(tokens))[:, -1])
        return dropped

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """What the first 1, 2, ... T events of `tokens` read as: (B, T, H), after dropout."""
        dropped: Tensor = self.dropout(self.encode(self.apply_input_ablation(tokens)))
        return dropped

    def hidden_states_from(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """As `hidden_states`, but read on from `state`, and the state after the last event; where `carries`."""
        hidden, state = self.encode_from(self.apply_input_ablation(tokens), state)
        return self.dropout(hidden), state

    def forward(self, tokens: Tensor, given: Tensor | None = None) -> Logits:
        """Logits (B, V) of the event after the T events of `tokens`; `given` (B, 3) as in `heads`."""
        return self.heads(self.last_hidden(tokens), given)

    def heads(self, hidden: Tensor, given: Tensor | None = None) -> Logits:
        """Logits of the next event.

        Independent heads are one linear layer. Chained ones factor the event's probability by the chain rule,
        p(note) p(velocity | note) p(time | note, velocity): their three negative log-likelihoods, each given the true
        channels before it, add up to that of the whole event, as those of independent heads do under their assumption.

        Args:
            hidden: (..., H).
            given: (..., 3) the next event as far as it is known. A channel's logits depend on its channels before that
                one alone: in training those of the target, in composing those drawn so far. None takes the likeliest
                class of each in their place, so that the likeliest classes of the result are a prediction that knows
                nothing of the target. Independent heads do not look at it.
        """
        if self.chain is None:
            return Logits(*self.linear(hidden).split(self.sizes, dim=-1))
        weights, biases = (torch.split(part, list(self.sizes)) for part in (self.linear.weight, self.linear.bias))
        note = F.linear(hidden, weights[0], biases[0])
        note_class = note.argmax(-1) if given is None else given[..., 0].long()
        velocity = F.linear(self.chain.with_note(hidden, note_class), weights[1], biases[1])
        velocity_class = velocity.argmax(-1) if given is None else given[..., 1].long()
        time = F.linear(self.chain.with_both(hidden, note_class, velocity_class), weights[2], biases[2])
        return Logits(note, velocity, time)

    def prediction(self, hidden: Tensor, logits: Logits) -> Logits:
        """The logits whose likeliest classes are predicted.

        Args:
            hidden: (..., H).
            logits: of `heads(hidden, targets)`; independent heads saw no target, and these are returned.
        """
        return logits if self.chain is None else self.heads(hidden)

    def apply_input_ablation(self, tokens: Tensor) -> Tensor:
        """The events as the network is told them: one channel permuted with `model.inputs=shuffle_*`."""
        return tokens if self.shuffled is None else self.shuffle(tokens, self.shuffled)

    def embed(self, tokens: Tensor) -> Tensor:
        """The input (B, T, I) of the first layer: one-hot vectors, or the channels' embeddings side by side.

        A channel that is not read is all zeros in both.
        """
        if self.embedding is None:
            return self.one_hot(tokens)
        rows = self.embedding(self.columns(tokens))
        if len(self.channels) < len(self.widths):
            read = rows
            rows = read.new_zeros(*tokens.shape, read.shape[-1])
            rows[..., self.channels, :] = read
        flat: Tensor = rows.flatten(-2)
        return flat

    def one_hot(self, tokens: Tensor) -> Tensor:
        """The concatenated input (B, T, I) with C ones an event: a channel that is not read is all zeros.

        Made for one batch at a time and dropped after it.
        """
        ones = torch.zeros(*tokens.shape[:-1], sum(self.widths), device=tokens.device, dtype=self.linear.weight.dtype)
        return ones.scatter_(-1, self.columns(tokens), 1.0)

    def columns(self, tokens: Tensor) -> Tensor:
        """Columns (..., C) of the ones in the concatenated input, for events (..., 3) or (..., 4)."""
        if len(self.channels) < len(self.widths):
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


class Chain(nn.Module):
    """What the velocity and time heads read besides: the channels of the event before theirs.

    Each adds to `hidden` one layer that sees it together with those channels: whether a note is a release depends on
    the note and on what sounds, so a sum of the two would not do.
    """

    def __init__(self, hidden_size: int, sizes: tuple[int, int, int]) -> None:
        """Args: width of `hidden`; the classes of the channels."""
        super().__init__()
        self.note = nn.Linear(hidden_size + sizes[0], hidden_size)
        self.both = nn.Linear(hidden_size + sizes[0] + sizes[1], hidden_size)
        self.sizes = sizes

    def with_note(self, hidden: Tensor, note: Tensor) -> Tensor:
        """(..., H) for the velocity, of `hidden` (..., H) and the note's class (...)."""
        return hidden + torch.tanh(_joined(self.note, hidden, note))

    def with_both(self, hidden: Tensor, note: Tensor, velocity: Tensor) -> Tensor:
        """(..., H) for the time, of `hidden` (..., H) and the classes (...) of note and velocity."""
        return hidden + torch.tanh(_joined(self.both, hidden, note, velocity + self.sizes[0]))


def _joined(layer: nn.Linear, hidden: Tensor, *ones: Tensor) -> Tensor:
    """`layer` of `hidden` (..., H) beside a vector that is 1 at the places `ones` (...) and 0 elsewhere."""
    into, columns = layer.weight.tensor_split([hidden.shape[-1]], dim=1)
    out = F.linear(hidden, into, layer.bias)
    for places in ones:
        # Gathering a row is quicker than a product with mostly zeros.
        out = out + F.embedding(places, columns.t())
    return out
