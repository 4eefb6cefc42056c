"""Calibration by the bins of Guo et al. 2017: is a channel correct as often as its confidence says?

The confidence of a prediction is the probability of its likeliest class. By it the predictions are put into 15 bins of
equal width, (0, 1/15], (1/15, 2/15], ...; the expected calibration error is

    ECE = sum over bins of (predictions in it / all) * |share correct - mean confidence|

(Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", section 2). With chained heads the
predictions of a channel are those given the true channels before it: the distributions that the loss is about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.limits import CHANNELS

BINS = 15


class Reliability:
    """Sums of the predictions of each channel by bin of confidence."""

    def __init__(self) -> None:
        """Begin with none."""
        # For each channel and bin: predictions, the sum of their confidences, and how many are right.
        self.sums = np.zeros((len(CHANNELS), BINS, 3))

    def add(self, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        """Add predictions.

        Args:
            confidence: (B, 3) in (0, 1].
            right: (B, 3) whether the likeliest class was the target's.
        """
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for k in range(len(CHANNELS)):
            weights = (None, confidence[:, k], right[:, k])
            columns = [np.bincount(bins[:, k], weight, BINS) for weight in weights]
            self.sums[k] += np.stack(columns, axis=1)

    def errors(self, split: str) -> dict[str, float]:
        """Return the expected calibration error of each channel, by key; at least one prediction was added."""
        counts, confidences, right = np.moveaxis(self.sums, -1, 0)
        errors = np.abs(right - confidences).sum(axis=1) / counts.sum(axis=1)
        return {f"ece_{channel}/{split}": float(error) for channel, error in zip(CHANNELS, errors, strict=True)}

    def bins(self) -> dict[str, list[dict[str, Any]]]:
        """Return the non-empty bins of each channel: bounds, predictions, mean confidence, accuracy."""
        return {
            channel: [
                {
                    "above": k / BINS,
                    "to": (k + 1) / BINS,
                    "predictions": int(count),
                    "confidence": confidence / count,
                    "accuracy": right / count,
                }
                for k, (count, confidence, right) in enumerate(rows.tolist())
                if count
            ]
            for channel, rows in zip(CHANNELS, self.sums, strict=True)
        }
