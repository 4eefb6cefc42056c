"""Base class of the networks: one-hot input, three heads, and the methods that training and composing call.

    B = batch, T = events read, H = hidden_size
    V = sizes of the three channels; sum(V) = 229 in the article
    C = channels that are read: 3, or 2 where `model.inputs` drops one; one more with `model.bar_position`
    tokens (B, T, 3) integer classes in the order note, velocity, time; (B, T, 4) with the place in the bar
    hidden (..., H) the representation of the events up to one, from which the next is predicted

A kind of network (`recurrent.py`, `transformer.py`, or a plugin's) adds the layers between: `encode`. Training,
evaluation and composing depend on this class alone.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.limits import CHANNELS
from composer.config.model import Heads, ModelConfig
from composer.errors import ComposerError
from composer.music.rhythm import BAR_CLASSES
from composer.nets.context import CarriedState, RecomputedWindow, State, Window
from composer.registry import Contract

# Seed of the permutation that evaluation uses with `model.inputs=shuffle_*`.
_SHUFFLE_SEED = 0


class Logits(NamedTuple):
    """Unnormalised log-probabilities of each channel, (..., V[channel])."""

    note: Tensor
    velocity: Tensor
    time: Tensor


class Network(nn.Module):
    """A network over events that predicts the next one, channel by channel.

    A subclass defines `__init__(config, sizes)`, which calls `super().__init__(config, sizes)`, creates layers that
    read `self.input_size` numbers per event, and ends with `self.add_heads(config)`; and one of

    - `encode(tokens)`: (B, T, H) for (B, T, 3), a representation of each prefix, which depends on no later event
    - `encode_last(tokens)`: (B, H), of all T events, for any T; enough for `loss.supervision=last`

    from `self.embed(tokens)` (B, T, I). Everything else is optional. To compose, the window is encoded anew for each
    event; `window` may return something faster. With `carries = True` a network has a state besides (`empty_state`,
    `encode_from`), for `loss.supervision=stream` and `mode=stateful`. Random numbers in training come from torch's
    default generator, which is seeded before each batch. `composer.testing.check_model` checks all of this.
    """

    offsets: Tensor
    dropout: nn.Dropout
    linear: nn.Linear
    chain: Chain | None
    # Whether the network has a state that can be carried from one window to the next.
    carries: ClassVar[bool] = False
    # Whether `encode` represents each prefix, which `loss.supervision=every` trains on.
    encodes_prefixes: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.encodes_prefixes = cls.encode is not Network.encode

    def __init__(self, config: ModelConfig, sizes: tuple[int, int, int]) -> None:
        """Create the input layer; `sizes` are the numbers of note, velocity and time classes."""
        super().__init__()
        self.sizes = sizes
        action, _, channel = config.inputs.name.partition("_")
        self.shuffled = CHANNELS.index(channel) if action == "shuffle" else None
        self.channels = [k for k, name in enumerate(CHANNELS) if action != "drop" or name != channel]
        self.bar_position = config.bar_position
        # Classes of each column of the events: the channels, then the place in the bar.
        self.widths: tuple[int, ...] = (*sizes, BAR_CLASSES) if config.bar_position else sizes
        if config.bar_position:
            self.channels.append(len(CHANNELS))
        # Column of class 0 of each input channel in the concatenated input.
        offsets = torch.tensor([sum(self.widths[:k]) for k in self.channels])
        self.register_buffer("offsets", offsets, persistent=False)
        size = config.embedding_size
        self.embedding = None if size is None else nn.Embedding(sum(self.widths), size)
        self.input_size = sum(self.widths) if size is None else len(self.widths) * size

    def add_heads(self, config: ModelConfig) -> None:
        """Create dropout and heads; called after the layers, whose initial weights so stay the same for a seed."""
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.hidden_size, sum(self.sizes))
        self.chain = Chain(config.hidden_size, self.sizes) if config.heads is Heads.chained else None

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the representation (B, T, H) of each prefix of `tokens` (B, T, 3), before dropout.

        Raises:
            ComposerError: the network represents whole windows only.
        """
        raise ComposerError(
            f"{type(self).__name__} has no encode(tokens), the representation of each prefix; use loss.supervision=last"
        )

    def encode_last(self, tokens: Tensor) -> Tensor:
        """Return the representation (B, H) of the T events of `tokens` (B, T, 3), before dropout."""
        return self.encode(tokens)[:, -1]

    def empty_state(self, batch: int) -> State:
        """Return the state of B rows before any event, a tuple of tensors (L, B, H); only where `carries`."""
        raise NotImplementedError

    def encode_from(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return `encode` continued from `state`, and the state after the last event; only where `carries`."""
        raise NotImplementedError

    def window(self, primer: Tensor, length: int | None = None, *, apart: bool = True) -> Window:
        """Return the sliding window of a composition that begins after `primer`; requires evaluation mode.

        Args:
            primer: (B, N, 3).
            length: T, events in the window; None is N. Until T events have been read, the window holds all of them.
            apart: make the result of a piece bit-identical whatever else is in the batch; without it, all pieces are
                processed together where that is faster.
        """
        return RecomputedWindow(self, primer, length or primer.shape[1], apart)

    def running(self, primer: Tensor) -> Window:
        """Return the state of a composition that begins after `primer` (B, N, 3); it is never reset.

        Raises:
            ComposerError: the network has no state.
        """
        if not self.carries:
            raise ComposerError("mode=stateful: this network keeps no state from event to event; use mode=window")
        return CarriedState(self, primer)

    def last_hidden(self, tokens: Tensor) -> Tensor:
        """Return the representation (B, H) of the T events of `tokens`, after dropout."""
        dropped: Tensor = self.dropout(self.encode_last(self.apply_input_ablation(tokens)))
        return dropped

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """Return the representations (B, T, H) of the first 1, 2, ... T events of `tokens`, after dropout."""
        dropped: Tensor = self.dropout(self.encode(self.apply_input_ablation(tokens)))
        return dropped

    def hidden_states_from(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return `hidden_states` continued from `state`, and the state after the last event; only where `carries`."""
        hidden, state = self.encode_from(self.apply_input_ablation(tokens), state)
        return self.dropout(hidden), state

    def forward(self, tokens: Tensor, given: Tensor | None = None) -> Logits:
        """Return the logits (B, V) of the event after the T events of `tokens`; `given` (B, 3) as in `heads`."""
        return self.heads(self.last_hidden(tokens), given)

    def heads(self, hidden: Tensor, given: Tensor | None = None) -> Logits:
        """Return the logits of the next event.

        Independent heads are one linear layer. Chained ones factor the event's probability by the chain rule,
        p(note) p(velocity | note) p(time | note, velocity): their three negative log-likelihoods, each given the true
        channels before it, add up to that of the whole event, as those of independent heads do under their assumption.

        Args:
            hidden: (..., H).
            given: (..., 3) the known channels of the next event. A channel's logits depend only on the channels before
                it: in training those of the target, in composing those sampled so far. None uses the likeliest class
                of each instead, so that the likeliest classes of the result are a prediction independent of the
                target. Independent heads ignore it.
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
        """Return the logits whose likeliest classes are the prediction.

        Args:
            hidden: (..., H).
            logits: of `heads(hidden, targets)`; returned unchanged for independent heads, which ignore the target.
        """
        return logits if self.chain is None else self.heads(hidden)

    def apply_input_ablation(self, tokens: Tensor) -> Tensor:
        """Return the events with the ablation of `model.inputs=shuffle_*` applied: one channel permuted."""
        return tokens if self.shuffled is None else self.shuffle(tokens, self.shuffled)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the input (B, T, I) of the first layer: one-hot vectors, or the channels' concatenated embeddings.

        A dropped channel is all zeros in both.
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
        """Return the concatenated one-hot input (B, T, I), C ones per event: a dropped channel is all zeros.

        It is computed for each batch, never for the whole data set.
        """
        ones = torch.zeros(*tokens.shape[:-1], sum(self.widths), device=tokens.device, dtype=self.linear.weight.dtype)
        return ones.scatter_(-1, self.columns(tokens), 1.0)

    def columns(self, tokens: Tensor) -> Tensor:
        """Return the columns (..., C) of the ones in the concatenated input, for events (..., 3) or (..., 4)."""
        if len(self.channels) < len(self.widths):
            tokens = tokens[..., self.channels]
        return tokens.long() + self.offsets

    def shuffle(self, tokens: Tensor, channel: int) -> Tensor:
        """Return a copy of `tokens` (B, T, 3) with one channel permuted over all events of all windows.

        The channel keeps its distribution and loses its order (permutation importance, Breiman 2001). In training the
        permutation is drawn from the device's default generator, which is seeded before each batch; in evaluation it is
        the same for every batch of a size, so that scores repeat.
        """
        values = tokens[..., channel]
        if self.training:
            order = torch.randperm(values.numel(), device=tokens.device)
        else:
            # Drawn on the CPU, so that every device uses the same permutation.
            fixed = torch.Generator().manual_seed(_SHUFFLE_SEED)
            order = torch.randperm(values.numel(), generator=fixed).to(tokens.device)
        tokens = tokens.clone()
        tokens[..., channel] = values.flatten()[order].view_as(values)
        return tokens


CONTRACT = Contract(Network, ("encode", "encode_last"), ("carries", "encodes_prefixes"))


class Chain(nn.Module):
    """Inputs of the velocity and time heads besides `hidden`: the channels of the same event before theirs.

    Each adds to `hidden` the output of one layer over it and those channels: whether a note is a release depends on
    the note and on what sounds, so a sum of two separate terms would not suffice.
    """

    def __init__(self, hidden_size: int, sizes: tuple[int, int, int]) -> None:
        """Create the layers for a `hidden` of this size and these numbers of classes."""
        super().__init__()
        self.note = nn.Linear(hidden_size + sizes[0], hidden_size)
        self.both = nn.Linear(hidden_size + sizes[0] + sizes[1], hidden_size)
        self.sizes = sizes

    def with_note(self, hidden: Tensor, note: Tensor) -> Tensor:
        """Return the input (..., H) of the velocity head from `hidden` (..., H) and the note's class (...)."""
        return hidden + torch.tanh(_apply_concatenated(self.note, hidden, note))

    def with_both(self, hidden: Tensor, note: Tensor, velocity: Tensor) -> Tensor:
        """Return the input (..., H) of the time head from `hidden` (..., H) and the note's and velocity's classes."""
        return hidden + torch.tanh(_apply_concatenated(self.both, hidden, note, velocity + self.sizes[0]))


def _apply_concatenated(layer: nn.Linear, hidden: Tensor, *ones: Tensor) -> Tensor:
    """Apply `layer` to `hidden` (..., H) concatenated with a vector that is 1 at the places `ones` (...), else 0."""
    into, columns = layer.weight.tensor_split([hidden.shape[-1]], dim=1)
    out = F.linear(hidden, into, layer.bias)
    for places in ones:
        # Gathering a row is faster than a product with mostly zeros.
        out = out + F.embedding(places, columns.t())
    return out
