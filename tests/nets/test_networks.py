"""What every kind of network promises, whatever reads the events; and each against a slow reference."""

import math

import pytest
import torch
from torch import nn

from composer.config.compose import compose
from composer.errors import ComposerError
from composer.nets.build import AttentiveLSTM, Network, ThreeHeadGRU, ThreeHeadLSTM, ThreeHeadTransformer, build_model
from composer.nets.transformer import rotate
from composer.training.losses import nll, nll_every
from tests.references import forward_every

SIZES = (7, 6, 5)
# One of each kind, and of each way to build it.
KINDS = [
    "model=lstm",
    "model=lstm model.heads=chained",
    "model=lstm model.embedding_size=3 model.num_layers=2",
    "model=gru",
    "model=gru model.heads=chained model.num_layers=2",
    "model=transformer",
    "model=transformer model.heads=chained model.embedding_size=3",
    "model=attentive_lstm",
    "model=attentive_lstm model.heads=chained model.embedding_size=3 model.num_layers=2",
]
RECURRENT = [kind for kind in KINDS if kind.startswith(("model=lstm", "model=gru"))]
DROPPING = [
    "model=lstm model.weight_dropout=0.5",
    "model=gru model.weight_dropout=0.5 model.embedding_size=3",
    "model=lstm model.variational_dropout=0.5 model.num_layers=2",
    "model=gru model.variational_dropout=0.5 model.weight_dropout=0.5",
]


def network(overrides: str, sizes: tuple[int, int, int] = SIZES, hidden_size: int = 16) -> Network:
    torch.manual_seed(0)
    changes = [*overrides.split(), f"model.hidden_size={hidden_size}"]
    return build_model(compose(*changes).model, sizes)


