"""Checks of values, and constants that several groups of keys share."""

from __future__ import annotations

import math
import re

from composer.errors import ComposerError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# The channels of an event, everywhere in this order.
CHANNELS = ("note", "velocity", "time")
# How the classes of a channel are cut before one is drawn, each a key of its own.
CUTS = ("temperature", "top_k", "top_p", "min_p")


def require(holds: bool, key: str, value: object, limit: str) -> None:
    """Raise a `ComposerError` that names `key`, its `value` and the `limit` unless `holds`."""
    if not holds:
        raise ComposerError(f"{key}={'null' if value is None else value}: must be {limit}")


def finite(value: float) -> bool:
    """Return whether a number is neither infinite nor NaN."""
    return math.isfinite(value)
