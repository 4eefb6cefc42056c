"""Beam search: the likeliest pieces instead of sampled ones.

    W = beams, K = classes of a channel that are tried, B = W K^2 candidates without their time

An event counts as one step: of every beam the K = W likeliest notes are tried, with each the W likeliest velocities
given it, with both the W likeliest times, and the W best of all these go on. No better W exist: an event among a
beam's W best has a note, a velocity and a time among the W likeliest given what is before them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from composer.composing.rules import Playing, Rules
from composer.composing.sampling import Mask, Readout, SamplingMethod, anything, cuts, legal, masked, probabilities
from composer.config.sampling import Mode, SamplingConfig
from composer.data.bar_position import BarClock, BarStart
from composer.nets.network import Network
from composer.registry import implements


@implements("method", "beam")
class Beam(SamplingMethod):
    """Search for the likeliest pieces (`BeamSearch`)."""

    searches = True


class BeamSearch:
    """The likeliest continuations of one primer.

    Attributes:
        scores: (W,) log-probability of each beam, the best first; all channels, as cut and masked.
        playing: the sounding notes of each beam.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Network,
        primer: Tensor,
        config: SamplingConfig,
        *,
        length: int | None = None,
        rules: Rules | None = None,
        playing: Playing | None = None,
        bars: BarStart | None = None,
        smoothing: float = 0.0,
    ) -> None:
        """Read the primer.

        Args:
            model: in evaluation mode.
            primer: (1, N, 3) classes.
            config: `beams`, `mode` and how probabilities are cut.
            length: T, events that `mode=window` reads; None is N.
            rules: what may come next.
            playing: what plays when the piece begins, of one piece; needed for rules.
            bars: the primer's places in the bar, for a network that reads them.
            smoothing: label smoothing that the network was trained with; the search is without it.
        """
        self.width = config.beams
        primer = primer.long().expand(self.width, -1, -1)
        self.bars: BarClock | None = None
        if bars is not None:
            primer, self.bars = bars.read(primer)
        self.window = model.running(primer) if config.mode is Mode.stateful else model.window(primer, length)
        self.readout = Readout(model, self.window.block, smoothing)
        self.cuts, self.rules = cuts(config), rules
        same = torch.zeros(self.width, dtype=torch.long, device=primer.device)
        self.playing = None if playing is None else playing.select(same)
        # All begin as one.
        self.scores = torch.full((self.width,), -torch.inf, dtype=torch.float64, device=primer.device)
        self.scores[0] = 0
        self._steps: list[tuple[Tensor, Tensor]] = []

    @torch.inference_mode()
    def advance(self, events: int) -> None:
        """Extend every beam by a number of events."""
        for _ in range(events):
            self._advance()

    def _advance(self) -> None:
        beam = torch.arange(self.width, device=self.scores.device)
        event = torch.zeros(self.width, 3, dtype=torch.long, device=beam.device)
        scores = self.scores
        for k in range(3):
            best = self._logarithms(k, beam, event).topk(min(self.width, self.readout.sizes[k]))
            count = best.values.shape[1]
            scores = (scores[:, None] + best.values).flatten()
            beam, event = beam.repeat_interleave(count), event.repeat_interleave(count, dim=0)
            event[:, k] = best.indices.flatten()
        self.scores, chosen = scores.topk(self.width)
        beam, event = beam[chosen], event[chosen]
        self._steps.append((beam, event))
        self.window.select(beam)
        if self.bars is not None:
            self.bars.select(beam)
        self.window.read(event if self.bars is None else self.bars.read(event))
        if self.rules is not None and self.playing is not None:
            self.playing = self.rules.after(self.playing.select(beam), event)

    def _logarithms(self, k: int, beam: Tensor, event: Tensor) -> Tensor:
        """Return log-probabilities (B, V) of channel k of candidates (B, 3) that go on from beams (B,)."""
        logits = self.readout.channels(self.window.hidden[beam])(k, event)
        mask: Mask = anything
        if self.rules is not None and self.playing is not None and not self.rules.free:
            mask = legal(self.rules, self.playing.select(beam), self.readout.sizes[1])
        logarithms = probabilities(masked(logits, mask(k, event)), *self.cuts[k]).log()
        # A candidate that has been ruled out already has no classes left.
        return logarithms.masked_fill(logarithms.isnan(), -torch.inf)

    def rows(self) -> Tensor:
        """Return (W, events, 3) classes of the beams, the best first; fewer than W where fewer are possible."""
        beam = torch.arange(self.width, device=self.scores.device)[self.scores > -torch.inf]
        events = []
        for parents, event in reversed(self._steps):
            events.append(event[beam])
            beam = parents[beam]
        return torch.stack(events[::-1], dim=1)