def random_tokens(batch: int, length: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    channels = [torch.randint(0, size, (batch, length), generator=generator) for size in SIZES]
    return torch.stack(channels, dim=2).to(torch.uint8)


def test_a_config_names_the_kind() -> None:
    kinds = {
        "lstm": ThreeHeadLSTM,
        "gru": ThreeHeadGRU,
        "transformer": ThreeHeadTransformer,
        "attentive_lstm": AttentiveLSTM,
    }
    for name, kind in kinds.items():
        assert type(network(f"model={name}")) is kind


def test_the_kinds_have_about_as_many_parameters() -> None:
    counts = []
    for name in ("lstm", "gru", "transformer", "attentive_lstm"):
        model = build_model(compose(f"model={name}").model, (89, 128, 12))
        counts.append(sum(parameter.numel() for parameter in model.parameters()))
    assert counts[0] == 213_349
    assert all(abs(count / counts[0] - 1) < 0.1 for count in counts)


@pytest.mark.parametrize("overrides", KINDS)
def test_every_step_predicts_from_the_events_up_to_it_alone(overrides: str) -> None:
    model = network(overrides).double().eval()
    tokens, given = random_tokens(4, 9), random_tokens(4, 9, seed=2)
    steps = forward_every(model, tokens, given)
    for length in range(1, 10):
        last = model(tokens[:, :length], given[:, length - 1])
        for step, one in zip(steps, last, strict=True):
            torch.testing.assert_close(step[:, length - 1], one)


@pytest.mark.parametrize("overrides", KINDS)
def test_heads_have_channel_sizes_and_all_weights_gradients(overrides: str) -> None:
    model = network(overrides)
    windows = random_tokens(32, 9)
    steps = forward_every(model, windows[:, :-1], windows[:, 1:])
    assert [tuple(head.shape) for head in steps] == [(32, 8, size) for size in SIZES]
    mask = torch.ones(32, 8, dtype=torch.bool)
    nll_every(steps, windows[:, 1:], mask).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.slow
@pytest.mark.parametrize("overrides", KINDS)
@pytest.mark.parametrize("inputs", ["drop_note", "drop_velocity", "drop_time"])
def test_a_dropped_channel_says_nothing_to_any_kind(overrides: str, inputs: str) -> None:
    model = network(f"{overrides} model.inputs={inputs}").eval()
    tokens, given = random_tokens(4, 9), random_tokens(4, 1, seed=2)[:, 0]
    other = tokens.clone()
    channel = ["drop_note", "drop_velocity", "drop_time"].index(inputs)
    other[..., channel] = 0
    assert torch.equal(torch.cat(model(tokens, given), dim=1), torch.cat(model(other, given), dim=1))
    other = tokens.clone()
    other[..., (channel + 1) % 3] = 0
    assert not torch.equal(torch.cat(model(tokens, given), dim=1), torch.cat(model(other, given), dim=1))


# Chained heads


CHAINED = [kind for kind in KINDS if "chained" in kind]


@pytest.mark.parametrize("overrides", CHAINED)
def test_a_chained_channel_knows_those_before_it_and_no_other(overrides: str) -> None:
    model = network(overrides).eval()
    hidden = model.last_hidden(random_tokens(4, 9))
    given = random_tokens(4, 1, seed=2)[:, 0]
    before = model.heads(hidden, given)
    for channel in range(3):
        changed = given.clone()
        changed[:, channel] = (changed[:, channel] + 1) % SIZES[channel]
        after = model.heads(hidden, changed)
        same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
        assert same == [later <= channel for later in range(3)]


@pytest.mark.parametrize("overrides", CHAINED)
def test_chained_prediction_does_not_use_the_target(overrides: str) -> None:
    model = network(overrides).eval()
    hidden = model.last_hidden(random_tokens(20, 9))
    event = torch.zeros(20, 3, dtype=torch.long)
    for channel in range(3):
        event[:, channel] = model.heads(hidden, event)[channel].argmax(-1)
    for target_seed in (2, 3):
        logits = model.heads(hidden, random_tokens(20, 1, seed=target_seed)[:, 0])
        predicted = torch.stack([channel.argmax(-1) for channel in model.prediction(hidden, logits)], dim=1)
        assert torch.equal(predicted, event)
    # The true note would say more: the predictions differ from it here, or the test would show nothing.
    told = torch.stack([channel.argmax(-1) for channel in logits], dim=1)
    assert not torch.equal(told, event)


@pytest.mark.parametrize("overrides", CHAINED)
def test_the_chain_of_probabilities_sums_to_one_over_all_events(overrides: str) -> None:
    model = network(overrides).double().eval()
    hidden = model.last_hidden(random_tokens(1, 9)).detach()
    grids = torch.meshgrid(*(torch.arange(size) for size in SIZES), indexing="ij")
    events = torch.stack([grid.flatten() for grid in grids], dim=1)
    logits = model.heads(hidden.expand(len(events), -1), events)
    parts = [channel.detach().log_softmax(-1).gather(1, events[:, k, None])[:, 0] for k, channel in enumerate(logits)]
    assert float(torch.stack(parts).sum(0).exp().sum()) == pytest.approx(1)
    # And the three losses are its parts.
    for event in range(0, len(events), 17):
        one = nll(model.heads(hidden, events[event, None]), events[event, None])
        assert one.tolist() == pytest.approx([-float(part[event]) for part in parts])


def test_independent_heads_do_not_look_at_the_event() -> None:
    model = network("model=lstm").eval()
    hidden = model.last_hidden(random_tokens(4, 9))
    logits = model.heads(hidden, random_tokens(4, 1)[:, 0])
    assert torch.equal(logits.velocity, model.heads(hidden).velocity)
    assert model.prediction(hidden, logits) is logits


@pytest.mark.slow
def test_chained_heads_learn_what_independent_ones_cannot() -> None:
    # Velocity and time repeat the note's class, and the note is anyone's guess.
    notes = torch.randint(0, 5, (1024, 4, 1), generator=torch.Generator().manual_seed(0))
    windows, unseen = notes.expand(-1, -1, 3).chunk(2)
    losses = {}
    for heads in ("independent", "chained"):
        model = network(f"model=lstm model.dropout=0 model.heads={heads}", (5, 5, 5), hidden_size=8)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            loss = nll(model(windows[:, :-1], windows[:, -1]), windows[:, -1]).sum()
            loss.backward()
            optimizer.step()
        losses[heads] = float(nll(model(unseen[:, :-1], unseen[:, -1]), unseen[:, -1]).sum().detach())
    assert losses["chained"] < 1.5 * math.log(5)
    assert losses["independent"] > 2.9 * math.log(5)


# The GRU, embeddings and dropout


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_gru_is_torchs(num_layers: int) -> None:
    model = network(f"model=gru model.num_layers={num_layers}").eval()
    assert isinstance(model, ThreeHeadGRU)
    reference = nn.GRU(sum(SIZES), 16, num_layers, batch_first=True)
    reference.load_state_dict(model.gru.state_dict())
    tokens = random_tokens(5, 7)
    expected = model.linear(reference(model.one_hot(tokens))[0][:, -1])
    torch.testing.assert_close(torch.cat(model(tokens), dim=1), expected)


@pytest.mark.parametrize("overrides", RECURRENT)
def test_stepping_event_by_event_equals_reading_all_at_once(overrides: str) -> None:
    model = network(overrides).double().eval()
    assert isinstance(model, ThreeHeadLSTM | ThreeHeadGRU)
    tokens = random_tokens(3, 9)
    state = None
    for k in range(9):
        hidden, state = model.cell(tokens[:, k], state)
        torch.testing.assert_close(hidden, model.encode(tokens[:, : k + 1])[:, -1])


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("overrides", RECURRENT)
def test_reading_on_from_a_state_equals_reading_all_at_once(overrides: str, unrolled: bool) -> None:
    model = network(overrides).double().eval()
    assert isinstance(model, ThreeHeadLSTM | ThreeHeadGRU)
    read = model.unrolled if unrolled else model.encode_from
    model.variational_dropout = 0.0
    tokens = random_tokens(3, 9)
    first, state = read(tokens[:, :4], model.empty_state(3))
    rest, _ = read(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), model.encode(tokens))


