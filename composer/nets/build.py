"""Construction of the network that a config names."""

from __future__ import annotations

from composer.config.model import ModelConfig, ModelName
from composer.nets.network import Logits, Network
from composer.nets.recurrent import ThreeHeadGRU, ThreeHeadLSTM
from composer.nets.transformer import ThreeHeadTransformer

__all__ = ["Logits", "Network", "ThreeHeadGRU", "ThreeHeadLSTM", "ThreeHeadTransformer", "build_model"]

_KINDS: dict[ModelName, type[Network]] = {
    ModelName.lstm: ThreeHeadLSTM,
    ModelName.gru: ThreeHeadGRU,
    ModelName.transformer: ThreeHeadTransformer,
}


def build_model(config: ModelConfig, sizes: tuple[int, int, int]) -> Network:
    """Return a network whose weights are initialised from torch's generator.

    Args:
        config: the model's config; `name` chooses the kind.
        sizes: the classes of the note, velocity and time channels.
    """
    return _KINDS[config.name](config, sizes)
