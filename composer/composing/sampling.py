"""Sampling events from logits, as pure functions, and composing with them event by event.

B = pieces composed at once, T = window, V = classes of a channel, W = classes of the largest channel
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from composer import registry
from composer.composing.rules import Playing, Rules
from composer.composing.setting import MIN_SHARE, Setting
from composer.config.limits import CHANNELS
from composer.config.sampling import Mode, SamplingConfig
from composer.data.bar_position import BarClock, BarStart
from composer.nets.network import Network
from composer.nets.stepping import BLOCK, blocks, product
from composer.registry import Contract, implements

# Events whose random numbers are drawn at once.
_CHUNK = 64


class Cut(NamedTuple):
    """How the classes of a channel are cut before one is drawn; see `probabilities`."""

    temperature: float | Tensor = 1.0
    top_k: int | None = None
    top_p: float | Tensor | None = None
    min_p: float | None = None


def cuts(config: SamplingConfig) -> tuple[Cut, ...]:
    """Return the cuts of the three channels."""
    return tuple(Cut(*config.cut(channel)) for channel in CHANNELS)


def cuts_of_each(config: SamplingConfig, settings: Sequence[Setting], device: torch.device) -> tuple[Cut, ...]:
    """Return the cuts of the three channels for pieces that differ in temperature and top_p.

    Args:
        config: what they share; a channel's own temperature or top_p holds for all.
        settings: one per piece, in place of the config's temperature and top_p.
        device: where the logits are.
    """
    configs = [replace(config, temperature=setting.temperature, top_p=setting.top_p) for setting in settings]
    found = []
    for rows in zip(*(cuts(one) for one in configs), strict=True):
        # No sum of probabilities reaches 2: no cut.
        top_p = [2.0 if row.top_p is None else row.top_p for row in rows]
        columns = (
            torch.tensor(values, dtype=torch.float64, device=device)[:, None]
            for values in ([row.temperature for row in rows], top_p)
        )
        temperature_of, top_p_of = columns
        found.append(rows[0]._replace(temperature=temperature_of, top_p=top_p_of))
    return tuple(found)


def probabilities(
    logits: Tensor,
    temperature: float | Tensor,
    top_k: int | None,
    top_p: float | Tensor | None,
    min_p: float | None = None,
) -> Tensor:
    """Return the distribution that is sampled: softmax of logits / temperature, cut to the likeliest classes.

    Args:
        logits: (..., V); a class of -inf is never drawn.
        temperature: above 0; a tensor (B, 1) is one per row of logits (B, V), here and for `top_p`.
        top_k: keep the k likeliest classes (Fan et al. 2018).
        top_p: keep the likeliest classes up to the one whose sum reaches p (Holtzman et al. 2020, nucleus).
        min_p: keep the classes at least as likely as this share of the likeliest (Nguyen et al. 2024).

    Returns:
        (..., V), each row summing to 1.
    """
    # In double precision: the sums that top_p compares then do not depend on the order of addition.
    p = torch.softmax(logits.double() / temperature, dim=-1)
    if top_k is None and top_p is None and min_p is None:
        return p
    ranked, order = p.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked[..., top_k:] = 0
    if top_p is not None:
        before = ranked.cumsum(-1) - ranked
        ranked[before >= top_p] = 0
    if min_p is not None:
        ranked[ranked < min_p * ranked[..., :1]] = 0
    kept = torch.zeros_like(p).scatter_(-1, order, ranked)
    return kept / kept.sum(-1, keepdim=True)


def unsmoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Return the logits of a network as they are without the label smoothing that it was trained with.

    A target smoothed by e is (1 - e) onehot + e / V (Szegedy et al. 2016, section 7), so the cross-entropy is least for
    q = (1 - e) p + e / V, where p are the probabilities of the data. This returns the logarithm of
    p = (q - e / V) / (1 - e), at least 1e-12 q so that every class stays possible, normalised to a sum of 1.

    Args:
        logits: (..., V) of a whole channel, before rules and cuts.
        smoothing: e, at least 0 and less than 1; 0 returns `logits` as they are.

    Returns:
        (..., V) in double precision, or `logits`.
    """
    if smoothing == 0:
        return logits
    q = torch.softmax(logits.double(), dim=-1)
    p = (q - smoothing / logits.shape[-1]).clamp(min=MIN_SHARE * q)
    return (p / p.sum(-1, keepdim=True)).log()


def draw(p: Tensor, uniform: Tensor) -> Tensor:
    """Return classes (...) whose cumulative probability first exceeds `uniform` (...) in [0, 1): inversion sampling.

    One uniform number a draw keeps the stream of random numbers the same whatever the classes' number, and a row
    independent of its neighbours. No class of probability 0 is drawn: a double below 1 times the sum of all is less
    than that sum also when rounded, and behind the last possible class the sum rises no more.
    """
    cumulative = p.cumsum(-1)
    sought = uniform.unsqueeze(-1) * cumulative.narrow(-1, -1, 1)
    return torch.searchsorted(cumulative, sought, right=True).squeeze(-1)


