"""Construction of the network that a config names."""

from __future__ import annotations

from composer import registry
from composer.config.model import ModelConfig
from composer.errors import ComposerError
from composer.nets.network import Logits, Network
from composer.nets.recurrent import ThreeHeadGRU, ThreeHeadLSTM
from composer.nets.transformer import ThreeHeadTransformer

__all__ = ["Logits", "Network", "ThreeHeadGRU", "ThreeHeadLSTM", "ThreeHeadTransformer", "build_model"]


def build_model(config: ModelConfig, sizes: tuple[int, int, int]) -> Network:
    """Return a network whose weights are initialised from torch's generator.

    Args:
        config: the model's config; `name` chooses the kind.
        sizes: the classes of the note, velocity and time channels.

    Raises:
        ComposerError: nothing has registered the name, or the network was made without heads.
    """
    network = registry.part("model", config.name)(config, sizes)
    assert isinstance(network, Network)
    if not hasattr(network, "linear"):
        raise ComposerError(f"{type(network).__name__}.__init__: must end with self.add_heads(config)")
    return network
