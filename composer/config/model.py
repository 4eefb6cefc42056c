"""Group `model`: the network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from composer.config.limits import BELOW_1, Group, between, check_name
from composer.registry import keys_of


class Inputs(Enum):
    """Input channels of the network; it predicts all channels in any case."""

    all = "all"
    drop_note = "drop_note"
    drop_velocity = "drop_velocity"
    drop_time = "drop_time"
    shuffle_note = "shuffle_note"
    shuffle_velocity = "shuffle_velocity"
    shuffle_time = "shuffle_time"


class Heads(Enum):
    """Dependence of the three predicted channels on each other."""

    independent = "independent"
    chained = "chained"


@dataclass(kw_only=True, slots=True)
class ModelConfig(Group):
    """Group `model`: the keys that every network has."""

    prefix: ClassVar[str] = "model."
    # Whether the network has a state that can be carried from one window to the next; see `Network.carries`.
    carries: ClassVar[bool] = False
    # Whether it represents each prefix of a window; see `Network.encode`.
    encodes_prefixes: ClassVar[bool] = True

    name: str
    """The network; `model=NAME` sets it."""
    hidden_size: Annotated[int, between(1, 16_384)]
    """Units of a recurrent layer; width of a Transformer."""
    num_layers: Annotated[int, between(1, 32)]
    """Layers of the network, one on top of the other."""
    dropout: Annotated[float, BELOW_1]
    """Probability of dropping a unit of the network's output, and between its layers (in a Transformer: of what each
    sublayer adds)."""
    embedding_size: Annotated[int | None, between(1, 4096)]
    """Size of the embedding of each channel before the first layer; null reads one-hot vectors."""
    heads: Heads
    """`independent` predicts each channel from what was read; `chained` the velocity given the note too, and the time
    given both."""
    inputs: Inputs
    """`drop_*` leaves a channel out of the input, `shuffle_*` permutes its values over all events of a batch."""
    bar_position: bool
    """Read, with each event, its place in the bar in steps of 1/12 beat; nothing predicts the place."""

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""
        check_name("model", self)
        timed = self.inputs not in (Inputs.drop_time, Inputs.shuffle_time)
        limit = f"false with model.inputs={self.inputs.name}, since places in the bar say the times"
        self.require(timed or not self.bar_position, "bar_position", limit)


@keys_of("model", "lstm", "gru")
@dataclass(kw_only=True, slots=True)
class RecurrentConfig(ModelConfig):
    """`lstm` and `gru`: recurrent networks."""

    carries: ClassVar[bool] = True

    weight_dropout: Annotated[float, BELOW_1]
    """Probability of dropping a hidden-to-hidden weight for a whole batch."""
    variational_dropout: Annotated[float, BELOW_1]
    """Probability of dropping an input or a recurrent unit of a layer, the same ones at every step of a window."""


@keys_of("model", "attentive_lstm")
@dataclass(kw_only=True, slots=True)
class AttentiveLSTMConfig(ModelConfig):
    """`attentive_lstm`: an LSTM that attends to what followed the earlier steps of its window."""

    attention_heads: Annotated[int, between(1, 256)]
    """Heads of the attention; they divide `hidden_size`."""

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""
        ModelConfig.check(self)
        whole = self.hidden_size % self.attention_heads == 0
        self.require(whole, "hidden_size", f"a multiple of model.attention_heads={self.attention_heads}")


@keys_of("model", "transformer")
@dataclass(kw_only=True, slots=True)
class TransformerConfig(ModelConfig):
    """`transformer`: causal self-attention."""

    attention_heads: Annotated[int, between(1, 256)]
    """Heads per layer; they divide the width into parts of an even size."""

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""
        ModelConfig.check(self)
        even = self.hidden_size % (2 * self.attention_heads) == 0
        limit = f"a multiple of 2 * model.attention_heads={self.attention_heads} with model=transformer"
        self.require(even, "hidden_size", limit)
