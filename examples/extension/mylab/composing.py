"""A rule of composing, and a sampling method."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

import composer
from composer.composing.sampling import Cut, draw, probabilities
from composer.config.limits import COUNT


@dataclass(kw_only=True)
class LeapsConfig(composer.RuleConfig):
    semitones: Annotated[int, COUNT] = 12


@composer.register("rules", "leaps", LeapsConfig)
class Leaps(composer.Rule):
    """A note is struck within some semitones of one that sounds."""

    def moves(self, playing: composer.Playing) -> Tensor:
        reach, sounding = self.config.semitones, playing.sounding.float()[:, None]
        near = torch.nn.functional.max_pool1d(sounding, 2 * reach + 1, 1, reach)[:, 0] > 0
        strike = near | ~playing.sounding.any(1, keepdim=True)
        return torch.stack([torch.ones_like(strike), strike], dim=-1)


@composer.register("method", "typical")
class Typical(composer.SamplingMethod):
    """Classes whose information is near the entropy, up to half of the probability (Meister et al. 2023)."""

    def pick(self, logits: Tensor, cut: Cut, uniform: Tensor) -> Tensor:
        p = probabilities(logits, *cut)
        information = -p.clamp(min=1e-12).log()
        distance = (information - (p * information).sum(-1, keepdim=True)).abs()
        order = distance.argsort(dim=-1, stable=True)
        ranked = p.gather(-1, order)
        kept = ranked.where(ranked.cumsum(-1) - ranked < 0.5, 0.0)
        return draw(torch.zeros_like(p).scatter_(-1, order, kept), uniform)
