"""The loss: a negative log-likelihood a channel; and the regularisers against overfitting.

theta  the parameters that the regulariser touches
none         nothing
l1           weight * sum |theta|                                           (the article)
l2           weight * sum theta^2
elastic_net  weight * (l1_ratio * sum |theta| + (1 - l1_ratio) / 2 * sum theta^2)   (Zou and Hastie 2005,
             in the parametrisation of scikit-learn)
proximal_l1  no term; after each step theta <- sign(theta) * max(|theta| - lr * weight, 0), the proximal operator
             of lr * weight * |theta| (Parikh and Boyd 2014, section 6.5.2). A term under Adam only hovers about
             zero, this reaches it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from composer.nets.network import Logits

# The class that `cross_entropy` leaves out of its sum.
_LEFT_OUT = -100


def nll(logits: Logits, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of each channel, in nats.

    Args:
        logits: (B, V[channel]) each.
        targets: (B, 3) classes.
        smoothing: share of the target's probability that is spread over all classes (Szegedy et al. 2016); above 0 the
            result is a cross-entropy to train on, no likelihood of the targets.

    Returns:
        (3,) note, velocity, time.
    """
    return torch.stack(
        [F.cross_entropy(channel, targets[:, k].long(), label_smoothing=smoothing) for k, channel in enumerate(logits)]
    )


def nll_every(steps: Logits, targets: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum over the supervised steps of the negative log-likelihood of each channel, in nats.

    Args:
        steps: (B, T, V[channel]) each.
        targets: (B, T, 3) classes.
        mask: (B, T) bool, the steps that are supervised; the others have no part in the sum and get no gradient.
        smoothing: as in `nll`.

    Returns:
        (3,) note, velocity, time.
    """
    classes = targets.long().masked_fill(~mask[..., None], _LEFT_OUT)
    sums = [
        F.cross_entropy(
            channel.flatten(0, 1),
            classes[..., k].flatten(),
            ignore_index=_LEFT_OUT,
            reduction="sum",
            label_smoothing=smoothing,
        )
        for k, channel in enumerate(steps)
    ]
    return torch.stack(sums)
