"""Composing's fast ways against slow ones; modes, methods and cuts; pieces that do not depend on their neighbours."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from composer.composing.beam import BeamSearch
from composer.composing.named_rules import Scope, make_rules
from composer.composing.rules import silence
from composer.composing.sampling import Cut, Session, cuts, cuts_of_each, masked, probabilities, unsmoothed
from composer.composing.setting import Setting
from composer.config.compose import compose
from composer.config.sampling import Mode, SamplingConfig
from composer.errors import ComposerError
from composer.nets import stepping
from composer.nets.build import Network, build_model
from composer.training.losses import nll

SIZES = (5, 4, 3)
NETWORKS = [
    "",
    "model.inputs=drop_note model.num_layers=3 model.embedding_size=3",
    "model.heads=chained",
    "model=gru model.num_layers=2",
    "model=gru model.inputs=drop_velocity model.embedding_size=2 model.heads=chained",
]
CARRYING_NOTHING = ["model=transformer", "model=transformer model.heads=chained", "model=attentive_lstm"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in composing: on a busy machine steps so small take far longer by two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sampling(**changes: object) -> SamplingConfig:
    return dataclasses.replace(compose().sampling, **changes)  # type: ignore[arg-type]


def network(overrides: str = "", hidden_size: int = 8, sizes: tuple[int, int, int] = SIZES) -> Network:
    torch.manual_seed(0)
    return build_model(compose(*overrides.split(), f"model.hidden_size={hidden_size}").model, sizes).eval()


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in range(count)]


def random_events(batch: int, length: int, sizes: tuple[int, int, int] = SIZES) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.stack([torch.randint(0, size, (batch, length), generator=generator) for size in sizes], dim=2)


@pytest.fixture(params=[None, 1])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of all blocks at once, and of one block after the other."""
    if request.param is not None:
        monkeypatch.setattr(stepping, "_MAX_PRODUCT_SIZE", request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("overrides", NETWORKS)
def test_single_steps_read_what_whole_windows_read(overrides: str) -> None:
    model, events = network(overrides, hidden_size=7).double(), random_events(3, 20)
    with torch.no_grad():
        window, running = model.window(events[:, :6]), model.running(events[:, :0])
        partial = model.window(events[:, :0], 6)
        for k in range(20):
            running.read(events[:, k])
            partial.read(events[:, k])
            assert torch.allclose(running.hidden, model.encode(events[:, : k + 1])[:, -1], atol=1e-12)
            assert torch.allclose(partial.hidden, model.encode(events[:, max(0, k - 5) : k + 1])[:, -1], atol=1e-12)
            if k >= 6:
                window.read(events[:, k])
                assert torch.allclose(window.hidden, model.encode(events[:, k - 5 : k + 1])[:, -1], atol=1e-12)


@pytest.mark.parametrize("overrides", [*NETWORKS, "model=transformer"])
def test_windows_go_on_with_chosen_pieces(overrides: str) -> None:
    model, events = network(overrides), random_events(3, 9)
    chosen = torch.tensor([2, 0, 2])
    with torch.no_grad():
        kinds = [model.window] if overrides == "model=transformer" else [model.window, model.running]
        for kind in kinds:
            one, other = kind(events[:, :6]), kind(events[chosen, :6])
            one.select(chosen)
            assert torch.equal(one.hidden, other.hidden)
            for k in range(6, 9):
                one.read(events[:, k])
                other.read(events[:, k])
                assert torch.equal(one.hidden, other.hidden)


def test_a_transformer_has_no_running_state() -> None:
    with pytest.raises(ComposerError, match="mode=stateful: this network keeps no state"):
        Session(network("model=transformer"), random_events(1, 6), sampling(mode=Mode.stateful), generators(1))


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [*NETWORKS, *CARRYING_NOTHING])
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    "hidden_size", [40, pytest.param(8, marks=pytest.mark.nightly), pytest.param(104, marks=pytest.mark.nightly)]
)
def test_piece_is_bit_identical_in_any_batch(
    overrides: str, mode: Mode, hidden_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a batch is stepped in several parts, the last of them smaller.
    monkeypatch.setattr(stepping, "_MAX_PRODUCT_SIZE", 6 * 16 * 4 * hidden_size)
    if overrides in CARRYING_NOTHING and mode is Mode.stateful:
        pytest.skip("has no running state")
    sizes = (89, 128, 12)
    model = network(overrides, hidden_size, sizes)
    seen = {}
    for batch in (1, 3, 17):
        primer = random_events(1, 10, sizes).expand(batch, -1, -1)
        session = Session(model, primer, sampling(mode=mode), generators(batch))
        session.take(12)
        with torch.no_grad():
            logits = session.readout.channels(session.window.hidden)(0, torch.zeros(batch, 3))
        seen[batch] = (session.window.hidden, logits)
    for batch, (hidden, logits) in seen.items():
        assert torch.equal(hidden[:1], seen[1][0]), batch
        assert torch.equal(logits[:1], seen[1][1]), batch
        assert torch.equal(hidden, seen[17][0][:batch]), batch


@pytest.mark.parametrize(("ruled", "changes"), [(False, {"velocity_top_k": 9}), (True, {}), (True, {"top_p": 0.9})])
def test_channel_by_channel_draws_what_all_channels_at_once_draw(ruled: bool, changes: dict[str, object]) -> None:
    model, primer = network(sizes=(89, 128, 12)), random_events(2, 6, (89, 128, 12))
    times = torch.arange(12, dtype=torch.float64)
    # Rules that never forbid anything, and cuts that differ but cut nothing.
    config = sampling(**changes)
    loose = dataclasses.replace(config, polyphony=89 if ruled else None)
    loose = dataclasses.replace(loose, velocity_top_k=128 if not ruled else None)
    limits = make_rules(Scope(loose, 89, 24, times, 1.0))
    slow = Session(model, primer, loose, generators(2), rules=limits, playing=silence(2, 89))
    fast = Session(model, primer, dataclasses.replace(config, velocity_top_k=None), generators(2))
    assert fast.together
    assert not slow.together
    assert torch.equal(fast.take(50), slow.take(50))


# Label smoothing


@given(weights=st.lists(st.floats(0, 1), min_size=2, max_size=20).filter(any), smoothing=st.floats(0.001, 0.9))
def test_smoothing_is_removed_exactly(weights: list[float], smoothing: float) -> None:
    p = torch.tensor(weights, dtype=torch.float64)
    p = p / p.sum()
    q = (1 - smoothing) * p + smoothing / len(p)
    for logits in (q.log(), q.log() + 7):
        found = torch.softmax(unsmoothed(logits, smoothing), -1)
        assert torch.allclose(found, p, atol=1e-9)
        assert bool((found > 0).all()), "a rule may leave any class alone"


def test_without_smoothing_the_logits_are_returned_as_they_are() -> None:
    logits = torch.randn(3, 5)
    assert unsmoothed(logits, 0.0) is logits


def test_what_training_with_smoothing_learns_is_undone() -> None:
    # Counts of the classes of a channel: the network's least loss with smoothed targets, found by gradient descent.
    counts = torch.tensor([60, 30, 10, 0, 0])
    targets = torch.repeat_interleave(torch.arange(5), counts)
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nll((logits.expand(100, -1),), targets[:, None], 0.1).sum()  # type: ignore[arg-type]
        value.backward()
        return value

    optimizer.step(loss)
    learned = logits.detach()
    assert torch.softmax(learned, -1)[3].item() == pytest.approx(0.02, abs=1e-6)
    assert torch.softmax(unsmoothed(learned, 0.1), -1).tolist() == pytest.approx([0.6, 0.3, 0.1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("overrides", ["", "model.heads=chained", "model=transformer model.heads=chained"])
@pytest.mark.parametrize("mode", list(Mode))
def test_every_draw_is_from_the_distribution_without_smoothing(overrides: str, mode: Mode) -> None:
    if "transformer" in overrides and mode is Mode.stateful:
        pytest.skip("has no running state")
    smoothing = 0.3
    model, primer = network(overrides).double(), random_events(1, 6)
    drawn = Session(model, primer, sampling(mode=mode), generators(1), smoothing=smoothing).take(12)[0].tolist()
    generator, events = torch.Generator().manual_seed(0), primer[0].tolist()
    for expected in drawn:
        uniform = torch.rand(3, dtype=torch.float64, generator=generator)
        event = [0, 0, 0]
        with torch.no_grad():
            read = model.encode(torch.tensor([events if mode is Mode.stateful else events[-6:]]))[:, -1]
            for k in range(3):
                q = torch.softmax(model.heads(read, torch.tensor([event]))[k], -1)
                p = ((q - smoothing / SIZES[k]) / (1 - smoothing)).clamp(min=0)
                event[k] = int((p.cumsum(-1) / p.sum() > uniform[k]).long().argmax())
        assert event == expected
        events.append(event)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", ["", "model.heads=chained"])
def test_a_beam_is_scored_without_smoothing(overrides: str) -> None:
    model, primer = network(overrides).double(), random_events(1, 4)
    search = BeamSearch(model, primer, sampling(method="beam", beams=1), smoothing=0.2)
    search.advance(1)
    event = search.rows()[0]
    with torch.no_grad():
        logits = model.heads(model.encode(primer)[:, -1], event)
        score = sum(float(torch.log_softmax(unsmoothed(logits[k], 0.2), -1)[0, event[0, k]]) for k in range(3))
    assert search.scores[0].item() == pytest.approx(score)


def test_rule_leaving_unlikely_classes_can_still_draw() -> None:
    # All of the probability is the smoothing's, but for class 0, which the mask forbids.
    logits = torch.tensor([[0.925, 0.025, 0.025, 0.025]]).log()
    allowed = torch.tensor([[False, True, True, False]])
    p = probabilities(masked(unsmoothed(logits, 0.1), allowed), 0.8, None, 0.9)
    assert p.tolist()[0] == pytest.approx([0, 0.5, 0.5, 0])


# Pieces with settings of their own


@pytest.mark.slow
@pytest.mark.parametrize("overrides", ["", "model.heads=chained", "model=transformer", "model=gru model.num_layers=2"])
def test_piece_with_own_setting_equals_session_with_it(overrides: str) -> None:
    model, primer = network(overrides).double(), random_events(1, 6).expand(3, -1, -1)
    each = [Setting(1.0, 1.0), Setting(0.5, 1.0), Setting(0.8, 0.6)]
    same = [torch.Generator().manual_seed(1) for _ in each]
    together = Session(model, primer, sampling(), same, settings=each).take(30)
    for piece, setting in zip(together, each, strict=True):
        config = sampling(temperature=setting.temperature, top_p=setting.top_p)
        alone = Session(model, primer[:1], config, [torch.Generator().manual_seed(1)]).take(30)
        assert torch.equal(piece, alone[0])


def test_a_channels_own_cut_holds_for_every_setting() -> None:
    config = sampling(note_top_p=0.5, time_top_k=2)
    note, velocity, time = cuts_of_each(config, [Setting(0.5, 1.0), Setting(1.0, 0.9)], torch.device("cpu"))
    assert torch.as_tensor(note.top_p).tolist() == [[0.5], [0.5]]
    # No sum of probabilities reaches 2: no cut.
    assert torch.as_tensor(velocity.top_p).tolist() == [[2.0], [0.9]]
    assert (velocity.top_k, time.top_k) == (None, 2)
    assert torch.as_tensor(time.temperature).tolist() == [[0.5], [1.0]]


def test_null_is_temperature_1_and_a_top_p_of_1_is_no_cut() -> None:
    assert cuts(sampling(temperature=None, top_p=None)) == (Cut(),) * 3
    assert cuts(sampling(temperature=1.0, top_p=1.0)) == (Cut(),) * 3


def test_min_p_keeps_what_is_near_the_likeliest() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert probabilities(logits, 1.0, None, None, 0.5).tolist()[0] == pytest.approx([5 / 8, 3 / 8, 0, 0])
    assert probabilities(logits, 1.0, None, None, 1.0).tolist()[0] == [1, 0, 0, 0]


def test_a_channel_has_its_own_cut_or_the_common_one() -> None:
    config = sampling(temperature=0.9, top_k=7, note_temperature=1.2, velocity_top_k=2, time_min_p=0.1)
    assert cuts(config) == (Cut(1.2, 7), Cut(0.9, 2), Cut(0.9, 7, None, 0.1))


def test_greedy_takes_the_likeliest_and_needs_no_seed() -> None:
    model, primer = network("model.heads=chained"), random_events(2, 6)
    config = sampling(method="greedy")
    one = Session(model, primer, config, generators(2)).take(20)
    other = Session(model, primer, config, generators(4)[2:]).take(20)
    almost = Session(model, primer, sampling(top_k=1), generators(2)).take(20)
    assert torch.equal(one, other)
    assert torch.equal(one, almost)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", ["", "model.heads=chained", "model=transformer model.heads=chained"])
def test_a_beam_wide_enough_finds_the_likeliest_of_all_pieces(overrides: str) -> None:
    sizes = (3, 2, 2)
    model, primer = network(overrides, sizes=sizes).double(), random_events(1, 4, sizes)
    # All 12 events: what the beam tries is then everything.
    config = sampling(method="beam", beams=12, temperature=0.5)
    search = BeamSearch(model, primer, config)
    search.advance(2)

    events = torch.tensor(list(itertools.product(range(3), range(2), range(2))))
    scores = {}
    for one, two in itertools.product(events, events):
        score = 0.0
        for before, event in ((primer[0], one), (torch.cat([primer[0, 1:], one[None]]), two)):
            with torch.no_grad():
                logits = model.heads(model.encode(before[None])[:, -1], event[None])
            score += sum(float(torch.log_softmax(logits[k] / 0.5, -1)[0, event[k]]) for k in range(3))
        scores[(*one.tolist(), *two.tolist())] = score
    best = sorted(scores, key=lambda piece: -scores[piece])
    rows = search.rows().flatten(1).tolist()
    assert tuple(rows[0]) == best[0]
    assert search.scores[0].item() == pytest.approx(scores[best[0]])
    for row, score in zip(rows, search.scores.tolist(), strict=True):
        assert score == pytest.approx(scores[tuple(row)])
    assert math.exp(search.scores[0].item()) > 0


@pytest.mark.slow
def test_beams_are_at_least_as_likely_as_the_greedy_piece() -> None:
    model, primer = network(), random_events(1, 6)
    greedy = Session(model, primer, sampling(method="greedy"), generators(1)).take(30)[0]
    narrow = BeamSearch(model, primer, sampling(method="beam", beams=1))
    wide = BeamSearch(model, primer, sampling(method="beam", beams=5))
    for search in (narrow, wide):
        search.advance(30)
    assert torch.equal(narrow.rows()[0], greedy.long())
    assert wide.scores[0] >= narrow.scores[0]
    assert len({tuple(row.flatten().tolist()) for row in wide.rows()}) == 5


@pytest.mark.slow
def test_a_session_goes_on_where_it_stopped() -> None:
    model, primer = network(), random_events(2, 6)
    whole = Session(model, primer, sampling(), generators(2)).take(150)
    session = Session(model, primer, sampling(), generators(2))
    assert torch.equal(torch.cat([session.take(70), session.take(80)], dim=1), whole)
