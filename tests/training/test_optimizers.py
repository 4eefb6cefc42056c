"""Optimisers and schedules: state that can be restored, and rates at known positions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Muon, Optimizer

from composer import registry
from composer.config.compose import compose
from composer.config.optimizers import CosineConfig, Interval, OneCycleConfig, PlateauConfig, StepConfig
from composer.config.optimizers import WarmupCosineConfig as Warmup
from composer.errors import ComposerError

# Importing them registers what implements the names.
from composer.training import loggers, named_callbacks  # noqa: F401
from composer.training.optimizers import MuonAndAdamW, make_optimizer, state_shapes
from composer.training.schedules import Course, PlateauSchedule, PositionSchedule, make_schedule

OPTIMIZERS = ("adagrad", "adam", "adamw", "muon", "nadam", "radam", "sgd")
COURSE = Course(10, lambda: 4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"hidden": nn.Linear(4, 6), "linear": nn.Linear(6, 3)})


def step(module: nn.Module, optimizer: Optimizer) -> None:
    for k, parameter in enumerate(module.parameters()):
        parameter.grad = torch.cos(parameter.detach() * (k + 1))
    optimizer.step()


def test_every_optimiser_has_keys_and_a_class() -> None:
    assert tuple(registry.names("optimizer")) == OPTIMIZERS
    for kind in ("optimizer", "scheduler", "logger", "callbacks"):
        assert all(registry.part(kind, name) for name in registry.names(kind))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_on_from_its_state(name: str) -> None:
    config = compose(f"optimizer={name}").optimizer
    one, two = network(), network()
    whole, first = make_optimizer(config, one.named_parameters()), make_optimizer(config, two.named_parameters())
    step(one, whole)
    step(two, first)
    second = make_optimizer(config, two.named_parameters())
    second.load_state_dict(first.state_dict())
    for module, optimizer in ((one, whole), (two, second)):
        step(module, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    state = second.state_dict()["state"]
    shapes = state_shapes(config, two.named_parameters())
    assert [set(shapes[k]) for k in sorted(state)] == [
        {key for key, value in state[k].items() if value is not None} for k in sorted(state)
    ]


def test_muon_takes_the_matrices_of_layers_only() -> None:
    config = compose("optimizer=muon").optimizer
    module = network()
    optimizer = make_optimizer(config, module.named_parameters())
    assert isinstance(optimizer, MuonAndAdamW)
    muon, adamw = optimizer._inner
    assert isinstance(muon, Muon)
    assert [tuple(p.shape) for p in muon.param_groups[0]["params"]] == [(6, 4)]
    assert len(adamw.param_groups[0]["params"]) == 3
    optimizer.param_groups[0]["lr"] = 0.0
    before = module["hidden"].weight.detach().clone()  # type: ignore[index]
    step(module, optimizer)
    assert torch.equal(before, module["hidden"].weight)  # type: ignore[index]


def rates(config: Any, positions: list[tuple[int, int]]) -> list[float]:
    schedule = make_schedule(config, SGD(network().parameters(), 2.0), COURSE)
    assert isinstance(schedule, PositionSchedule)
    found = []
    for epoch, number in positions:
        schedule.move_to(epoch, number)
        found.append(schedule.get_last_lr()[0])
    return found


def test_rates_at_known_positions() -> None:
    cosine = CosineConfig(name="cosine", final_factor=0.0, interval=Interval.epoch)
    assert rates(cosine, [(0, 0), (5, 20), (10, 40)]) == pytest.approx([2.0, 1.0, 0.0])
    warmup = Warmup(name="warmup_cosine", final_factor=0.1, interval=Interval.step, warmup_epochs=2, first_factor=0.5)
    assert rates(warmup, [(0, 0), (1, 4), (2, 8), (6, 24), (10, 40)]) == pytest.approx([1.0, 1.5, 2.0, 1.1, 0.2])
    cycle = OneCycleConfig(name="one_cycle", peak_at=0.5, first_factor=0.1, final_factor=0.0, interval=Interval.step)
    assert rates(cycle, [(0, 0), (5, 20), (10, 40)]) == pytest.approx([0.2, 2.0, 0.0])
    steps = StepConfig(name="step", every_epochs=3, factor=0.5)
    assert rates(steps, [(0, 0), (2, 11), (3, 12), (6, 24)]) == pytest.approx([2.0, 2.0, 1.0, 0.5])


def test_a_warmup_longer_than_the_run_is_refused() -> None:
    config = Warmup(name="warmup_cosine", final_factor=0, interval=Interval.step, warmup_epochs=10, first_factor=0)
    with pytest.raises(ComposerError, match="^scheduler.warmup_epochs=10: must be less than the 10 epochs of the run$"):
        rates(config, [])
    with pytest.raises(ComposerError, match="needs the number of epochs"):
        make_schedule(config, SGD(network().parameters(), 1.0), Course(None, lambda: 1))


def test_a_plateau_halves_the_rate_and_goes_on_from_its_state() -> None:
    config = PlateauConfig(name="plateau", factor=0.5, patience=1, threshold=0.0, cooldown=0, final_factor=0.1)
    schedule = make_schedule(config, SGD(network().parameters(), 1.0), COURSE)
    assert isinstance(schedule, PlateauSchedule)
    for loss in (3.0, 3.0, None, math.nan):
        schedule.move(loss)
    assert schedule.get_last_lr() == [1.0]
    other = make_schedule(config, SGD(network().parameters(), 1.0), COURSE)
    assert isinstance(other, PlateauSchedule)
    other.load_state_dict(schedule.state_dict())
    other.move(3.0)
    assert other.get_last_lr() == [0.5]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("optimizer.momentum=0.5",), "optimizer.momentum: is a key of optimizer=muon and optimizer=sgd"),
        (("optimizer=sgd", "optimizer.beta1=0.5"), "optimizer.beta1: is a key of optimizer=adam and"),
        (("optimizer=sgdm",), "optimizer=sgdm: optimizer is one of .*; did you mean sgd?"),
        (("optimizer=sgd", "optimizer.momentum=1"), "optimizer.momentum=1.0: must be at least 0 and less than 1"),
        (
            ("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"),
            "optimizer.nesterov=true: must be",
        ),
        (("optimizer.name=sgd",), "optimizer.name=sgd: has other keys; choose it as optimizer=sgd"),
        (("scheduler.warmup_epochs=1",), "scheduler.warmup_epochs: is a key of scheduler=warmup_cosine"),
    ],
)
def test_keys_of_another_option_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ComposerError, match=f"^{message}"):
        compose(*overrides)