class SamplingMethod:
    """Choice of classes from logits, a value of `sampling.method`; a subclass defines `pick`.

    Attributes:
        searches: whether whole pieces are searched for instead (`beam.py`).
    """

    searches: ClassVar[bool] = False

    def pick(self, logits: Tensor, cut: Cut, uniform: Tensor) -> Tensor:
        """Return classes (...), none whose logit is -inf.

        Args:
            logits: (..., V); a class that may not be chosen has -inf.
            cut: temperature, top_k, top_p and min_p; `probabilities(logits, *cut)` applies them.
            uniform: (...) in [0, 1), the only random numbers.
        """
        raise NotImplementedError


CONTRACT = Contract(SamplingMethod, ("pick",))


@implements("method", "sample")
class Sample(SamplingMethod):
    """Draw from the probabilities."""

    def pick(self, logits: Tensor, cut: Cut, uniform: Tensor) -> Tensor:
        """Return drawn classes."""
        return draw(probabilities(logits, *cut), uniform)


@implements("method", "greedy")
class Greedy(SamplingMethod):
    """Take the likeliest class of each channel."""

    def pick(self, logits: Tensor, cut: Cut, uniform: Tensor) -> Tensor:
        """Return the likeliest classes."""
        return logits.argmax(-1)


def sampling_method(name: str) -> SamplingMethod:
    """Return the method of `sampling.method`.

    Raises:
        ComposerError: nothing has registered the name.
    """
    method = registry.part("method", name)()
    assert isinstance(method, SamplingMethod)
    return method


# Legal classes (B, V) of channel k, given the channels before it of the event (B, 3); None where all are.
Mask = Callable[[int, Tensor], Tensor | None]


def anything(k: int, event: Tensor) -> None:
    """The mask that allows every class."""


def legal(rules: Rules, playing: Playing, velocities: int) -> Mask:
    """Return the mask of what may come next, for a velocity channel of V classes."""
    moves = rules.legal_moves(playing)

    def mask(k: int, event: Tensor) -> Tensor:
        if k == 0:
            return moves.any(-1)
        if k == 1:
            kinds = moves[torch.arange(len(moves), device=moves.device), event[:, 0]]
            # Velocity 0 is the release.
            return torch.cat([kinds[:, :1], kinds[:, 1:].expand(-1, velocities - 1)], dim=1)
        return rules.legal_times(playing, event[:, 1] > 0)

    return mask


