"""A source of pieces, a split and an augmentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

import composer
from composer.config.limits import COUNT, between
from composer.data.augmentation import uniform


@dataclass(kw_only=True)
class ScalesConfig(composer.DataConfig):
    count: Annotated[int, COUNT] = 4
    """Scales, each a semitone higher."""


@composer.register("data", "scales", ScalesConfig)
class Scales(composer.DataSource):
    """Major scales up and down over two octaves, in eighths."""

    def pieces(self, unit: composer.TimeUnit) -> Iterator[composer.Piece]:
        step = 0.5 if unit is composer.TimeUnit.beats else 0.25
        degrees = [0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21, 23, 24]
        for key in range(self.config.count):
            pitches = [60 + key + degree for degree in degrees + degrees[-2::-1]]
            notes = [(k * step, step, pitch, 80) for k, pitch in enumerate(pitches)]
            yield composer.Piece.from_notes(notes, unit=unit.name, name=f"scale {key}")


@composer.register("split", "first_pieces")
class FirstPieces(composer.SplitRule):
    """The first pieces are held out for validation."""

    meaning = "val figures measure prediction of the first pieces"
    least = 2

    def validation(self, pieces: list[range], groups: np.ndarray) -> tuple[list[range], list[range]]:
        count = max(1, round(len(pieces) * self.config.val_fraction))
        return pieces[:count], pieces[count:]


@dataclass(kw_only=True)
class AccentsConfig(composer.AugmentationConfig):
    share: Annotated[float, between(0, 1)] = 0.1


@composer.register("augmentation", "accents", AccentsConfig)
class Accents(composer.Augmentation):
    """A share of the windows is played at full loudness."""

    def vary(self, windows: np.ndarray, played: Any, turns: np.ndarray, targets: np.ndarray) -> np.ndarray:
        varied, struck = windows.copy(), windows[..., 1] > 0
        chosen = uniform(self.keys[0], turns, targets) < self.config.share
        varied[..., 1][chosen[:, None] & struck] = self.vocabulary.sizes[1] - 1
        return varied
