"""The network against plain `nn.LSTM` and `nn.Linear`."""

import pytest
import torch
from torch import nn

from composer.model import ThreeHeadLSTM
from composer.schema import ModelConfig

SIZES = (89, 128, 12)


def network(num_layers: int = 1, hidden_size: int = 16, dropout: float = 0.5) -> ThreeHeadLSTM:
    torch.manual_seed(0)
    return ThreeHeadLSTM(ModelConfig(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout), SIZES)


def random_tokens(batch: int, length: int, sizes: tuple[int, int, int] = SIZES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = [torch.randint(0, size, (batch, length), generator=generator) for size in sizes]
    return torch.stack(channels, dim=2).to(torch.uint8)


@pytest.mark.parametrize("sizes", [SIZES, (3, 2, 1)], ids=["many columns in use", "few columns in use"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_weights_outputs_and_gradients_are_those_of_nn_lstm_and_nn_linear(
    num_layers: int, sizes: tuple[int, int, int]
) -> None:
    model = network(num_layers).eval()
    lstm, linear = nn.LSTM(229, 16, num_layers, batch_first=True), nn.Linear(16, 229)
    lstm.load_state_dict(model.lstm.state_dict())
    linear.load_state_dict(model.linear.state_dict())
    tokens = random_tokens(5, 7, sizes)

    # The reference builds its input with one_hot and cat, the obvious way.
    one_hot = [nn.functional.one_hot(tokens[:, :, k].long(), size) for k, size in enumerate(SIZES)]
    hidden, _ = lstm(torch.cat(one_hot, dim=2).float())
    expected = linear(hidden[:, -1])
    actual = torch.cat(model(tokens), dim=1)
    torch.testing.assert_close(actual, expected)

    actual.square().sum().backward()
    expected.square().sum().backward()
    references = {f"lstm.{k}": p for k, p in lstm.named_parameters()}
    references |= {f"linear.{k}": p for k, p in linear.named_parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, references[name].grad, msg=name)


def test_the_article_has_213_349_parameters() -> None:
    # LSTM 4*128*(229 + 128 + 2), linear 128*229 + 229.
    assert sum(p.numel() for p in network(hidden_size=128).parameters()) == 213_349


@pytest.mark.parametrize("num_layers", [1, 2])
def test_stepping_event_by_event_equals_reading_all_at_once(num_layers: int) -> None:
    model = network(num_layers).eval()
    tokens = random_tokens(3, 9)
    state = None
    for k in range(9):
        stepped, state = model.step(tokens[:, k], state)
    for one, other in zip(stepped, model(tokens), strict=True):
        torch.testing.assert_close(one, other)


def test_each_head_has_its_channels_classes() -> None:
    heads = network()(random_tokens(4, 5))
    assert [tuple(head.shape) for head in heads] == [(4, 89), (4, 128), (4, 12)]


def test_dropout_acts_in_training_alone() -> None:
    model = network()
    tokens = random_tokens(2, 5)
    assert not torch.equal(model(tokens).note, model(tokens).note)
    model.eval()
    assert torch.equal(model(tokens).note, model(tokens).note)
