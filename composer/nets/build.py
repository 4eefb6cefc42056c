"""Construction of the network that a config names."""

from __future__ import annotations

import torch

from composer import registry
from composer.config.model import ModelConfig
from composer.errors import ComposerError
from composer.nets.attentive import AttentiveLSTM
from composer.nets.network import Logits, Network
from composer.nets.recurrent import ThreeHeadGRU, ThreeHeadLSTM
from composer.nets.transformer import ThreeHeadTransformer

__all__ = ["AttentiveLSTM", "Logits", "Network", "ThreeHeadGRU", "ThreeHeadLSTM", "ThreeHeadTransformer", "build_model"]


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


@torch.no_grad()
def check_representations(network: Network, length: int, *, every: bool) -> None:
    """Check the shape of what a network returns, and that no representation of a prefix depends on a later event.

    Args:
        network: its mode is restored; no random number of torch's default generator is drawn.
        length: T, events that are encoded.
        every: whether prefixes are trained on (`loss.supervision`), so that they are checked.

    Raises:
        ComposerError: a shape is another, or a representation depends on a later event.
    """
    generator, training = torch.Generator().manual_seed(0), network.training
    widths = torch.tensor(network.widths)
    events = (torch.rand(2, length, len(widths), generator=generator) * widths).long()
    changed, half = events.clone(), length // 2
    changed[:, half:] = (torch.rand(2, length - half, len(widths), generator=generator) * widths).long()
    label, width = type(network).__name__, network.linear.in_features
    network.eval()
    try:
        last = network.encode_last(events)
        if last.shape != (2, width):
            raise ComposerError(f"{label}.encode_last: must return (B, H) = (2, {width}), not {tuple(last.shape)}")
        if not every:
            return
        whole = network.encode(events)
        if whole.shape != (2, length, width):
            wanted = (2, length, width)
            raise ComposerError(f"{label}.encode: must return (B, T, H) = {wanted}, not {tuple(whole.shape)}")
        before, after = whole[:, :half], network.encode(changed)[:, :half]
    finally:
        network.train(training)
    if not torch.allclose(before, after, atol=1e-3, rtol=1e-3):
        raise ComposerError(
            f"{label}.encode: the representation of a prefix depends on later events, which leaks the "
            "targets; use loss.supervision=last"
        )
