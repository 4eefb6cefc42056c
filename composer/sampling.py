"""Drawing events from the network, as pure functions of logits, and the article's way of composing with them.

B = pieces composed at once, T = window, V = classes of a channel
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from composer.network import Logits, Network
from composer.schema import SamplingConfig


def probabilities(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None) -> Tensor:
    """The distribution that is sampled: softmax of logits / temperature, cut to the likeliest classes.

    Args:
        logits: (B, V).
        temperature: above 0.
        top_k: keep the k likeliest classes (Fan et al. 2018).
        top_p: keep the likeliest classes up to the one whose sum reaches p (Holtzman et al. 2020, nucleus).

    Returns:
        (B, V), each row summing to 1.
    """
    # In double precision: the sums that top_p compares then do not depend on the order of addition.
    p = torch.softmax(logits.double() / temperature, dim=-1)
    if top_k is None and top_p is None:
        return p
    ranked, order = p.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked[:, top_k:] = 0
    if top_p is not None:
        before = ranked.cumsum(-1) - ranked
        ranked[before >= top_p] = 0
    kept = torch.zeros_like(p).scatter_(1, order, ranked)
    return kept / kept.sum(-1, keepdim=True)


def draw(p: Tensor, uniform: Tensor) -> Tensor:
    """Classes (B,) whose cumulative probability first exceeds `uniform` (B,) in [0, 1): inversion sampling.

    One uniform number a draw keeps the stream of random numbers the same whatever the classes' number, and a row
    independent of its neighbours.
    """
    cumulative = p.cumsum(-1)
    drawn = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
    # Rounding must not pick a class of probability 0 behind the last possible one.
    possible = p.shape[-1] - 1 - (p > 0).flip(-1).int().argmax(-1)
    return torch.minimum(drawn, possible)


def choose(heads: Callable[[Tensor], Logits], config: SamplingConfig, uniform: Tensor) -> Tensor:
    """One event (B, 3) drawn channel by channel: the note, the velocity given it, the time given both.

    Args:
        heads: logits of the event (B, V) by what is known of it (B, 3); those of a channel depend on the channels
            before it alone (`Network.heads`), so that what has not been drawn yet says nothing.
        config: temperature and cuts.
        uniform: (B, 3) in [0, 1).
    """
    event = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
    for k in range(3):
        p = probabilities(heads(event)[k], config.temperature, config.top_k, config.top_p)
        event[:, k] = draw(p, uniform[:, k])
    return event


@torch.no_grad()
def compose_window(
    model: Network, primer: Tensor, config: SamplingConfig, generators: list[torch.Generator], events: int
) -> Tensor:
    """The article's composing: read the last T events, draw the next, append it, drop the first.

    Args:
        model: in evaluation mode.
        primer: (B, T, 3) classes.
        config: temperature and cuts.
        generators: one a piece, so that a piece does not depend on those beside it.
        events: how many to compose.

    Returns:
        (B, events, 3) composed classes, without the primer.
    """
    window = model.window(primer.long())
    composed = []
    for _ in range(events):
        uniform = torch.stack([torch.rand(3, dtype=torch.float64, generator=g) for g in generators])
        heads = partial(model.heads, window.hidden)
        composed.append(choose(heads, config, uniform.to(primer.device)))
        window.read(composed[-1])
    return torch.stack(composed, dim=1)
