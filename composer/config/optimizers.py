"""Groups `optimizer` and `scheduler`: each option has its own keys."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from composer.config.limits import (
    ABOVE_0,
    BELOW_1,
    COUNT,
    NOT_NEGATIVE,
    UP_TO_1,
    Group,
    Range,
    at_least,
    between,
    check_name,
)
from composer.registry import keys_of

FINITE_ABOVE_0 = Range("a finite number above 0", above=0, below=math.inf)
_FACTOR = between(0, 1)


@dataclass(kw_only=True, slots=True)
class OptimizerConfig(Group):
    """Group `optimizer`: the keys that every option has."""

    prefix: ClassVar[str] = "optimizer."

    name: str
    """The optimiser; `optimizer=NAME` sets it."""
    lr: Annotated[float, FINITE_ABOVE_0]
    """Learning rate; a schedule multiplies it by a factor."""
    weight_decay: Annotated[float, NOT_NEGATIVE]
    """Weight decay of every parameter; the article's is 1e-5."""
    gradient_clip_norm: Annotated[float | None, ABOVE_0]
    """Largest L2 norm of the gradient of all parameters together; null does not clip."""

    def check(self) -> None:
        """Check that the keys are those of the option named; raises a `ComposerError`."""
        check_name("optimizer", self)


@keys_of("optimizer", "adam", "adamw")
@dataclass(kw_only=True, slots=True)
class AdamConfig(OptimizerConfig):
    """`adam`: the article's, weight decay added to the gradient; `adamw`: weight decay apart from it."""

    beta1: Annotated[float, BELOW_1]
    """Decay of the running mean of the gradient."""
    beta2: Annotated[float, BELOW_1]
    """Decay of the running mean of the squared gradient."""
    eps: Annotated[float, FINITE_ABOVE_0]
    """Term that is added to the denominator for numerical stability."""


@keys_of("optimizer", "radam")
@dataclass(kw_only=True, slots=True)
class RAdamConfig(AdamConfig):
    """`radam`: Adam whose first steps are corrected for the variance of their rates (Liu et al. 2020)."""

    decoupled_weight_decay: bool
    """Weight decay apart from the gradient, as AdamW's."""


@keys_of("optimizer", "nadam")
@dataclass(kw_only=True, slots=True)
class NAdamConfig(RAdamConfig):
    """`nadam`: Adam with Nesterov's momentum (Dozat 2016)."""

    momentum_decay: Annotated[float, NOT_NEGATIVE]
    """Decay of the momentum over the steps."""


@keys_of("optimizer", "sgd")
@dataclass(kw_only=True, slots=True)
class SGDConfig(OptimizerConfig):
    """`sgd`: stochastic gradient descent, with momentum above 0."""

    momentum: Annotated[float, BELOW_1]
    """Share of the previous step that is added to the next one."""
    dampening: Annotated[float, BELOW_1]
    """Share of the gradient that is left out of the momentum."""
    nesterov: bool
    """Use Nesterov's momentum."""

    def check(self) -> None:
        """Check the name and that Nesterov's momentum has one; raises a `ComposerError`."""
        OptimizerConfig.check(self)
        possible = self.momentum > 0 and self.dampening == 0
        limit = "false unless optimizer.momentum is above 0 and optimizer.dampening 0"
        self.require(possible or not self.nesterov, "nesterov", limit)


@keys_of("optimizer", "adagrad")
@dataclass(kw_only=True, slots=True)
class AdagradConfig(OptimizerConfig):
    """`adagrad`: rates divided by the root of the sum of squared gradients (Duchi et al. 2011)."""

    lr_decay: Annotated[float, NOT_NEGATIVE]
    """Decay of the learning rate: it is divided by 1 + step * lr_decay."""
    initial_accumulator_value: Annotated[float, NOT_NEGATIVE]
    """Value that the sums of squared gradients start from."""
    eps: Annotated[float, FINITE_ABOVE_0]
    """Term that is added to the denominator for numerical stability."""


