"""The network against plain `nn.LSTM` and `nn.Linear`."""

import pytest
import torch
from torch import nn

from composer.config.compose import compose
from composer.config.limits import CHANNELS
from composer.config.model import Inputs
from composer.nets.build import ThreeHeadLSTM
from tests.references import step

SIZES = (89, 128, 12)


def network(
    num_layers: int = 1, hidden_size: int = 16, dropout: float = 0.5, inputs: Inputs = Inputs.all
) -> ThreeHeadLSTM:
    torch.manual_seed(0)
    changes = [f"model.num_layers={num_layers}", f"model.dropout={dropout}", f"model.inputs={inputs.name}"]
    return ThreeHeadLSTM(compose(f"model.hidden_size={hidden_size}", *changes).model, SIZES)


def random_tokens(batch: int, length: int, sizes: tuple[int, int, int] = SIZES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = [torch.randint(0, size, (batch, length), generator=generator) for size in sizes]
    return torch.stack(channels, dim=2).to(torch.uint8)


@pytest.mark.parametrize("sizes", [SIZES, (3, 2, 1)], ids=["many columns in use", "few columns in use"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_weights_outputs_and_gradients_equal_nn_lstm(num_layers: int, sizes: tuple[int, int, int]) -> None:
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
        stepped, state = step(model, tokens[:, k], state)
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


# Inputs left out, and shuffled


def inputs_of(action: str) -> list[tuple[int, Inputs]]:
    return [(k, Inputs[f"{action}_{channel}"]) for k, channel in enumerate(CHANNELS)]


@pytest.mark.slow
@pytest.mark.parametrize(("channel", "inputs"), inputs_of("drop"), ids=CHANNELS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_dropped_channel_is_all_zeros_in_the_input(num_layers: int, channel: int, inputs: Inputs) -> None:
    model = network(num_layers, inputs=inputs).eval()
    tokens = random_tokens(5, 7)
    one_hot = [nn.functional.one_hot(tokens[:, :, k].long(), size).float() for k, size in enumerate(SIZES)]
    one_hot[channel].zero_()
    assert torch.equal(model.one_hot(tokens), torch.cat(one_hot, dim=2))
    expected = model.linear(model.lstm(torch.cat(one_hot, dim=2))[0][:, -1])
    actual = torch.cat(model(tokens), dim=1)
    torch.testing.assert_close(actual, expected)
    # The same weights and heads as ever, and nothing learnt about what is not seen.
    assert [tuple(p.shape) for p in model.parameters()] == [tuple(p.shape) for p in network(num_layers).parameters()]
    actual.square().sum().backward()
    gradient = model.lstm.weight_ih_l0.grad.split(SIZES, dim=1)
    assert [bool(part.any()) for part in gradient] == [k != channel for k in range(3)]

    other = tokens.clone()
    other[:, :, channel] = 1
    assert torch.equal(torch.cat(model(other), dim=1), actual)
    # Composing reads as training did.
    state = None
    for k in range(7):
        stepped, state = step(model, tokens[:, k], state)
    torch.testing.assert_close(torch.cat(stepped, dim=1), expected)


@pytest.mark.parametrize(("channel", "inputs"), inputs_of("shuffle"), ids=CHANNELS)
def test_shuffled_channel_keeps_values_and_others_unchanged(channel: int, inputs: Inputs) -> None:
    model = network(inputs=inputs)
    tokens = random_tokens(6, 9)
    before = tokens.clone()
    shuffled = model.shuffle(tokens, channel)
    assert torch.equal(tokens, before)
    assert shuffled.dtype == tokens.dtype
    for k in range(3):
        assert torch.equal(shuffled[..., k], tokens[..., k]) == (k != channel)
    assert torch.equal(shuffled[..., channel].flatten().sort()[0], tokens[..., channel].flatten().sort()[0])
    # Over the whole batch, not within each window.
    assert not torch.equal(shuffled[..., channel].sort(1)[0], tokens[..., channel].sort(1)[0])


@pytest.mark.parametrize(("channel", "inputs"), inputs_of("shuffle"), ids=CHANNELS)
def test_shuffle_is_seeded_in_training_and_fixed_in_evaluation(channel: int, inputs: Inputs) -> None:
    model = network(inputs=inputs, dropout=0.0)
    tokens = random_tokens(6, 9)

    def output(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat(model(tokens), dim=1)

    assert torch.equal(output(0), output(0))
    assert not torch.equal(output(0), output(1))
    model.eval()
    assert torch.equal(output(0), output(1))
    plain = network(dropout=0.0).eval()
    assert torch.equal(output(0), torch.cat(plain(model.shuffle(tokens, channel)), dim=1))
    # An event by itself is read as it stands.
    assert torch.equal(step(model, tokens[:, 0])[0].note, step(plain, tokens[:, 0])[0].note)
