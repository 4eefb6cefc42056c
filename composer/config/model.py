"""Group `model`: the network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from composer.config.limits import require


class Inputs(Enum):
    """What the network is told of each event that it reads; what it predicts stays the same."""

    all = "all"
    drop_note = "drop_note"
    drop_velocity = "drop_velocity"
    drop_time = "drop_time"
    shuffle_note = "shuffle_note"
    shuffle_velocity = "shuffle_velocity"
    shuffle_time = "shuffle_time"


class ModelName(Enum):
    """The kind of network that reads the events."""

    lstm = "lstm"
    gru = "gru"
    transformer = "transformer"


class Heads(Enum):
    """How the three channels of the next event are predicted from what was read."""

    independent = "independent"
    chained = "chained"


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Group `model`: the same keys whichever is chosen, so that runs compare column by column."""

    name: ModelName
    hidden_size: int
    """Units of a recurrent layer; width of a Transformer."""
    num_layers: int
    attention_heads: int
    """Of each layer of a Transformer; they divide its width into parts of an even size. The others have none."""
    dropout: float
    """Probability of dropping a unit of the network's output, and between its layers (in a Transformer: of what each
    sublayer adds)."""
    weight_dropout: float
    """Probability of dropping a hidden-to-hidden weight for a whole batch (recurrent networks)."""
    variational_dropout: float
    """Probability of dropping an input or a recurrent unit of a layer, the same ones at every step of a window
    (recurrent networks)."""
    embedding_size: int | None
    """Numbers that a class of each channel is looked up as before the first layer; null reads one-hot vectors."""
    heads: Heads
    """`independent` predicts each channel from what was read; `chained` the velocity given the note too, and the time
    given both."""
    inputs: Inputs
    """`drop_*` leaves a channel out of the input, `shuffle_*` permutes its values over all events of a batch."""
    bar_position: bool
    """Read, with each event, the place in the bar at which it stands, in steps of 1/12 beat; nothing predicts
    it."""

    def __post_init__(self) -> None:
        require(1 <= self.hidden_size <= 16_384, "model.hidden_size", self.hidden_size, "from 1 to 16384")
        require(1 <= self.num_layers <= 32, "model.num_layers", self.num_layers, "from 1 to 32")
        require(1 <= self.attention_heads <= 256, "model.attention_heads", self.attention_heads, "from 1 to 256")
        transformer = self.name is ModelName.transformer
        if transformer:
            even = self.hidden_size % (2 * self.attention_heads) == 0
            limit = f"a multiple of 2 * model.attention_heads={self.attention_heads} with model=transformer"
            require(even, "model.hidden_size", self.hidden_size, limit)
        for key in ("dropout", "weight_dropout", "variational_dropout"):
            value = getattr(self, key)
            require(0 <= value < 1, f"model.{key}", value, "at least 0 and less than 1")
            if key != "dropout":
                limit = "0 with model=transformer, which has no recurrent weights"
                require(not (transformer and value), f"model.{key}", value, limit)
        size = self.embedding_size
        require(size is None or 1 <= size <= 4096, "model.embedding_size", size, "null, or from 1 to 4096")
        timed = self.inputs not in (Inputs.drop_time, Inputs.shuffle_time)
        limit = f"false with model.inputs={self.inputs.name}, since places in the bar say the times"
        require(timed or not self.bar_position, "model.bar_position", "true", limit)
