"""Canaries: on random music nothing can be predicted, so that whatever is better than chance is a leak.

Every event draws its note, velocity and time from four classes each: chance is 3 ln 4 = 4.159 nats per event. A network
that trains far longer than is good for it can only do worse, unless it is told its validation targets.
"""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest

from composer.commands.train import start
from composer.config.compose import compose
from composer.config.training import Supervision
from composer.data.splits import Supervisable

Build = Callable[..., Path]

CHANCE = 3 * math.log(4)


@pytest.fixture
def random_music(midi_file: Build, tmp_path: Path) -> Callable[[int], Path]:
    """Makes a folder of so many random pieces, 480 events in all."""

    def build(pieces: int) -> Path:
        for number in range(pieces):
            rng = np.random.default_rng([7, number])
            track = [
                mido.Message("note_on", note=60 + note, velocity=32 * velocity + 31, time=120 * (time + 1))
                for note, velocity, time in rng.integers(0, 4, (480 // pieces, 3)).tolist()
            ]
            midi_file([track], name=f"random/{number}.mid")
        return tmp_path / "random"

    return build


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
@pytest.mark.parametrize(
    ("split", "supervision", "masked", "leaks"),
    [
        # What the article's split does as soon as the loss is taken at every position of a window: nearly every
        # validation target is trained on inside some training window.
        ("shuffled", Supervision.every, False, True),
        # The mask takes that away, and with the loss at the last position alone, the article's, it never was there:
        # the network reads the validation targets, but nothing asks it to predict them.
        ("shuffled", Supervision.every, True, False),
        ("shuffled", Supervision.last, True, False),
        ("blocked", Supervision.every, False, False),
        pytest.param("blocked", Supervision.last, True, False, marks=pytest.mark.nightly),
        pytest.param("by_piece", Supervision.every, False, False, marks=pytest.mark.nightly),
        ("by_piece", Supervision.last, True, False),
    ],
)
def test_only_a_leak_beats_chance_on_random_music(
    split: str,
    supervision: Supervision,
    masked: bool,
    leaks: bool,
    random_music: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class NothingMasked(Supervisable):
        def __getitem__(self, positions: np.ndarray) -> np.ndarray:
            return np.ones(positions.shape, np.bool_)

    if not masked:
        monkeypatch.setattr("composer.data.datamodule.Supervisable", NothingMasked)
    config = compose(
        "data=midi",
        f"data.path={random_music(6 if split == 'by_piece' else 1)}",
        f"data.split={split}",
        f"loss.supervision={supervision.name}",
        *["data.window_size=8", "data.val_fraction=0.25", "data.test_fraction=0", "encoding.time_binning=quantile"],
        *["model.hidden_size=64", "model.dropout=0", "regularizer=none", "optimizer.lr=0.01", "trainer.max_epochs=50"],
        *[
            "trainer.threads=1",
            "trainer.progress_bar=false",
            "sampling.events=1",
            "sampling_grid.pieces=0",
            "logging.sample_media=false",
        ],
    )
    logging = dataclasses.replace(config.logging, histogram_every_epochs=None)
    summary = start(dataclasses.replace(config, logging=logging), tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        epochs = [float(row["loss/val"]) for row in csv.DictReader(stream)]
    # It learned its training events by heart, or was about to.
    assert summary["loss/train"] < CHANCE - 0.2
    if leaks:
        assert summary["loss/val"] < CHANCE - 0.3
    else:
        assert summary["loss/val"] >= CHANCE - 0.02
        # Nor does the epoch that is picked for its validation loss, beyond what picking the luckiest brings.
        assert min(epochs) >= CHANCE - 0.05

    # The report says what the split is worth, with or without the loss at every position.
    said = capsys.readouterr().out
    if split == "shuffled":
        assert summary["leak_rate"] > 0.95
        assert "val figures measure how well gaps in training passages are filled" in said
    else:
        assert summary["leak_rate"] == 0
        assert "training has not seen" in said
    assert (summary["leak_rate_content"], summary["leak_rate_transposed"]) == (0, 0)
