"""Regularizers: L1, L2, elastic net and proximal L1 on chosen parameters.

With theta the chosen parameters (`regularizer.parameters`), the penalty that is added to the loss is

none         nothing
l1           weight * sum |theta|                                           (the article)
l2           weight * sum theta^2
elastic_net  weight * (l1_ratio * sum |theta| + (1 - l1_ratio) / 2 * sum theta^2)   (Zou and Hastie 2005,
             in the parametrisation of scikit-learn)
proximal_l1  nothing; instead each step ends with theta <- sign(theta) * max(|theta| - lr * weight, 0), the proximal
             operator of lr * weight * |theta| (Parikh and Boyd 2014, section 6.5.2). It sets parameters to exactly
             zero, while an L1 term under Adam leaves them oscillating around zero.
"""

from __future__ import annotations

import fnmatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer import registry
from composer.config.training import ElasticNetConfig, RegularizerConfig
from composer.errors import ComposerError
from composer.registry import Contract, implements

# Absolute value below which a parameter counts as small in the metrics `small/*`.
SMALL = 1e-3


class Regularizer:
    """Penalty on parameters of a network: a term of the loss, or an operation after each step of the optimiser.

    A subclass defines `penalty`, `after_step` or both. With weight 0 neither is called, so that the run equals one
    without a regularizer to the last bit. A regularizer keeps no state between steps.

    Attributes:
        config: its keys.
        parameters: those that `regularizer.parameters` chooses, by name.
    """

    def __init__(self, config: RegularizerConfig, model: nn.Module) -> None:
        """Select the penalised parameters.

        Raises:
            ComposerError: a name pattern matches no parameter.
        """
        self.config = config
        self.parameters = _select(dict(model.named_parameters()), config.parameters)

    @property
    def active(self) -> bool:
        """Whether there is a penalty."""
        return self.config.weight > 0

    def penalty(self) -> Tensor | None:
        """Return the term of the loss, a scalar with gradient; None where there is none."""
        return None

    def after_step(self, lr: float) -> None:
        """Change the parameters in place, without gradient, after a step of the optimiser.

        Args:
            lr: learning rate of the step.
        """

    @torch.no_grad()
    def value(self) -> float:
        """Return the penalty as a number, for the metric `penalty/train`; that of `penalty` unless it is defined."""
        penalty = self.penalty()
        return 0.0 if penalty is None else float(penalty)


CONTRACT = Contract(Regularizer, ("penalty", "after_step"))


@implements("regularizer", "none")
class NoPenalty(Regularizer):
    """No penalty."""


@implements("regularizer", "l1")
class L1(Regularizer):
    """The article's penalty."""

    def penalty(self) -> Tensor:
        """Return weight * sum |theta|."""
        return self.config.weight * _total([p.abs().sum() for p in self.parameters.values()])


@implements("regularizer", "l2")
class L2(Regularizer):
    """Weight decay in the loss."""

    def penalty(self) -> Tensor:
        """Return weight * sum theta^2."""
        return self.config.weight * _total([p.square().sum() for p in self.parameters.values()])


@implements("regularizer", "elastic_net")
class ElasticNet(Regularizer):
    """L1 and L2 together."""

    config: ElasticNetConfig

    def penalty(self) -> Tensor:
        """Return weight * (l1_ratio * sum |theta| + (1 - l1_ratio) / 2 * sum theta^2)."""
        ratio = self.config.l1_ratio
        absolute = _total([p.abs().sum() for p in self.parameters.values()])
        squares = _total([p.square().sum() for p in self.parameters.values()])
        return self.config.weight * (ratio * absolute + (1 - ratio) / 2 * squares)


@implements("regularizer", "proximal_l1")
class ProximalL1(Regularizer):
    """Soft thresholding after each step, which reaches exact zeros."""

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Draw the parameters to zero by lr * weight."""
        for parameter in self.parameters.values():
            parameter.copy_(F.softshrink(parameter, lr * self.config.weight))

    @torch.no_grad()
    def value(self) -> float:
        """Return the penalty of `l1`, whose objective it minimises."""
        return self.config.weight * float(_total([p.abs().sum() for p in self.parameters.values()]))


def make_regularizer(config: RegularizerConfig, model: nn.Module) -> Regularizer:
    """Return the regularizer of a config.

    Raises:
        ComposerError: nothing has registered the name, or a pattern matches no parameter.
    """
    regularizer = registry.part("regularizer", config.name)(config, model)
    assert isinstance(regularizer, Regularizer)
    return regularizer


def _total(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum()


def _select(named: dict[str, nn.Parameter], which: str | list[str]) -> dict[str, nn.Parameter]:
    """Return the parameters named by `all`, `weights` (no biases) or a list of shell patterns."""
    if which == "all":
        return named
    if which == "weights":
        return {name: parameter for name, parameter in named.items() if "bias" not in name}
    selected: dict[str, nn.Parameter] = {}
    for pattern in which:
        matched = {name: parameter for name, parameter in named.items() if fnmatch.fnmatchcase(name, pattern)}
        if not matched:
            raise ComposerError(
                f"regularizer.parameters: the pattern {pattern} matches no parameter; there are {', '.join(named)}"
            )
        selected |= matched
    return selected


@torch.no_grad()
def sparsity(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Return the sparsity of each parameter: the share of exact zeros, and of absolute values below `SMALL`.

    Returns:
        The two shares by parameter name; under `all` those of all parameters together.
    """
    counts = {
        name: (p.numel() - int(p.count_nonzero()), int((p.abs() < SMALL).count_nonzero()), p.numel())
        for name, p in model.named_parameters()
    }
    zeros, small, sizes = zip(*counts.values(), strict=True)
    counts["all"] = (sum(zeros), sum(small), sum(sizes))
    return {name: (zeros / size, small / size) for name, (zeros, small, size) in counts.items()}
