"""Choice of a run's temperature and top_p, from pieces composed with each setting of a small grid.

A few short pieces are composed with each setting from the same random numbers and compared with held-out music by
`ReferenceMusic.distance`. A setting whose pieces copy far more of the training music than held-out music does is not
chosen.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from composer.composing.composer import Composer
from composer.composing.setting import Setting, write_setting
from composer.config.sampling import SamplingConfig, SamplingGridConfig
from composer.config.training import TrainConfig
from composer.data.splits import split_rule
from composer.evaluation.reference import ReferenceMusic
from composer.music.events import Piece
from composer.runs import checkpoint as ckpt
from composer.runs.layout import BEST, CHECKPOINTS

# Copied runs of 8 notes above those of held-out music, as a share of all runs, that a setting may have.
MAX_COPIED_EXCESS = 0.1
_COPIED = "interval_8"
# Added to the run's seed, which is smaller: pieces that a user composes are never part of the choice.
_SEED_OFFSET = 1 << 32


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """Figures of the pieces that a run composes with one setting.

    Attributes:
        setting: temperature and top_p.
        distance: of its pieces from held-out music; None where it cannot be measured.
        copied: share of their runs of 8 notes that occur in the training music, transposed or not; None without any.
    """

    setting: Setting
    distance: float | None
    copied: float | None

    def to_plain(self) -> dict[str, float | None]:
        """Return the row of `summary.json`."""
        return {**self.setting.to_plain(), "distance": self.distance, "copied": self.copied}


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The setting that a run chose, and what it was chosen from.

    Attributes:
        setting: the run's default from now on.
        trials: one per setting, in the order of the grid.
        held_out: split of the held-out music, `val` or `test`; None where training music stood in.
        copied: of that held-out music, as in `Trial`; None without any.
    """

    setting: Setting
    trials: tuple[Trial, ...]
    held_out: str | None
    copied: float | None

    def to_plain(self) -> dict[str, Any]:
        """Return the node `sampling` of `summary.json`."""
        return {
            **self.setting.to_plain(),
            "held_out": self.held_out,
            "copied_held_out": self.copied,
            "grid": [trial.to_plain() for trial in self.trials],
        }


def settings(sampling: SamplingConfig, grid: SamplingGridConfig) -> list[Setting]:
    """Return the settings to try: the grid's values of what is null in the config; none where nothing is chosen."""
    chosen = sampling.temperature is None or sampling.top_p is None
    if not chosen or not grid.pieces or sampling.method != "sample":
        return []
    temperatures = grid.temperatures if sampling.temperature is None else [sampling.temperature]
    top_p = grid.top_p if sampling.top_p is None else [sampling.top_p]
    return [Setting(*values) for values in dict.fromkeys(itertools.product(temperatures, top_p))]


def choose(
    composer: Composer, sampling: SamplingConfig, grid: SamplingGridConfig, reference: ReferenceMusic
) -> Choice | None:
    """Compose with every setting of a grid and choose the nearest to held-out music.

    Args:
        composer: the run's best weights.
        sampling: how its final pieces are composed.
        grid: what is tried.
        reference: the music to compare with; of its held-out music, or else its training music.

    Returns:
        None where the config says both values, the grid is off, or no distance can be measured.
    """
    tried = settings(sampling, grid)
    if not tried:
        return None
    events = min(grid.events, sampling.events)
    short = dataclasses.replace(sampling, n=grid.pieces, events=events, seconds=None)
    trials, human = [], None
    made = composer.compose_each(short, tried, composer.config.seed + _SEED_OFFSET)
    for setting, compositions in zip(tried, made, strict=True):
        trial, human = _measure(setting, [composition.written for composition in compositions], reference)
        trials.append(trial)
    best = nearest(trials, human)
    return None if best is None else Choice(best.setting, tuple(trials), reference.held_out_split, human)


def _measure(setting: Setting, pieces: Sequence[Piece], reference: ReferenceMusic) -> tuple[Trial, float | None]:
    """Return a trial, and what held-out music copies."""
    copying = reference.copying(pieces)
    human = None if copying.held_out is None else copying.held_out.get(_COPIED)
    return Trial(setting, reference.distance(pieces), copying.composed.get(_COPIED)), human


def nearest(trials: Iterable[Trial], human: float | None) -> Trial | None:
    """Return the trial with the least distance among those that do not copy too much.

    Where all do, those that copy least are left. Of equals the first near temperature 1 without a cut is returned.

    Args:
        trials: of all settings.
        human: share of 8-note runs that held-out music copies; None sets no limit.
    """
    measured = [trial for trial in trials if trial.distance is not None]
    if not measured:
        return None
    if human is not None:
        least = min(trial.copied or 0.0 for trial in measured)
        limit = max(human + MAX_COPIED_EXCESS, least)
        measured = [trial for trial in measured if (trial.copied or 0.0) <= limit]
    return min(measured, key=_rank)


def _rank(trial: Trial) -> tuple[float, float, float]:
    assert trial.distance is not None
    return trial.distance, abs(trial.setting.temperature - 1), 1 - trial.setting.top_p


def choose_setting(
    composer: Composer, config: TrainConfig, folder: Path, reference: ReferenceMusic, best: dict[str, Any]
) -> dict[str, Any]:
    """Choose temperature and top_p of a run where its config leaves them open, and save them.

    The choice is compared with validation music where that is kept apart from the training, so that the figures of the
    final pieces, which are compared with test music, have no part in it. Shuffled validation windows are in the
    training music: then test music decides, and the run says so.

    Args:
        composer: the best weights; gets the setting.
        config: of the run, which may compose otherwise than the one that wrote the checkpoint.
        folder: the run directory, where `sampling.json` and `best.ckpt` get the setting.
        reference: the music to compare with.
        best: content of `best.ckpt`.

    Returns:
        The node `sampling` of `summary.json`.

    Raises:
        ComposerError: a file cannot be written.
    """
    if not split_rule(config.data.split).reuses_passages and len(reference.splits.val):
        reference = reference.with_validation_held_out()
    choice = choose(composer, config.sampling, config.sampling_grid, reference)
    write_setting(folder, None if choice is None else choice.setting)
    setting = Setting.of(config.sampling) if choice is None else choice.setting
    if setting != composer.setting:
        composer.setting = setting
        # The file alone then composes as the run does.
        values = {**best, "composer": {**best["composer"], "sampling": setting.to_plain()}}
        ckpt.save(folder / CHECKPOINTS / BEST, values)
    return setting.to_plain() if choice is None else choice.to_plain()
