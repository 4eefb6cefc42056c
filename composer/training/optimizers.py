"""Optimisers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn import Parameter
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from composer.config.training import OptimizerConfig, OptimizerName, Schedule
from composer.errors import ComposerError


class EpochSchedule(LambdaLR):
    """A schedule that is a function of the epoch alone, so that a resumed run follows it whatever was saved."""

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        """Args: `factor` of the learning rate in an epoch, from 0."""
        super().__init__(optimizer, factor)

    def move_to(self, epoch: int) -> None:
        """Set the learning rate of an epoch."""
        self.last_epoch = epoch
        for group, base, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = base * factor(epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def make_optimizer(
    config: OptimizerConfig, parameters: Iterable[Parameter], *, lr: float | None = None, fused: bool = False
) -> Optimizer:
    """Return the optimiser of a config: Adam, as in the article, or AdamW.

    Args:
        config: name, learning rate and the optimiser's own values.
        parameters: what it updates.
        lr: in place of the config's.
        fused: use one kernel for the whole step.
    """
    kind = Adam if config.name is OptimizerName.adam else AdamW
    return kind(
        parameters,
        lr=config.lr if lr is None else lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True if fused else None,
    )


def state_shapes(config: OptimizerConfig, parameters: Iterable[Parameter]) -> list[dict[str, tuple[int, ...]]]:
    """Return the shape of each tensor that the optimiser of a config keeps, by parameter and name, after a step."""
    copies = [Parameter(torch.zeros_like(parameter, device="cpu")) for parameter in parameters]
    for parameter in copies:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = make_optimizer(config, copies)
    optimizer.step()
    kept = (optimizer.state[parameter] for parameter in copies)
    return [{name: tuple(np.shape(value)) for name, value in state.items() if value is not None} for state in kept]


def make_schedule(config: OptimizerConfig, optimizer: Optimizer, max_epochs: int | None) -> EpochSchedule | None:
    """Return the schedule of a config over `max_epochs`; None for a constant learning rate.

    `cosine` falls from `lr` to 0 (Loshchilov and Hutter 2017, equation 5 without restarts).

    Raises:
        ComposerError: the schedule ends with the epochs, and their number is not known.
    """
    if config.schedule is Schedule.constant:
        return None
    if max_epochs is None or max_epochs < 1:
        raise ComposerError(f"optimizer.schedule={config.schedule.name}: needs the number of epochs; give max_epochs")
    return EpochSchedule(optimizer, lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / max_epochs)))
