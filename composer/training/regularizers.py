"""Regularizers: penalties on the weights, such as L1, that are added to the loss."""

from __future__ import annotations

import fnmatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.training import RegularizerConfig, RegularizerName
from composer.errors import ComposerError


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
