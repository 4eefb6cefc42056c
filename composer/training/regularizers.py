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

from composer.config.training import RegularizerConfig, RegularizerName
from composer.errors import ComposerError

# Absolute value below which a parameter counts as small in the metrics `small/*`.
SMALL = 1e-3


class Regularizer:
    """Penalty on parameters of a model: a term of the loss, or an operation after each optimiser step."""

    def __init__(self, config: RegularizerConfig, model: nn.Module) -> None:
        """Select the penalised parameters.

        Raises:
            ComposerError: a name pattern matches no parameter.
        """
        self.config = config
        # With weight 0 a run must equal one without regularizer to the last bit, so not even a zero is added.
        self.active = config.name is not RegularizerName.none and config.weight > 0
        self.proximal = self.active and config.name is RegularizerName.proximal_l1
        self.parameters = _select(dict(model.named_parameters()), config.parameters)

    def penalty(self) -> Tensor | None:
        """Return the term of the loss, a scalar with gradient; None for `none`, `proximal_l1` or weight 0."""
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
        """Apply the proximal operator, soft thresholding at `lr * weight` (`proximal_l1` only).

        Args:
            lr: learning rate of the step.
        """
        if not self.proximal:
            return
        for parameter in self.parameters.values():
            parameter.copy_(F.softshrink(parameter, lr * self.config.weight))

    @torch.no_grad()
    def value(self) -> float:
        """Return the penalty as a number; of `proximal_l1` that of `l1`, whose objective it minimises."""
        if not self.active:
            return 0.0
        if self.proximal:
            return self.config.weight * float(_total([p.abs().sum() for p in self.parameters.values()]))
        penalty = self.penalty()
        assert penalty is not None
        return float(penalty)


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