def test_an_embedding_is_a_row_a_class_side_by_side() -> None:
    model = network("model=lstm model.embedding_size=3").eval()
    assert model.embedding is not None
    tables = model.embedding.weight.split(SIZES)
    tokens = random_tokens(2, 4)
    embedded = model.embed(tokens)
    assert embedded.shape == (2, 4, 9)
    for k, table in enumerate(tables):
        assert torch.equal(embedded[..., 3 * k : 3 * k + 3], table[tokens[..., k].long()])


@pytest.mark.parametrize("overrides", DROPPING)
def test_dropout_acts_in_training_only_and_repeats_by_seed(overrides: str) -> None:
    model = network(f"{overrides} model.dropout=0")
    tokens = random_tokens(4, 9)

    def output(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat(model(tokens), dim=1)

    assert torch.equal(output(0), output(0))
    assert not torch.equal(output(0), output(1))
    plain = network(" ".join(part for part in overrides.split() if "_dropout" not in part) + " model.dropout=0")
    plain.load_state_dict(model.state_dict())
    model.eval()
    assert torch.equal(output(0), output(1))
    assert torch.equal(output(0), torch.cat(plain(tokens), dim=1))


@pytest.mark.parametrize("overrides", DROPPING)
def test_stepping_equals_torch_layers_without_dropout(overrides: str) -> None:
    model = network(f"{overrides} model.dropout=0").double()
    assert isinstance(model, ThreeHeadLSTM | ThreeHeadGRU)
    model.weight_dropout = model.variational_dropout = 0.0
    tokens = random_tokens(4, 9)
    hidden, _ = model.unrolled(tokens, model.empty_state(len(tokens)))
    torch.testing.assert_close(hidden, model.encode(tokens))


def test_weight_dropout_drops_same_recurrent_weights_per_batch() -> None:
    model = network("model=lstm model.weight_dropout=0.5 model.num_layers=2")
    assert isinstance(model, ThreeHeadLSTM)
    for k, (dropped, weight) in enumerate(zip(model.weights(), model.lstm.parameters(), strict=True)):
        if k % 4 == 1:
            kept = dropped != 0
            assert 0.4 < float(kept.float().mean()) < 0.6
            torch.testing.assert_close(dropped[kept], 2 * weight[kept])
        else:
            assert dropped is weight


def test_variational_dropout_drops_the_same_units_at_every_step() -> None:
    model = network("model=gru model.variational_dropout=0.5 model.dropout=0")
    assert isinstance(model, ThreeHeadGRU)
    mask = model._mask(torch.ones(200, 9, 16))
    assert mask.shape == (200, 1, 16)
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    # Windows of one event repeated: where every input of a window is dropped, it reads as if nothing were there.
    tokens = random_tokens(64, 1).expand(-1, 9, -1)
    with torch.no_grad():
        model.gru.weight_hh_l0.zero_()
        model.gru.bias_ih_l0.zero_()
        model.gru.bias_hh_l0.zero_()
        hidden, _ = model.unrolled(tokens, model.empty_state(len(tokens)))
    silent = (hidden == 0).all(-1)
    assert silent.any()
    assert torch.equal(silent, silent[:, :1].expand(-1, 9))


def test_a_transformers_heads_divide_its_width() -> None:
    with pytest.raises(
        ComposerError, match=r"^model\.hidden_size=12: must be a multiple of 2 \* model\.attention_heads=4"
    ):
        network("model=transformer", hidden_size=12)


# The Transformer


def test_rotation_makes_products_depend_on_distance_only() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(2))
    queries, keys = rotate(query.expand(12, 8)), rotate(key.expand(12, 8))
    torch.testing.assert_close(queries.norm(dim=-1), query.norm().expand(12), rtol=1e-6, atol=1e-6)
    products = queries @ keys.T
    for distance in range(-6, 7):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(products[0], products[0, :1].expand(12))


