"""Losses, regularisers and metrics against their formulas."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from composer import registry
from composer.config.compose import compose
from composer.config.data import DataConfig
from composer.data.splits import Supervisable, split_windows
from composer.errors import ComposerError
from composer.nets.build import Logits, ThreeHeadLSTM
from composer.training.losses import nll, nll_every
from composer.training.metrics import MetricSums, score
from composer.training.regularizers import Regularizer, make_regularizer, sparsity
from tests.references import forward_every, windows_at


def two_layers() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    values = [[[1.0, -2.0], [0.0, 0.5]], [3.0, -1.0], [[-0.25, 4.0]], [0.0]]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value)
    return model


def regularizer(name: str, weight: float = 0.1, parameters: object = "all", l1_ratio: float = 0.5) -> Regularizer:
    values = {"name": name, "weight": weight, "parameters": parameters}
    ratio = {"l1_ratio": l1_ratio} if name == "elastic_net" else {}
    return make_regularizer(registry.keys("regularizer", name)(**values, **ratio), two_layers())


ABSOLUTE = 1 + 2 + 0.5 + 3 + 1 + 0.25 + 4
SQUARES = 1 + 4 + 0.25 + 9 + 1 + 0.0625 + 16


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 0.1 * ABSOLUTE),
        ("l2", 0.1 * SQUARES),
        ("elastic_net", 0.1 * (0.25 * ABSOLUTE + 0.75 / 2 * SQUARES)),
    ],
)
def test_penalties_follow_their_formulas(name: str, expected: float) -> None:
    penalty = regularizer(name, l1_ratio=0.25).penalty()
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["none", "proximal_l1"])
def test_none_and_proximal_add_no_term_to_the_loss(name: str) -> None:
    assert regularizer(name).penalty() is None


@pytest.mark.parametrize("name", ["l1", "l2", "elastic_net", "proximal_l1"])
def test_a_weight_of_zero_adds_nothing_at_all(name: str) -> None:
    chosen = regularizer(name, weight=0.0)
    assert not chosen.active
    assert chosen.value() == 0


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ("all", ["0.weight", "0.bias", "1.weight", "1.bias"]),
        ("weights", ["0.weight", "1.weight"]),
        (["1.*"], ["1.weight", "1.bias"]),
        (["*.bias", "0.w*"], ["0.bias", "1.bias", "0.weight"]),
    ],
)
def test_which_parameters_are_touched_is_explicit(parameters: object, names: list[str]) -> None:
    assert list(regularizer("l1", parameters=parameters).parameters) == names


def test_pattern_without_match_lists_parameter_names() -> None:
    with pytest.raises(ComposerError, match=r"pattern linear\.\* matches no parameter; there are 0\.weight, 0\.bias"):
        regularizer("l1", parameters=["linear.*"])


def test_proximal_l1_is_the_soft_threshold() -> None:
    chosen = regularizer("proximal_l1", weight=10.0, parameters=["0.*"])
    chosen.after_step(lr=0.1)
    assert chosen.parameters["0.weight"].tolist() == [[0.0, -1.0], [0.0, 0.0]]
    assert chosen.parameters["0.bias"].tolist() == [2.0, 0.0]
    assert chosen.value() == pytest.approx(10 * (1 + 2))


def test_sparsity_counts_exact_zeros_and_small_weights() -> None:
    model = two_layers()
    with torch.no_grad():
        model[0].weight[0, 0] = 5e-4
    shares = sparsity(model)
    assert shares["0.weight"] == (0.25, 0.5)
    assert shares["1.bias"] == (1.0, 1.0)
    # Of the nine numbers of all four, two are zero and one more is small: not the mean of the tensors' shares.
    assert shares["all"] == (2 / 9, 3 / 9)


def test_nll_is_the_mean_over_the_batch_of_each_channel() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])
    channels = nll(Logits(p.log(), p.log(), p.log() + 3), torch.tensor([[0, 1, 2], [1, 2, 0]]))
    expected = [
        -(math.log(0.5) + math.log(0.125)) / 2,
        -(math.log(0.25) + math.log(0.75)) / 2,
        -(math.log(0.25) + math.log(0.125)) / 2,
    ]
    assert channels.tolist() == pytest.approx(expected)


def small_network(hidden_size: int = 8, dropout: float = 0.0) -> ThreeHeadLSTM:
    torch.manual_seed(0)
    config = compose(f"model.hidden_size={hidden_size}", f"model.dropout={dropout}").model
    return ThreeHeadLSTM(config, (5, 4, 3))


def random_windows(count: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = [torch.randint(0, size, (count, length), generator=generator) for size in (5, 4, 3)]
    return torch.stack(channels, dim=2).to(torch.uint8)


def test_the_loss_at_every_step_is_that_of_the_window_cut_there() -> None:
    model, windows = small_network().eval(), random_windows(6, 8)
    mask = torch.rand(6, 7, generator=torch.Generator().manual_seed(2)) < 0.6
    steps = forward_every(model, windows[:, :-1])
    actual = nll_every(steps, windows[:, 1:], mask)

    # The slow way: each supervised step of each window by itself.
    expected = torch.zeros(3)
    for row in range(6):
        for step in range(7):
            if mask[row, step]:
                cut = windows[row : row + 1, : step + 2]
                expected += nll(model(cut[:, :-1]), cut[:, -1])
    torch.testing.assert_close(actual, expected)
    actual.sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    expected.sum().backward()
    for one, other in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_masked_step_has_no_loss_and_no_gradient() -> None:
    windows = random_windows(4, 6)
    logits = Logits(*(torch.randn(4, 5, size, requires_grad=True) for size in (5, 4, 3)))
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[:, 2] = False
    nll_every(logits, windows[:, 1:], mask).sum().backward()
    for channel in logits:
        assert channel.grad is not None
        assert not channel.grad[:, 2].any()
        assert channel.grad[mask].any()
    assert nll_every(logits, windows[:, 1:], torch.zeros_like(mask)).tolist() == [0, 0, 0]


@pytest.mark.slow
def test_masked_targets_cannot_be_learnt_where_unmasked_ones_are(data_config: Callable[..., DataConfig]) -> None:
    # Random events: only who was trained on an event can know it.
    sizes, size = (5, 4, 3), 8
    tokens = random_windows(1, 120)[0].numpy()
    splits = split_windows([120], data_config(window_size=size, val_fraction=0.2, test_fraction=0.0), seed=0)
    masked = Supervisable(splits, size)[np.arange(120)]
    val = windows_at(tokens, splits.val.positions(), size)[np.arange(len(splits.val))]

    def val_loss(allowed: np.ndarray) -> float:
        model = small_network(hidden_size=48)
        windows, mask = windows_at(tokens, splits.train.positions(), size, allowed)[np.arange(len(splits.train))]
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            loss = nll_every(forward_every(model, windows[:, :-1]), windows[:, 1:], mask).sum() / mask.sum()
            loss.backward()
            optimizer.step()
        return score(model, [val], "val")["loss/val"]

    chance = sum(math.log(size) for size in sizes)
    assert val_loss(masked) > chance
    assert val_loss(np.ones(120, np.bool_)) < 0.2 * chance


def test_metrics_do_not_depend_on_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = Logits(*(torch.randn(17, size, generator=generator) for size in (5, 4, 3)))
    targets = torch.stack([torch.randint(0, size, (17,), generator=generator) for size in (5, 4, 3)], dim=1)
    whole, parts = MetricSums(), MetricSums()
    whole.add(logits, targets, nll(logits, targets))
    for rows in (slice(0, 3), slice(3, 16), slice(16, 17)):
        part = Logits(*(channel[rows] for channel in logits))
        parts.add(part, targets[rows], nll(part, targets[rows]))
    values = whole.values("val")
    assert parts.values("val") == pytest.approx(values)

    right = torch.stack([channel.argmax(1) for channel in logits], dim=1) == targets
    assert values["accuracy/val"] == pytest.approx(float(right.double().mean()))
    assert values["accuracy_joint/val"] == pytest.approx(float(right.all(1).double().mean()))
    assert values["accuracy_velocity/val"] == pytest.approx(float(right[:, 1].double().mean()))
    channels = [values[f"nll_{channel}/val"] for channel in ("note", "velocity", "time")]
    assert values["loss/val"] == pytest.approx(sum(channels))


def test_metrics_of_nothing_are_no_metrics() -> None:
    assert MetricSums().values("test") == {}


def test_score_switches_dropout_off_and_leaves_the_mode() -> None:
    model = small_network(dropout=0.5).train()
    batch = torch.randint(0, 3, (6, 4, 3), dtype=torch.uint8)
    first = score(model, [batch], "test")
    assert first == pytest.approx(score(model, [batch[:2], batch[2:]], "test"))
    assert model.training


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    smoothed = nll(Logits(p, p, p), torch.tensor([[0, 1, 2]]), smoothing=0.3)
    spread = 0.1 * -(math.log(0.5) + 2 * math.log(0.25))
    assert smoothed.tolist() == pytest.approx([0.7 * -math.log(q) + spread for q in (0.5, 0.25, 0.25)])
    mask = torch.tensor([[True, False]])
    logits = Logits(*(torch.stack([p, torch.zeros_like(p)], dim=1) for _ in range(3)))
    every = nll_every(logits, torch.tensor([[[0, 1, 2], [0, 0, 0]]]), mask, smoothing=0.3)
    torch.testing.assert_close(every, smoothed)
