"""Composing to a length: a number of events, or of seconds, cut there or closed.

B = pieces, N = events composed so far
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from composer.composing.beam import BeamSearch
from composer.composing.rules import Playing, Rules
from composer.composing.sampling import Session, sampling_method
from composer.composing.setting import Setting
from composer.config.sampling import Ending, SamplingConfig
from composer.data.bar_position import BarStart
from composer.errors import ComposerError
from composer.nets.network import Network

# Events composed between two checks of the length in seconds.
_CHUNK = 64
# A piece whose time does not advance would never reach its seconds.
_EVENTS_PER_SECOND_LIMIT = 1000


class _Drawn:
    """A session whose events are kept."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.parts: list[Tensor] = []

    @property
    def playing(self) -> Playing | None:
        return self.session.playing

    def advance(self, events: int) -> None:
        self.parts.append(self.session.take(events))

    def rows(self) -> Tensor:
        return torch.cat(self.parts, dim=1)


def compose_rows(
    model: Network,
    primer: Tensor,
    config: SamplingConfig,
    generators: list[torch.Generator],
    *,
    length: int,
    rules: Rules,
    playing: Playing,
    limit: float | None,
    smoothing: float,
    bars: BarStart | None = None,
    settings: Sequence[Setting] | None = None,
    advanced: Callable[[float], None] | None = None,
) -> list[Tensor]:
    """Return classes (N, 3) of each piece.

    Args:
        model: in evaluation mode.
        primer: (events, 3) classes that all begin with.
        config: how to draw.
        generators: one a piece.
        length: events that `mode=window` reads.
        rules: what may come next.
        playing: what plays when the pieces begin, of one piece.
        limit: the pieces' length in the vocabulary's unit of time; None goes by `config.events`.
        bars: the primer's places in the bar, for a network that reads them.
        smoothing: label smoothing that the network was trained with, 0 for none.
        settings: temperature and top_p of each piece in place of the config's, with `method=sample`.
        advanced: gets the share of the length by which the pieces have advanced, again and again.

    Raises:
        ComposerError: the time does not advance, or a search finds fewer pieces than asked for.
    """
    # What plays matters to a rule or to a length in seconds alone, and following it takes a third of the time.
    followed = None if rules.free and limit is None else rules
    pieces: _Drawn | BeamSearch
    if sampling_method(config.method).searches:
        pieces = BeamSearch(
            model,
            primer[None],
            config,
            length=length,
            rules=followed,
            playing=playing,
            bars=bars,
            smoothing=smoothing,
        )
    else:
        same = torch.zeros(len(generators), dtype=torch.long, device=primer.device)
        batch = primer.expand(len(generators), -1, -1)
        begun = playing.select(same)
        session = Session(
            model,
            batch,
            config,
            generators,
            length=length,
            rules=followed,
            playing=begun,
            bars=bars,
            smoothing=smoothing,
            settings=settings,
        )
        pieces = _Drawn(session)
    if limit is None:
        for done in range(0, config.events, _CHUNK):
            more = min(_CHUNK, config.events - done)
            pieces.advance(more)
            if advanced is not None:
                advanced(more / config.events)
    else:
        _reach(pieces, config, limit, advanced)
    assert pieces.playing is not None
    rows = pieces.rows()[: len(generators)]
    if len(rows) < len(generators):
        raise ComposerError(f"n={len(generators)}: only {len(rows)} pieces are possible with these cuts; raise them")
    return _trimmed(rows, config, limit, rules, pieces.playing)


def _reach(
    pieces: _Drawn | BeamSearch, config: SamplingConfig, limit: float, advanced: Callable[[float], None] | None
) -> None:
    """Compose until all pieces have passed the limit, or are closed."""
    composed, share = 0, 0.0
    while composed == 0 or not _finished(pieces.playing, limit):
        assert config.seconds is not None
        if composed > config.seconds * _EVENTS_PER_SECOND_LIMIT + _CHUNK:
            raise ComposerError(
                f"seconds={config.seconds:g}: the network plays notes without advancing in time; "
                "compose a number of events instead (events=500)"
            )
        pieces.advance(_CHUNK)
        composed += _CHUNK
        if advanced is not None and pieces.playing is not None:
            now = min(1.0, float(pieces.playing.now.min()) / limit)
            advanced(now - share)
            share = now


def _finished(playing: Playing | None, limit: float) -> bool:
    assert playing is not None
    return bool((playing.done | (playing.now > limit)).all())


def _trimmed(rows: Tensor, config: SamplingConfig, limit: float | None, rules: Rules, playing: Playing) -> list[Tensor]:
    """Return the pieces (B, N, 3) up to their ends."""
    ends = torch.full((len(rows),), rows.shape[1], device=rows.device)
    if limit is not None:
        ends = (rules.times[rows[:, :, 2].long()].cumsum(1) <= limit).sum(1)
    if config.ending is Ending.close:
        # Where nothing was ever silent, there is no better end.
        closed = playing.closed[: len(rows)]
        ends = torch.where((closed > 0) & (closed <= ends), closed, ends)
    return [row[:end] for row, end in zip(rows, ends.tolist(), strict=True)]