def test_attention_is_torchs() -> None:
    model = network("model=transformer").double().eval()
    assert isinstance(model, ThreeHeadTransformer)
    attention = model.blocks[0].attention
    x = torch.randn(3, 9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.into(x).chunk(3, dim=-1)
    query, key, value = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in (query, key, value))
    mixed = nn.functional.scaled_dot_product_attention(rotate(query), rotate(key), value, is_causal=True)
    expected = attention.out(mixed.transpose(1, 2).flatten(-2))
    torch.testing.assert_close(attention(x), expected)


def test_attention_looks_at_what_followed_earlier_steps() -> None:
    model = network("model=attentive_lstm").double().eval()
    assert isinstance(model, AttentiveLSTM)
    nn.init.normal_(model.sentinel)
    tokens = random_tokens(1, 7)
    inputs = model.embed(tokens)[0]
    states = model.lstm(inputs[None])[0][0]
    found = model.encode(tokens)[0]
    for step in range(7):
        added = []
        for head in (slice(0, 8), slice(8, 16)):
            query = model.query(states[step])[head]
            keys = [model.sentinel[0, head], *(model.key(states[s])[head] for s in range(step))]
            values = [model.sentinel[1, head], *(model.value(inputs[s + 1])[head] for s in range(step))]
            shares = torch.stack([query @ key / math.sqrt(8) for key in keys]).softmax(0)
            added.append(sum(share * value for share, value in zip(shares, values, strict=True)))
        expected = states[step] + model.out(torch.cat(added))
        torch.testing.assert_close(found[step], expected)


def test_the_chain_is_a_layer_over_hidden_and_one_hot_channels() -> None:
    model = network("model=lstm model.heads=chained").double().eval()
    assert model.chain is not None
    hidden, event = model.last_hidden(random_tokens(4, 9)), random_tokens(4, 1, seed=2)[:, 0].long()
    note, velocity = (nn.functional.one_hot(event[:, k], SIZES[k]).double() for k in range(2))
    expected = hidden + torch.tanh(model.chain.note(torch.cat([hidden, note], dim=1)))
    torch.testing.assert_close(model.chain.with_note(hidden, event[:, 0]), expected)
    expected = hidden + torch.tanh(model.chain.both(torch.cat([hidden, note, velocity], dim=1)))
    torch.testing.assert_close(model.chain.with_both(hidden, event[:, 0], event[:, 1]), expected)