@keys_of("optimizer", "muon")
@dataclass(kw_only=True, slots=True)
class MuonConfig(AdamConfig):
    """`muon`: orthogonalised momentum for the matrices of the layers, AdamW for all other parameters (Jordan 2024).

    `beta1`, `beta2` and `eps` are AdamW's. The update of a matrix is scaled to the size of AdamW's, so that one
    learning rate serves both.
    """

    momentum: Annotated[float, BELOW_1]
    """Decay of the running mean of a matrix's gradient."""
    nesterov: bool
    """Use Nesterov's momentum for the matrices."""
    ns_steps: Annotated[int, between(1, 20)]
    """Steps of the Newton-Schulz iteration that orthogonalises."""


class Interval(Enum):
    """When the learning rate moves."""

    epoch = "epoch"
    step = "step"


@dataclass(kw_only=True, slots=True)
class SchedulerConfig(Group):
    """Group `scheduler`: the learning rate over the training, as a factor of `optimizer.lr`."""

    prefix: ClassVar[str] = "scheduler."

    name: str
    """The schedule of the learning rate; `scheduler=NAME` sets it."""

    def check(self) -> None:
        """Check that the keys are those of the option named; raises a `ComposerError`."""
        check_name("scheduler", self)


@keys_of("scheduler", "none")
@dataclass(kw_only=True, slots=True)
class ConstantConfig(SchedulerConfig):
    """`none`: the learning rate stays."""


@keys_of("scheduler", "cosine")
@dataclass(kw_only=True, slots=True)
class CosineConfig(SchedulerConfig):
    """`cosine`: half a cosine from 1 to `final_factor` over the training."""

    final_factor: Annotated[float, _FACTOR]
    """Factor of the learning rate at the end of the training."""
    interval: Interval
    """Whether the rate changes after every `step` or every `epoch`."""


@keys_of("scheduler", "warmup_cosine")
@dataclass(kw_only=True, slots=True)
class WarmupCosineConfig(CosineConfig):
    """`warmup_cosine`: a straight line from `first_factor` to 1 over the warm-up, then `cosine` over the rest."""

    warmup_epochs: Annotated[float, NOT_NEGATIVE]
    """Epochs over which the learning rate rises."""
    first_factor: Annotated[float, _FACTOR]
    """Factor of the learning rate at the beginning."""


@keys_of("scheduler", "one_cycle")
@dataclass(kw_only=True, slots=True)
class OneCycleConfig(SchedulerConfig):
    """`one_cycle`: half a cosine up to 1, then one down to `final_factor` (Smith and Topin 2018; momentum stays)."""

    peak_at: Annotated[float, _FACTOR]
    """Share of the training that rises."""
    first_factor: Annotated[float, _FACTOR]
    """Factor of the learning rate at the beginning."""
    final_factor: Annotated[float, _FACTOR]
    """Factor of the learning rate at the end of the training."""
    interval: Interval
    """Whether the rate changes after every `step` or every `epoch`."""


@keys_of("scheduler", "step")
@dataclass(kw_only=True, slots=True)
class StepConfig(SchedulerConfig):
    """`step`: multiplied by `factor` after every `every_epochs` epochs."""

    every_epochs: Annotated[int, COUNT]
    """Epochs between two reductions of the learning rate."""
    factor: Annotated[float, UP_TO_1]
    """Factor of each reduction."""


@keys_of("scheduler", "plateau")
@dataclass(kw_only=True, slots=True)
class PlateauConfig(SchedulerConfig):
    """`plateau`: multiplied by `factor` when `loss/val` has not fallen for more than `patience` epochs."""

    factor: Annotated[float, BELOW_1]
    """Factor of each reduction of the learning rate."""
    patience: Annotated[int, at_least(0)]
    """Epochs without a lower `loss/val` before a reduction."""
    threshold: Annotated[float, NOT_NEGATIVE]
    """Share of the lowest `loss/val` by which it must fall to count."""
    cooldown: Annotated[int, at_least(0)]
    """Epochs after a reduction in which none are counted."""
    final_factor: Annotated[float, _FACTOR]
    """The factor falls no further."""
