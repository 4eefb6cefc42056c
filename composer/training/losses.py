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

import fnmatch
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.schema import RegularizerConfig, RegularizerName
from composer.errors import ComposerError
from composer.nets.network import Logits, Network
from composer.training.metrics import MetricSums

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


class Regularizer:
    """What a regulariser adds to the loss of a model, or does to it after a step."""

    def __init__(self, config: RegularizerConfig, model: nn.Module) -> None:
        """Choose the parameters.

        Raises:
            ComposerError: a name pattern matches no parameter.
        """
        self.config = config
        # A weight of 0 must leave no trace, not even the addition of a zero.
        self.active = config.name is not RegularizerName.none and config.weight > 0
        self.proximal = self.active and config.name is RegularizerName.proximal_l1
        self.parameters = _choose(dict(model.named_parameters()), config.parameters)

    def penalty(self) -> Tensor | None:
        """The term for the loss, a scalar, or None where there is none."""
        if not self.active or self.proximal:
            return None
        name, weight, ratio = self.config.name, self.config.weight, self.config.l1_ratio
        parameters = self.parameters.values()
        if name is RegularizerName.l1:
            return weight * _total([p.abs().sum() for p in parameters])
        if name is RegularizerName.l2:
            return weight * _total([p.square().sum() for p in parameters])
        absolute = _total([p.abs().sum() for p in parameters])
        squares = _total([p.square().sum() for p in parameters])
        return weight * (ratio * absolute + (1 - ratio) / 2 * squares)

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Draw the parameters towards zero by the soft threshold (`proximal_l1` only)."""
        if not self.proximal:
            return
        for parameter in self.parameters.values():
            parameter.copy_(F.softshrink(parameter, lr * self.config.weight))

    @torch.no_grad()
    def value(self) -> float:
        """The penalty as a number, also for `proximal_l1`, whose objective is that of `l1`."""
        if not self.active:
            return 0.0
        if self.proximal:
            return self.config.weight * float(_total([p.abs().sum() for p in self.parameters.values()]))
        penalty = self.penalty()
        assert penalty is not None
        return float(penalty)


def _total(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum()


def _choose(named: dict[str, nn.Parameter], which: str | list[str]) -> dict[str, nn.Parameter]:
    if which == "all":
        return named
    if which == "weights":
        return {name: parameter for name, parameter in named.items() if "bias" not in name}
    chosen: dict[str, nn.Parameter] = {}
    for pattern in which:
        matched = {name: parameter for name, parameter in named.items() if fnmatch.fnmatchcase(name, pattern)}
        if not matched:
            raise ComposerError(
                f"regularizer.parameters: the pattern {pattern} matches no parameter; there are {', '.join(named)}"
            )
        chosen |= matched
    return chosen


@torch.no_grad()
def sparsity(model: nn.Module) -> dict[str, tuple[float, float]]:
    """For each parameter, and for all together, the share of exact zeros and the share below 1e-3 in absolute value.

    Returns:
        The two shares by the parameter's name; under `all`, of all numbers of all parameters.
    """
    counts = {
        name: (p.numel() - int(p.count_nonzero()), int((p.abs() < 1e-3).count_nonzero()), p.numel())
        for name, p in model.named_parameters()
    }
    zeros, small, numbers = zip(*counts.values(), strict=True)
    counts["all"] = (sum(zeros), sum(small), sum(numbers))
    return {name: (zeros / numbers, small / numbers) for name, (zeros, small, numbers) in counts.items()}


@torch.no_grad()
def score(model: Network, batches: Iterable[Tensor], split: str) -> dict[str, float]:
    """Metrics of a model, dropout off, over batches (B, T + 1, 3) of windows; empty without any.

    Args:
        model: left in the mode that it was in.
        batches: for example a loader of `MusicDataModule`.
        split: what the keys end in.
    """
    training = model.training
    device = model.linear.weight.device
    sums = MetricSums(device)
    model.eval()
    for batch in batches:
        batch = batch.to(device)
        hidden, targets = model.last(batch[:, :-1]), batch[:, -1]
        logits = model.heads(hidden, targets)
        sums.add(model.prediction(hidden, logits), targets, nll(logits, targets))
    model.train(training)
    return sums.values(split)
