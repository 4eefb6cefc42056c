"""The loss: negative log-likelihood of note, velocity and time, in nats.

B = batch, T = time steps, V[channel] = classes of a channel. A channel's loss is the cross-entropy between its head's
softmax and the class of the next event; `ComposerModule.training_step` weights the three, adds them up and adds the
penalty of `regularizers.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from composer.nets.network import Logits

# Target that `cross_entropy` ignores.
IGNORED = -100


def nll(logits: Logits, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean negative log-likelihood of each channel over a batch, in nats.

    Args:
        logits: (B, V[channel]) each.
        targets: (B, 3) classes.
        smoothing: label smoothing (Szegedy et al. 2016), the share of the target's probability that is spread evenly
            over all classes; above 0 the result is a cross-entropy for training, not a likelihood of the targets.

    Returns:
        (3,) note, velocity, time.
    """
    return torch.stack(
        [F.cross_entropy(channel, targets[:, k].long(), label_smoothing=smoothing) for k, channel in enumerate(logits)]
    )


def nll_every(steps: Logits, targets: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the negative log-likelihood of each channel summed over the supervised steps, in nats.

    Args:
        steps: (B, T, V[channel]) each.
        targets: (B, T, 3) classes.
        mask: (B, T) bool, true at supervised steps; other steps add nothing to the sum and get no gradient.
        smoothing: as in `nll`.

    Returns:
        (3,) note, velocity, time.
    """
    classes = targets.long().masked_fill(~mask[..., None], IGNORED)
    sums = [
        F.cross_entropy(
            channel.flatten(0, 1),
            classes[..., k].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=smoothing,
        )
        for k, channel in enumerate(steps)
    ]
    return torch.stack(sums)
