"""The summary figure: its definition, and that it ranks pieces as the ear does."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from composer.commands.copying import of_run
from composer.commands.train import start
from composer.composing.composer import Composer
from composer.composing.setting import Setting
from composer.config.compose import compose
from composer.evaluation.distance import MAX_SPREADS, MIN_SPREADS, HumanMusic
from composer.evaluation.reference import ReferenceMusic
from composer.music.events import Piece
from composer.nets.build import build_model

ROWS = [{"on_grid": share, "polyphony": 2.0, "note_density": 4.0} for share in (0.6, 0.8, 0.9, 0.9)]


def test_distance_is_in_spreads_of_human_excerpts() -> None:
    human = HumanMusic([], ROWS)
    assert human.to == "held_out"
    spread = np.std([0.6, 0.8, 0.9, 0.9], ddof=1)
    found = human.distance([[{"on_grid": 0.5, "polyphony": 2.0 * 2**0.3}]])
    assert found is not None
    # Polyphony is compared as a logarithm, in the least spread of 0.2; what a piece lacks is left out.
    assert found.by_figure == pytest.approx({"on_grid": 0.3 / spread, "polyphony": 1.5})
    assert found.value == pytest.approx((0.3 / spread + 1.5) / 2)
    assert found.farthest == ["on_grid", "polyphony"]


def test_each_piece_counts_once_whatever_its_excerpts() -> None:
    human = HumanMusic([], [{"silence": 0.0}] * 4)
    one, other = [{"silence": 0.03}, {"silence": 0.09}], [{"silence": 0.0}]
    found = human.distance([one, other])
    assert found is not None
    assert found.value == pytest.approx((2 + 0) / 2)


def test_one_figure_is_capped() -> None:
    found = HumanMusic([], [{"silence": 0.0}] * 4).distance([[{"silence": 0.9}]])
    assert found is not None
    assert found.value == MAX_SPREADS


def test_excerpts_among_themselves_are_compared_with_the_others() -> None:
    rows = [{"pitch_range": value} for value in (20.0, 24.0, 28.0, 32.0)]
    spread = np.std([20, 24, 28, 32], ddof=1)
    apart = [abs(value - (104 - value) / 3) / spread for value in (20, 24, 28, 32)]
    assert HumanMusic([], rows).among() == pytest.approx(np.mean(apart))
    assert HumanMusic([], rows[:1]).among() is None


def test_copying_less_than_held_out_music_counts_half() -> None:
    human = HumanMusic([], [{"interval_8": 0.5}] * 4)
    more, less = (human.distance([[{"interval_8": share}]]) for share in (0.7, 0.3))
    assert more is not None
    assert less is not None
    assert (more.value, less.value) == (pytest.approx(2), pytest.approx(1))


def test_few_held_out_excerpts_are_joined_by_training_music() -> None:
    training = [{"silence": 0.0, "surprise": 1.0}] * 3
    human = HumanMusic(training, [{"silence": 0.2, "surprise": 9.0}])
    assert human.to == "held_out and training"
    found = human.distance([[{"silence": 0.05, "surprise": 9.0}]])
    assert found is not None
    # What compares with the training music is held against held-out music alone.
    assert found.by_figure == {"silence": 0, "surprise": 0}
    assert HumanMusic(training, []).to == "training"


def test_pieces_without_a_figure_have_no_distance() -> None:
    assert HumanMusic([], ROWS).distance([[{"unknown": 1.0}]]) is None
    assert all(value > 0 for value in MIN_SPREADS.values())


# A weak network will do: the recipes differ more than the trainings.
QUICK = (
    "regularizer=none", "loss.supervision=every", "trainer.max_epochs=12", "trainer.threads=1",
    "trainer.progress_bar=false", "sampling.events=30", "logging.sample_every_epochs=null",
    "sampling_grid.pieces=0", "logging.sample_media=false",
)  # fmt: skip


def held_out_piece(reference: ReferenceMusic) -> Piece:
    """The test block of a run on one piece, whose first event has its place in the piece."""
    starts, piece = reference.splits.test.positions(), reference.pieces[0]
    begin, end = int(starts.min()), int(starts.max()) + reference.data.window_size + 1
    delta_time = piece.events.delta_time[begin:end].copy()
    delta_time[0] = piece.events.delta_time[: begin + 1].sum()
    return dataclasses.replace(piece, events=dataclasses.replace(piece.events[begin:end], delta_time=delta_time))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prelude", pytest.param("fur-elise.mid", marks=pytest.mark.nightly)])
def test_pieces_are_ranked_as_the_ear_ranks_them(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    data = []
    if name != "prelude":
        data = ["data=midi", f"data.path={request.getfixturevalue('shared_data') / name}"]
    players = {}
    for kind, smoothing in (("smoothed", 0.1), ("good", 0.0)):
        start(compose(*QUICK, *data, f"loss.label_smoothing={smoothing}"), tmp_path / kind)
        players[kind] = Composer.load(tmp_path / kind)
    good = players["good"]
    torch.manual_seed(0)
    fresh = build_model(good.config.model, good.vocabulary.sizes)
    players["untrained"] = Composer(fresh, good.vocabulary, good.origin, good.config)
    reference, _ = of_run(tmp_path / "good")
    human = held_out_piece(reference)
    distances = [reference.distance([human])]
    assert reference.quality([human]).noise is None
    for kind in ("good", "smoothed", "untrained"):
        # The smoothed network is drawn from as it is, with the noise that composing removes.
        player, own = players[kind], kind == "good"
        player.config = dataclasses.replace(
            player.config, loss=dataclasses.replace(player.config.loss, label_smoothing=0.0)
        )
        setting = player.setting if own else Setting()
        sampling = dataclasses.replace(setting.fill(player.config.sampling), n=3, events=240)
        pieces = [composition.written for composition in player.compose(sampling, 0)]
        distances.append(reference.distance(pieces))
        assert kind == "good" or reference.quality(pieces).noise is not None
    values = [value for value in distances if value is not None]
    assert len(values) == 4
    # From near to far, each well farther than the one before.
    assert all(farther > 1.15 * nearer for nearer, farther in itertools.pairwise(values)), values
