"""Learning curves of an arm as mean and standard deviation by epoch, and the limits of their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from composer.compare.runs import Arm

# The epochs at the start that do not set the limits of an axis, as a share of all; at least one.
_BEGINNING = 0.02
# The axis is cut where the beginning would take more than this share of the range of the rest on top of it.
_WORTH_A_CUT = 0.75
_MARGIN = 0.05


class Band(NamedTuple):
    """Mean and standard deviation by epoch over n runs; arrays of one length, empty without any run."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    n: int


class Limits(NamedTuple):
    """Ends of an axis, and whether curves of the first epochs lie beyond them."""

    low: float
    high: float
    cut: bool


def band(arm: Arm, metric: str) -> Band:
    """Return mean and standard deviation by epoch over the runs of an arm, as far as all of them went."""
    found = [run.curves[metric] for run in arm.counted if metric in run.curves]
    length = min((len(column) for column in found), default=0)
    if not length:
        return Band(np.zeros(0), np.zeros(0), 0)
    values = np.array([column[:length] for column in found])
    sd = values.std(axis=0, ddof=1) if len(found) > 1 else np.zeros(length)
    return Band(values.mean(axis=0), sd, len(found))


def limits(bands: Sequence[Band], *, from_zero: bool = False) -> Limits | None:
    """Return the ends of an axis for curves and their bands, not ruled by the first epochs; None without a curve.

    The first 2 % of the epochs (at least one) set no limit where that would make the rest much smaller.

    Args:
        bands: the curves of the axis.
        from_zero: begin at 0 where the curves come near it.
    """
    ends = [(b.mean - b.sd, b.mean + b.sd) for b in bands if np.isfinite(b.mean).any()]
    if not ends:
        return None
    lowest, highest = (float(f([f(e[k]) for e in ends])) for k, f in ((0, np.nanmin), (1, np.nanmax)))
    first = max(1, round(_BEGINNING * max(len(low) for low, _ in ends)))
    rest = [(low[first:], high[first:]) for low, high in ends if np.isfinite(low[first:]).any()]
    low, high = lowest, highest
    if rest:
        bottom, top = (float(f([f(e[k]) for e in rest])) for k, f in ((0, np.nanmin), (1, np.nanmax)))
        room = _WORTH_A_CUT * (top - bottom)
        low = bottom if room and lowest < bottom - room else lowest
        high = top if room and highest > top + room else highest
    cut = low > lowest or high < highest
    margin = _MARGIN * (high - low) or _MARGIN * abs(high) or _MARGIN
    if from_zero and low < 0.4 * high:
        return Limits(0.0, high + margin, cut)
    return Limits(low - margin, high + margin, cut)
