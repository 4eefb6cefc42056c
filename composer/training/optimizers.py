"""Optimisers, by the name in the config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import Parameter
from torch.optim import SGD, Adagrad, Adam, AdamW, Muon, NAdam, Optimizer, RAdam

from composer import registry
from composer.config.optimizers import (
    AdagradConfig,
    AdamConfig,
    MuonConfig,
    NAdamConfig,
    OptimizerConfig,
    RAdamConfig,
    SGDConfig,
)
from composer.registry import implements

# Parameters of a network under their names.
Named = Sequence[tuple[str, Parameter]]


def make_optimizer(
    config: OptimizerConfig,
    named: Iterable[tuple[str, Parameter]],
    *,
    lr: float | None = None,
    fused: bool = False,
) -> Optimizer:
    """Return the optimiser of a config.

    Args:
        config: name, learning rate and the optimiser's own values.
        named: the parameters that it updates, with their names.
        lr: in place of the config's.
        fused: use one kernel for the whole step where the optimiser has one.
    """
    build = registry.part("optimizer", config.name)
    optimizer: Optimizer = build(config, list(named), config.lr if lr is None else lr, fused)
    return optimizer


def state_shapes(config: OptimizerConfig, named: Iterable[tuple[str, Parameter]]) -> list[dict[str, tuple[int, ...]]]:
    """Return the shape of each tensor that the optimiser of a config keeps after a step, by parameter and name.

    Parameters are in the order of the optimiser's groups, which is that of its state in a checkpoint.
    """
    copies = [(name, Parameter(torch.zeros_like(parameter, device="cpu"))) for name, parameter in named]
    for _, parameter in copies:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = make_optimizer(config, copies)
    optimizer.step()
    kept = (optimizer.state[parameter] for group in optimizer.param_groups for parameter in group["params"])
    return [{name: tuple(np.shape(value)) for name, value in state.items() if value is not None} for state in kept]


def _of(named: Named) -> list[Parameter]:
    return [parameter for _, parameter in named]


@implements("optimizer", "adam")
def _adam(config: AdamConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return Adam(_of(named), lr, fused=fused or None, **_adams(config))


@implements("optimizer", "adamw")
def _adamw(config: AdamConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return AdamW(_of(named), lr, fused=fused or None, **_adams(config))


def _adams(config: AdamConfig) -> dict[str, Any]:
    """Return the arguments that all optimisers of Adam's kind have."""
    return {"betas": (config.beta1, config.beta2), "eps": config.eps, "weight_decay": config.weight_decay}


@implements("optimizer", "radam")
def _radam(config: RAdamConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return RAdam(_of(named), lr, decoupled_weight_decay=config.decoupled_weight_decay, **_adams(config))


@implements("optimizer", "nadam")
def _nadam(config: NAdamConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return NAdam(
        _of(named),
        lr,
        momentum_decay=config.momentum_decay,
        decoupled_weight_decay=config.decoupled_weight_decay,
        **_adams(config),
    )


@implements("optimizer", "sgd")
def _sgd(config: SGDConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return SGD(
        _of(named),
        lr,
        momentum=config.momentum,
        dampening=config.dampening,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
        fused=fused or None,
    )


@implements("optimizer", "adagrad")
def _adagrad(config: AdagradConfig, named: Named, lr: float, fused: bool) -> Optimizer:
    return Adagrad(
        _of(named),
        lr,
        lr_decay=config.lr_decay,
        weight_decay=config.weight_decay,
        initial_accumulator_value=config.initial_accumulator_value,
        eps=config.eps,
        fused=fused or None,
    )


@implements("optimizer", "muon")
class MuonAndAdamW(Optimizer):
    """Muon for the matrices of the layers, AdamW for biases, embeddings and the output layer (Jordan 2024).

    One optimiser with two groups of parameters, so that Lightning, schedules and checkpoints see a usual one.
    """

    def __init__(self, config: MuonConfig, named: Named, lr: float, fused: bool = False) -> None:
        """Share the parameters out.

        Args:
            config: of both.
            named: parameters with their names; those of `embedding` and `linear`, the output layer, are AdamW's.
            lr: learning rate of both.
            fused: of AdamW.
        """
        layers = [p for name, p in named if p.ndim == 2 and name.split(".")[0] not in ("embedding", "linear")]
        taken = {id(parameter) for parameter in layers}
        others = [p for _, p in named if id(p) not in taken]
        self._inner: list[Optimizer] = []
        if layers:
            self._inner.append(
                Muon(
                    layers,
                    lr,
                    weight_decay=config.weight_decay,
                    momentum=config.momentum,
                    nesterov=config.nesterov,
                    ns_steps=config.ns_steps,
                    # Updates of the size of AdamW's (Liu et al. 2025), so that one rate serves both.
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            self._inner.append(AdamW(others, lr, fused=fused or None, **_adams(config)))
        super().__init__([group for inner in self._inner for group in inner.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let the two optimisers use the groups and the state of this one."""
        groups = iter(self.param_groups)
        for inner in self._inner:
            inner.param_groups = [next(groups) for _ in inner.param_groups]
            inner.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of both; returns what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for inner in self._inner:
            inner.step()
        return loss
