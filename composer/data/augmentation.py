"""Augmentation: random transposition, tempo and loudness of training windows.

B = batch, L = events of a window with its target
windows  (B, L, 3) uint8 classes
played   velocities and times of the same events before encoding

A window is varied as a whole, and differently in each pass over the training set. The variation is a function of the
seed, the number of the pass and the position of the target: it does not depend on resuming, on the number of loader
processes and ranks, or on the size of windows. Only training windows are varied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from composer import registry
from composer.config.data import AugmentationConfig, TransformConfig
from composer.data.vocabulary import Vocabulary
from composer.data.window_sets import Indices
from composer.random_streams import RandomStream
from composer.registry import Contract, implements

# Keys of independent draws: each draw stays the same when another variation is switched off.
_TRANSPOSE, _STRETCH, _VELOCITY = range(3)


class Played(NamedTuple):
    """Velocities and times since the previous event, in the vocabulary's unit, of one shape."""

    velocity: NDArray[np.uint8]
    delta_time: NDArray[np.float64]


class Augmentation:
    """The variation of the training windows of a run, a function of the seed, the pass and the target alone.

    A subclass defines `vary`; for random numbers `uniform(key, turns, targets)` with a key of `self.keys`.

    Attributes:
        config: its keys.
        vocabulary: the classes.
        keys: (3,) keys of independent draws, derived from the seed of the run.
    """

    def __init__(self, config: AugmentationConfig, vocabulary: Vocabulary, seed: int) -> None:
        """Keep the keys and the `vocabulary`, and derive the keys of the draws from `seed`."""
        self.config, self.vocabulary = config, vocabulary
        self.keys = np.random.SeedSequence([seed, RandomStream.AUGMENTATION]).generate_state(3, np.uint64)

    def vary(
        self, windows: NDArray[np.uint8], played: Played | None, turns: Indices, targets: Indices
    ) -> NDArray[np.uint8]:
        """Return variations (B, L, 3) of windows.

        Args:
            windows: (B, L, 3) classes, which stay as they are.
            played: (B, L) each; None unless `needs_played`.
            turns: (B,) number of earlier passes over all windows.
            targets: (B,) positions of the last events.
        """
        raise NotImplementedError

    @property
    def needs_played(self) -> bool:
        """Whether `vary` needs velocities and times in addition to the classes."""
        return False


CONTRACT = Contract(Augmentation, ("vary",))


def make_augmentation(config: AugmentationConfig, vocabulary: Vocabulary, seed: int) -> Augmentation:
    """Return the augmentation of a config.

    Raises:
        ComposerError: nothing has registered the name.
    """
    made = registry.part("augmentation", config.name)(config, vocabulary, seed)
    assert isinstance(made, Augmentation)
    return made


@implements("augmentation", "none", "transpose", "stretch", "velocity", "all")
class Transforms(Augmentation):
    """Transposition, tempo and loudness."""

    config: TransformConfig

    @property
    def needs_played(self) -> bool:
        """True if `vary` needs velocities and times besides the classes."""
        return self.config.stretch > 1 or self.config.velocity > 1

    def vary(
        self, windows: NDArray[np.uint8], played: Played | None, turns: Indices, targets: Indices
    ) -> NDArray[np.uint8]:
        """Return variations (B, L, 3) of windows.

        Args:
            windows: (B, L, 3) classes.
            played: (B, L) each; may be None unless `needs_played`.
            turns: (B,) number of earlier passes over all windows.
            targets: (B,) positions of the last events.
        """
        varied = windows.copy()
        if self.config.transpose:
            share = uniform(self.keys[_TRANSPOSE], turns, targets)
            varied[..., 0] = transposed(windows[..., 0], share, self.config.transpose, self.vocabulary.sizes[0])
        if self.config.velocity > 1:
            assert played is not None
            factors = factor(uniform(self.keys[_VELOCITY], turns, targets), self.config.velocity)
            varied[..., 1] = self.vocabulary.velocity_classes(scaled(played.velocity, factors))
        if self.config.stretch > 1:
            assert played is not None
            factors = factor(uniform(self.keys[_STRETCH], turns, targets), self.config.stretch)
            varied[..., 2] = self.vocabulary.time_classes(played.delta_time * factors[:, None])
        return varied


def uniform(key: np.uint64, turns: Indices, targets: Indices) -> NDArray[np.float64]:
    """Return numbers (B,) in [0, 1), each a function of the key, its turn (B,) and its target (B,)."""
    mixed = _mixed(_mixed(turns.astype(np.uint64) ^ key) + targets.astype(np.uint64))
    # The upper 53 bits, which a float holds exactly.
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return hashes of numbers: a step and the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def factor(share: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Return factors (B,) from 1 / most to most, log-uniform in the shares (B,) in [0, 1)."""
    factors: NDArray[np.float64] = most ** (2 * share - 1)
    return factors


def transposed(notes: NDArray[np.uint8], share: NDArray[np.float64], most: int, classes: int) -> NDArray[np.uint8]:
    """Transpose each window by a random interval that keeps every note inside the vocabulary.

    Args:
        notes: (B, L) classes; one class is one semitone.
        share: (B,) in [0, 1), chooses evenly among the possible intervals.
        most: largest interval in semitones.
        classes: of the note channel.
    """
    down = np.minimum(notes.min(axis=1), most).astype(np.int64)
    up = np.minimum(classes - 1 - notes.max(axis=1).astype(np.int64), most)
    moves = np.floor(share * (down + up + 1)).astype(np.int64) - down
    moved: NDArray[np.uint8] = (notes + moves[:, None]).astype(np.uint8)
    return moved


def scaled(velocities: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return velocities (B, L) times factors (B,), rounded and clipped to 1 .. 127; 0, a note-off, stays."""
    louder = np.clip(np.rint(velocities * factors[:, None]), 1, 127)
    return np.where(velocities > 0, louder, 0).astype(np.uint8)
