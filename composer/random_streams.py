"""The streams of random numbers: which draws of a run are independent of each other.

Every draw is seeded by the seed of the run, its place (an epoch, a batch, the number of a piece) and its stream.
"""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class RandomStream(IntEnum):
    """The numbers are part of every figure: a number that has been used never changes its meaning."""

    SPLIT = 1  # the order of the windows of a shuffled split
    HELD_OUT_PIECES = 2
    EPOCH = 3  # the order of the windows of an epoch
    BATCH = 4  # dropout, and whatever else the network draws for a batch
    COMPOSED_PIECE = 5
    BASELINE_SAMPLE = 6
    LEAKAGE_SAMPLE = 7
    EVALUATION_SAMPLE = 8  # `data.eval_windows`
    REFERENCE_PIECES = 9
    CONTEXT_PIECES = 10
    AUGMENTATION = 11
    SEGMENTS = 12  # the order of the segments of truncated backpropagation
    CONTEXT_WINDOWS = 13
    REPEATS = 14  # the pieces of a large corpus whose repeats are counted
    WHOLE_PIECES = 15  # the order in which whole pieces are scored
    TRAINING_PIECES = 16  # the pieces of `data.train_share`
