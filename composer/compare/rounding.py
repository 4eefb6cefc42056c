"""Rounding of the figures of a table: one number of decimals per column, and no negative zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from composer.compare.effects import Estimate
from composer.evaluation.statistics import Paired

NOTHING = "-"
MIN_DECIMALS = 2
MAX_DECIMALS = 4
# Of a column without any spread, such as that of one seed.
_DECIMALS = 3
_SIGNIFICANT = 2
# A smaller spread is rounding of the computation, not of the runs.
_NO_SPREAD = 1e-9


def decimals(spreads: Iterable[float | None]) -> int:
    """Return the number of decimals of a column of a table, for its means and its deviations, in all of its rows.

    The smallest standard deviation of the column is shown with two significant digits, in `MIN_DECIMALS` (2) to
    `MAX_DECIMALS` (4) decimals. A column without a deviation has 3 decimals.

    Args:
        spreads: standard deviations of the rows; None or 0 where a row has none.
    """
    found = [spread for spread in spreads if spread is not None and spread > _NO_SPREAD]
    if not found:
        return _DECIMALS
    wanted = _SIGNIFICANT - 1 - math.floor(math.log10(min(found)))
    return min(MAX_DECIMALS, max(MIN_DECIMALS, wanted))


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """Return a number with a fixed number of decimals; what rounds to 0 has no sign.

    Args:
        value: finite.
        places: decimals.
        signed: write the sign of positive numbers too.
    """
    shown = f"{value:{'+' if signed else ''}.{places}f}"
    return shown.lstrip("+-") if float(shown) == 0 else shown


def mean_text(value: Estimate | None, places: int) -> str:
    """Return `0.917 ± 0.020`; without the deviation where there is one run."""
    if value is None:
        return NOTHING
    return fixed(value.mean, places) + ("" if value.sd is None else f" ± {fixed(value.sd, places)}")


def interval_text(difference: Paired, places: int, single: Sequence[float] = ()) -> str:
    """Return `-0.019 to +0.007`, with a `(t)` where it is Student's; the differences of the pairs where there is none.

    Args:
        difference: paired differences.
        places: decimals.
        single: the differences that it describes.
    """
    if difference.interval is None:
        return ", ".join(fixed(value, places, signed=True) for value in single) or NOTHING
    low, high = (fixed(end, places, signed=True) for end in difference.interval)
    return f"{low} to {high}" + (" (t)" if difference.method == "t" else "")
