"""Drawing events from the network, as pure functions of logits, and the article's sliding window around them.

B = pieces composed at once, T = window, V = classes of a channel
"""

from __future__ import annotations

import torch
from torch import Tensor

from composer.model import Logits, ThreeHeadLSTM
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


def choose(logits: Logits, config: SamplingConfig, uniform: Tensor) -> Tensor:
    """One event (B, 3) drawn from each row's three distributions; `uniform` (B, 3) in [0, 1)."""
    channels = [
        draw(probabilities(channel, config.temperature, config.top_k, config.top_p), uniform[:, k])
        for k, channel in enumerate(logits)
    ]
    return torch.stack(channels, dim=1)


class SlidingWindow:
    """The network's prediction from the last T events, one network step an event.

    Reading a window of T events anew for every event costs T steps. Here T states are kept, begun 1, 2, ..., T events
    ago; a new event advances all of them in one batch, and the oldest has then read exactly the last T events. It is
    used, and begun anew. The states stand in a ring, so that nothing is moved.

    A channel that `model.inputs` drops has no part in it; one that it shuffles is fed as it was drawn.
    """

    def __init__(self, model: ThreeHeadLSTM, primer: Tensor) -> None:
        """Read the primer.

        Args:
            model: in evaluation mode.
            primer: (B, T, 3) classes.
        """
        self.model = model
        self.batch, self.length = primer.shape[:2]
        shape = (model.lstm.num_layers, self.length, self.batch, model.lstm.hidden_size)
        self.h = model.linear.weight.new_zeros(shape)
        self.c = model.linear.weight.new_zeros(shape)
        self.oldest = 0  # place in the ring of the state that will have read T events next
        for position in range(self.length):
            self.logits = self.read(primer[:, position])

    def read(self, event: Tensor) -> Logits:
        """Read an event (B, 3); logits (B, V) of the one after it, given the last T."""
        events = event.expand(self.length, -1, -1).reshape(-1, 3)
        layers, _, _, width = self.h.shape
        flat = (self.h.view(layers, -1, width), self.c.view(layers, -1, width))
        hidden, (h, c) = self.model.cell(events, flat)
        self.h, self.c = h.view(self.h.shape), c.view(self.c.shape)
        place, self.oldest = self.oldest, (self.oldest + 1) % self.length
        logits = self.model.heads(hidden.view(self.length, self.batch, width)[place])
        self.h[:, place] = 0
        self.c[:, place] = 0
        return logits


@torch.no_grad()
def compose_window(
    model: ThreeHeadLSTM, primer: Tensor, config: SamplingConfig, generators: list[torch.Generator], events: int
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
    window = SlidingWindow(model, primer.long())
    composed = []
    for _ in range(events):
        uniform = torch.stack([torch.rand(3, dtype=torch.float64, generator=g) for g in generators])
        composed.append(choose(window.logits, config, uniform.to(primer.device)))
        window.logits = window.read(composed[-1])
    return torch.stack(composed, dim=1)