def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return `logits` (B, V), -inf where `mask` (B, V) does not hold."""
    return logits if mask is None else logits.masked_fill(~mask, -math.inf)


def choose(
    channel: Callable[[int, Tensor], Tensor],
    cuts: tuple[Cut, ...],
    uniform: Tensor,
    method: SamplingMethod,
    mask: Mask = anything,
) -> Tensor:
    """Return one event (B, 3) channel by channel: the note, the velocity given it, the time given both.

    Args:
        channel: logits (B, V) of channel k by what is known of the event (B, 3): the channels before k.
        cuts: of the three channels.
        uniform: (B, 3) in [0, 1).
        method: picks a class of each channel.
        mask: the legal classes.
    """
    event = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
    for k in range(3):
        logits = masked(channel(k, event), mask(k, event))
        event[:, k] = method.pick(logits, cuts[k], uniform[:, k])
    return event


class Readout:
    """A network's heads in composing: products in blocks of one shape (`stepping.py`), each taken once an event."""

    def __init__(self, network: Network, block: int = BLOCK, smoothing: float = 0.0) -> None:
        """Keep the weights as they are multiplied.

        Args:
            network: in evaluation mode.
            block: rows of a block of independent heads.
            smoothing: label smoothing of the training, which the logits are freed from.
        """
        self.network, self.sizes, self.block, self.smoothing = network, network.sizes, block, smoothing
        linear = network.linear
        # The channels' heads side by side at the same width: classes that fill up are never drawn.
        width, hidden_size = max(network.sizes), linear.in_features
        weights = linear.weight.detach().new_zeros(3, width, hidden_size)
        bias = weights.new_full((3, width), -math.inf)
        parts = [torch.split(part.detach(), list(self.sizes)) for part in (linear.weight, linear.bias)]
        for k, (own, own_bias) in enumerate(zip(*parts, strict=True)):
            weights[k, : len(own)], bias[k, : len(own)] = own, own_bias
        self.weights, self.bias = weights.flatten(0, 1).t().contiguous(), bias.flatten()

    @property
    def independent(self) -> bool:
        """Whether no channel's logits depend on another channel."""
        return self.network.chain is None

    def joint(self, hidden: Tensor) -> Tensor:
        """Return logits (B, 3, W) of independent heads, for `hidden` (B, H)."""
        product_of_all = product(blocks(hidden, self.block), self.weights, self.bias)
        logits = product_of_all.view(-1, 3, len(self.bias) // 3)[: len(hidden)]
        if self.smoothing == 0:
            return logits
        freed = logits.new_full(logits.shape, -math.inf, dtype=torch.float64)
        for k, size in enumerate(self.sizes):
            freed[:, k, :size] = unsmoothed(logits[:, k, :size], self.smoothing)
        return freed

    def channels(self, hidden: Tensor) -> Callable[[int, Tensor], Tensor]:
        """Return logits (B, V) of channel k given the event (B, 3) so far, after `hidden` (B, H)."""
        if self.independent:
            joint = self.joint(hidden)
            return lambda k, event: joint[:, k, : self.sizes[k]]
        rows = blocks(hidden, BLOCK) if hidden.device.type == "cpu" else hidden[None]

        def chained(k: int, event: Tensor) -> Tensor:
            given = blocks(event, rows.shape[1])
            parts = [self.network.heads(block, known)[k] for block, known in zip(rows, given, strict=True)]
            return unsmoothed(torch.cat(parts)[: len(event)], self.smoothing)

        return chained


class Session:
    """Pieces that are being composed: what was read, what plays, and their streams of random numbers."""

    @torch.inference_mode()
    def __init__(
        self,
        model: Network,
        primer: Tensor,
        config: SamplingConfig,
        generators: list[torch.Generator],
        *,
        length: int | None = None,
        rules: Rules | None = None,
        playing: Playing | None = None,
        bars: BarStart | None = None,
        smoothing: float = 0.0,
        settings: Sequence[Setting] | None = None,
    ) -> None:
        """Read the primer.

        Args:
            model: in evaluation mode.
            primer: (B, N, 3) classes.
            config: how to draw.
            generators: on the CPU, one a piece, so that a piece does not depend on those beside it.
            length: T, events that `mode=window` reads; None is N.
            rules: what may be drawn.
            playing: what plays when the pieces begin; needed for rules.
            bars: the primer's places in the bar, for a network that reads them.
            smoothing: label smoothing that the network was trained with; what is drawn is without it.
            settings: temperature and top_p of each piece in place of the config's; the pieces are then read together
                and depend, in the last bits of their probabilities, on the others of the batch.

        Raises:
            ComposerError: the network has no running state.
        """
        primer = primer.long()
        self.bars: BarClock | None = None
        if bars is not None:
            primer, self.bars = bars.read(primer)
        if config.mode is Mode.stateful:
            self.window = model.running(primer)
        else:
            self.window = model.window(primer, length, apart=settings is None)
        self.readout = Readout(model, self.window.block, smoothing)
        self.cuts = cuts(config) if settings is None else cuts_of_each(config, settings, primer.device)
        self.method = sampling_method(config.method)
        self.generators, self.rules, self.playing = generators, rules, playing
        self.ruled = rules is not None and not rules.free
        independent = self.readout.independent and not self.ruled
        self.together = independent and settings is None and len(set(self.cuts)) == 1
        self.uniform, self.used = torch.empty(0), _CHUNK

    @torch.inference_mode()
    def next(self) -> Tensor:
        """Return the next event (B, 3) of each piece."""
        return self._next()

    def _next(self) -> Tensor:
        uniform, hidden = self._uniform(), self.window.hidden
        if self.together:
            event = self.method.pick(self.readout.joint(hidden), self.cuts[0], uniform)
        else:
            event = choose(self.readout.channels(hidden), self.cuts, uniform, self.method, self._mask())
        if self.rules is not None and self.playing is not None:
            self.playing = self.rules.after(self.playing, event)
        self.window.read(event if self.bars is None else self.bars.read(event))
        return event

    def _mask(self) -> Mask:
        if not self.ruled:
            return anything
        assert self.rules is not None
        assert self.playing is not None
        return legal(self.rules, self.playing, self.readout.sizes[1])

    @torch.inference_mode()
    def take(self, events: int) -> Tensor:
        """Return the next events (B, events, 3) of each piece, as uint8."""
        parts = []
        for first in range(0, events, _CHUNK):
            chunk = [self._next() for _ in range(min(_CHUNK, events - first))]
            parts.append(torch.stack(chunk, dim=1).to(torch.uint8))
        return torch.cat(parts, dim=1)

    def _uniform(self) -> Tensor:
        """Return (B, 3) in [0, 1): three numbers per event from each piece's generator."""
        if self.used == _CHUNK:
            drawn = [torch.rand(_CHUNK, 3, dtype=torch.float64, generator=g) for g in self.generators]
            self.uniform, self.used = torch.stack(drawn, dim=1).to(self.window.hidden.device), 0
        self.used += 1
        return self.uniform[self.used - 1]
