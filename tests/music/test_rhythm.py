"""The share of inter-onset intervals on the grid of the beat, and the choice between score and performance."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig, TimeBinning, TimeUnit
from composer.corpus.corpus import read_corpus
from composer.data.encoded_rhythm import measure_rhythm
from composer.data.prepare import load_data
from composer.data.vocabulary import fit
from composer.music.events import Events, Piece, Timing, prelude_piece
from composer.music.rhythm import grid_of, grid_share, intervals, is_score


def melody(beats: list[float], *, unit: TimeUnit = TimeUnit.beats) -> Piece:
    """Notes struck at these intervals, each released at the next onset."""
    count = len(beats)
    pitch = np.repeat(60 + np.arange(count) % 12, 2)
    delta = np.stack([np.zeros(count), beats], axis=1).ravel()
    factor = 1.0 if unit is TimeUnit.beats else 0.5
    return Piece(
        "melody", Events(pitch.astype(np.uint8), np.tile([80, 0], count).astype(np.uint8), delta * factor, unit)
    )


def test_notes_struck_together_are_one_onset() -> None:
    assert intervals(np.array([0.0, 0.0, 1.0, 0.5, 1.0])).tolist() == [0.5, 0.5]


def test_grid_share_counts_multiples_of_a_twelfth() -> None:
    assert grid_share(np.array([1 / 12, 0.25, 1 / 3, 0.504, 0.51, 0.125])) == pytest.approx(4 / 6)
    assert grid_share(np.array([])) is None


@pytest.mark.parametrize(
    ("places", "grid"),
    [
        ([0.0, 0.25, 1.5], 4),
        ([0.0, 1 / 3, 0.5], 12),
        ([0.0, 0.125, 1 / 3], 24),
        ([0.0, 0.25, 0.331, 0.503], 12),
        ([0.0, 0.19], None),
        ([], None),
    ],
)
def test_the_grid_is_the_coarsest_that_notes_keep_to(places: list[float], grid: int | None) -> None:
    assert grid_of(np.array(places)) == grid


def test_random_intervals_are_on_the_grid_by_chance() -> None:
    drawn = np.random.default_rng(0).uniform(0, 4, 20_000)
    assert grid_share(drawn) == pytest.approx(0.12, abs=0.01)


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_scores_and_performances_are_told_apart(unit: TimeUnit) -> None:
    played = np.random.default_rng(1).uniform(0.1, 0.9, 200).tolist()
    assert is_score([melody([0.25, 0.5, 1 / 3, 0.125] * 50, unit=unit)])
    assert not is_score([melody(played, unit=unit)])
    assert not is_score([])


def test_smpte_files_have_no_beats() -> None:
    framed = Piece("framed", melody([0.5] * 40).events, Timing(division=-(25 << 8) | 40))
    assert not is_score([framed])


def test_the_articles_classes_cost_the_rhythm(
    data_config: Callable[..., DataConfig], encoding_config: Callable[..., EncodingConfig]
) -> None:
    """Equal intervals put all short times into one class where one pause is long."""
    piece = melody([0.25, 1 / 3, 0.5, 2 / 3] * 20 + [16.0], unit=TimeUnit.seconds)
    equal = encoding_config(time_unit=TimeUnit.seconds, time_binning=TimeBinning.equal_width, time_bins=10)
    distinct = encoding_config(time_unit=TimeUnit.seconds, time_binning=TimeBinning.distinct, time_bins=128)
    rhythms = [measure_rhythm([piece], fit(config, piece.events.delta_time)) for config in (equal, distinct)]
    assert rhythms[0] is not None
    assert rhythms[1] is not None
    assert rhythms[0].original == rhythms[1].original == 1.0
    assert rhythms[0].encoded < 0.2
    assert rhythms[1].encoded == 1.0


def test_the_embedded_piece_keeps_its_beat(
    data_config: Callable[..., DataConfig], encoding_config: Callable[..., EncodingConfig]
) -> None:
    music = load_data(data_config(), compose().encoding, seed=0)
    assert music.vocabulary.time_unit is TimeUnit.beats
    assert music.rhythm is not None
    assert (music.rhythm.original, music.rhythm.encoded) == (1.0, 1.0)
    assert grid_share(intervals(prelude_piece(TimeUnit.seconds).beats())) == 1.0


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("krebs.mid", TimeUnit.beats),
        ("fur-elise.mid", TimeUnit.beats),
        ("Funkytown.mid", TimeUnit.beats),
        ("Maestro_1.mid", TimeUnit.seconds),
        ("Maestro_3.mid", TimeUnit.seconds),
    ],
)
def test_real_files_choose_their_unit(
    shared_data: Path, data_config: Callable[..., DataConfig], encoding_config: Callable[..., EncodingConfig],
    name: str, unit: TimeUnit,
) -> None:  # fmt: skip
    data = data_config(source="midi", path=str(shared_data / name), part="all")
    assert read_corpus(data, compose().encoding).encoding.unit is unit


def test_krebs_loses_its_rhythm_to_the_articles_classes(
    shared_data: Path, data_config: Callable[..., DataConfig], encoding_config: Callable[..., EncodingConfig]
) -> None:
    data = data_config(source="midi", path=str(shared_data / "krebs.mid"), part="first", test_fraction=0.0)
    shares = []
    for encoding in (encoding_config(), compose().encoding):
        rhythm = load_data(data, encoding, seed=0).rhythm
        assert rhythm is not None
        shares.append(rhythm)
    article, by_the_music = shares
    assert article.original == by_the_music.original == by_the_music.encoded == pytest.approx(0.806, abs=0.001)
    assert article.encoded < 0.1
