"""The arms of every shipped ablation see the same: seeds, held-out targets, classes, and batches in the same order."""

import dataclasses
import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from composer.commands.train import start
from composer.config import keys
from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig
from composer.config.training import Supervision, TrainConfig
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import PreparedData, load_data

CONF = Path(__file__).resolve().parents[2] / "conf"
BATCHES = "training targets, batch by batch in two epochs"
# The search has no arms; those of `data_size` are trained on different music, and need music21 to read it.
UNPAIRED = ("search", "data_size")
ABLATIONS = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml") if path.stem not in UNPAIRED)


def arms_of(ablation: str) -> dict[str, list[int]]:
    """The seeds of each arm, as the sweeper makes the jobs; from the file alone, for a quick collection."""
    params = yaml.safe_load((CONF / "ablation" / f"{ablation}.yaml").read_text())["hydra"]["sweeper"]["params"]
    arms: dict[str, list[int]] = {}
    swept = keys.parse_overrides([f"{key}={value}" for key, value in params.items()])
    texts = [[f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()] for o in swept]
    for arm, seed in itertools.product(*texts):
        arms.setdefault(arm, []).append(int(seed.removeprefix("seed=")))
    return arms


# The last arm of each ablation, which is the farthest from the default; the others at night.
ARMS = [
    pytest.param(ablation, arm, marks=[] if arm == arms[-1] else [pytest.mark.nightly])
    for ablation in ABLATIONS
    for arms in [list(arms_of(ablation))]
    for arm in arms
]


@cache
def composed(ablation: str, arm: str) -> TrainConfig:
    config = compose(f"ablation={ablation}", arm)
    assert isinstance(config, TrainConfig)
    return config


_loaded: dict[str, PreparedData] = {}


def music_of(data: DataConfig, encoding: EncodingConfig, seed: int) -> PreparedData:
    """Most arms read the same data: once is enough."""
    key = repr((data, encoding, seed))
    if key not in _loaded:
        _loaded[key] = load_data(data, encoding, seed)
    return _loaded[key]


def seen(config: TrainConfig, seed: int) -> dict[str, Any]:
    """What a run is trained on and scored on, by position."""
    music = music_of(config.data, config.encoding, seed)
    module = MusicDataModule(music, config.data, seed, config.loss.supervision, config.augmentation)
    size, splits = config.data.window_size, music.splits
    order = module.train_dataloader().sampler
    batches = []
    # Streams have an order of their own.
    for epoch in (0, 1) if config.loss.supervision is not Supervision.stream else ():
        order.set_epoch(epoch)
        # With augmentation the numbers go on from one epoch to the next.
        batches.append([(splits.train[numbers % len(splits.train)] + size).tolist() for numbers in order])
    return {
        "classes": music.tokens[:].tolist(),
        "test targets": (splits.test.positions() + size).tolist(),
        "val targets": (splits.val.positions() + size).tolist(),
        BATCHES: batches,
    }


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_arms_of_an_ablation_are_paired(ablation: str) -> None:
    arms = arms_of(ablation)
    assert len(arms) >= 2
    seeds = [0, 1, 2, 3, 4]
    assert all(found == seeds for found in arms.values())
    for seed in seeds:
        found = [seen(composed(ablation, arm), seed) for arm in arms]
        if ablation == "split":
            # What the arms differ in is which windows validate, and so which train.
            assert found[0]["test targets"] == found[1]["test targets"]
            assert found[0]["val targets"] != found[1]["val targets"]
            continue
        if ablation == "stateful":
            # Here it is the order of what is trained on.
            assert [len(each.pop(BATCHES)) for each in found] == [2, 0]
        for arm, other in zip(list(arms)[1:], found[1:], strict=True):
            for name, value in other.items():
                assert value == found[0][name], (arm, seed, name)
        assert found[0]["test targets"]


def test_the_seeds_of_an_arm_differ() -> None:
    (arm, *_) = arms_of("l1")
    assert seen(composed("l1", arm), 0)[BATCHES] != seen(composed("l1", arm), 1)[BATCHES]


@pytest.mark.slow
@pytest.mark.parametrize(("ablation", "arm"), ARMS)
def test_every_arm_of_every_ablation_trains(ablation: str, arm: str, tmp_path: Path) -> None:
    config = composed(ablation, arm)
    small = 8 if ablation != "hidden_size" else config.model.hidden_size
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=512),
        model=dataclasses.replace(config.model, hidden_size=small),
        trainer=dataclasses.replace(config.trainer, max_epochs=1, threads=1, progress_bar=False),
        logging=dataclasses.replace(config.logging, sample_media=False),
        sampling=dataclasses.replace(config.sampling, events=5),
        sampling_grid=dataclasses.replace(config.sampling_grid, pieces=0),
    )
    summary = start(config, tmp_path / "run")
    assert (summary["status"], summary["epochs"]) == ("completed", 1)
    assert {"loss/train", "loss/val", "loss/test", "zeros/all", "small/all"} <= set(summary)
    assert len(list((tmp_path / "run" / "samples").glob("*.mid"))) == 1
