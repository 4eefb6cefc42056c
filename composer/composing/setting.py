"""Default temperature and top_p of a run, where a command gives none, and the file that stores them.

    sampling.json   {"temperature": 0.9, "top_p": 0.95}, written at the end of a run that has chosen them

A checkpoint holds a copy, so that it composes alone as its run does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from composer.config.sampling import SamplingConfig
from composer.errors import ComposerError
from composer.files import read_json, write_json
from composer.runs.layout import SAMPLING

# Share of its smoothed probability that a class keeps at least when label smoothing is removed, so that rules that
# leave such classes alone still have something to draw from.
MIN_SHARE = 1e-12

Sampling = TypeVar("Sampling", bound=SamplingConfig)


@dataclass(frozen=True, slots=True)
class Setting:
    """Default temperature and cut of a run.

    Attributes:
        temperature: divides the logits; finite, above 0.
        top_p: the likeliest classes whose probabilities reach it are drawn from; above 0, and 1 is no cut.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    @classmethod
    def of(cls, sampling: SamplingConfig) -> Setting:
        """Return the values of a config, with temperature 1 and no cut where they are null."""
        temperature, top_p = sampling.temperature, sampling.top_p
        return cls(1.0 if temperature is None else temperature, 1.0 if top_p is None else top_p)

    def fill(self, sampling: Sampling) -> Sampling:
        """Return a config with this setting in place of what is null there."""
        if sampling.temperature is not None and sampling.top_p is not None:
            return sampling
        temperature = self.temperature if sampling.temperature is None else sampling.temperature
        return replace(
            sampling, temperature=temperature, top_p=self.top_p if sampling.top_p is None else sampling.top_p
        )

    def __str__(self) -> str:
        cut = "no cut" if self.top_p == 1 else f"top_p {self.top_p:g}"
        return f"temperature {self.temperature:g}, {cut}"

    def to_plain(self) -> dict[str, float]:
        """Return plain values for a file."""
        return {"temperature": self.temperature, "top_p": self.top_p}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Setting:
        """Return the inverse of `to_plain`; raises KeyError, TypeError or ValueError for anything else."""
        setting = cls(float(plain["temperature"]), float(plain["top_p"]))
        if not (0 < setting.temperature < math.inf and 0 < setting.top_p <= 1):
            raise ValueError(f"{setting} is not a valid temperature and top_p")
        return setting


def write_setting(folder: Path, setting: Setting | None) -> None:
    """Write the setting of a run into its directory; None removes what is there.

    Raises:
        ComposerError: the file cannot be written.
    """
    if setting is None:
        (folder / SAMPLING).unlink(missing_ok=True)
    else:
        write_json(folder / SAMPLING, setting.to_plain())


def read_setting(folder: Path) -> Setting | None:
    """Read the setting that a run has chosen; None where it has chosen none.

    Raises:
        ComposerError: the file is damaged.
    """
    path = folder / SAMPLING
    if not path.is_file():
        return None
    try:
        return Setting.from_plain(read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        way_out = "give temperature= and top_p=, or remove it to use those in best.ckpt"
        raise ComposerError(f"{path}: damaged ({error}); {way_out}") from error
