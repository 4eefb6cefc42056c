"""The place of each event in its bar, as a further input of the network (`model.bar_position`).

    N = events, B = pieces, V = time classes
    place  beats from the start of the piece
    class  floor(12 * beats from the start of the bar), 0 .. 95, by the piece's time signatures (MIDI's default is 4/4)

The grid of 1/12 beat is that of `music/rhythm.py`; an event less than its tolerance before a step is on that step.
Places beyond 8 beats have the class 95. The class is the fourth column of the input, after note, velocity and time. It
is not predicted: in composing it follows from the sampled times.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.config.data import TimeUnit
from composer.data.tokens import ArrayTokens, TokenSource
from composer.data.vocabulary import Vocabulary
from composer.errors import ComposerError
from composer.music.events import Piece
from composer.music.markings import Excerpt, Markings
from composer.music.pieces import Pieces
from composer.music.rhythm import BAR_CLASSES, GRID, TOLERANCE_BEATS

Array = NDArray[np.float64]


def bar_classes(offsets: Array) -> NDArray[np.uint8]:
    """Return the classes (N,) of places (N,) in beats from the start of their bars, the tolerance added."""
    return np.clip(np.floor(offsets * GRID), 0, BAR_CLASSES - 1).astype(np.uint8)


def piece_classes(piece: Piece) -> NDArray[np.uint8]:
    """Return the class (N,) of each event of a piece.

    Raises:
        ComposerError: the file has no beats.
    """
    if piece.timing.smpte:
        raise ComposerError(
            f"model.bar_position=true: {piece.name} counts time in SMPTE frames and has no bars; leave the file "
            "out, or set model.bar_position=false"
        )
    places = piece.beats()
    return bar_classes(piece.markings.bar_offsets(places + TOLERANCE_BEATS, float(places[-1])))


def with_bars(tokens: TokenSource, pieces: Pieces) -> TokenSource:
    """Return events as a network with `model.bar_position` reads them.

    Args:
        tokens: 3 classes per event of all pieces, one after another.
        pieces: these pieces in their order.

    Returns:
        4 classes per event: those of `tokens`, then that of the place in the bar.

    Raises:
        ComposerError: the corpus does not fit into memory, or a file has no beats.
    """
    if pieces.on_disk:
        raise ComposerError(
            f"model.bar_position=true: places in the bar are held in memory, and {len(tokens):,} events are too many; "
            "choose fewer files with data.path, or set model.bar_position=false"
        )
    classes, metre = [], False
    for piece in pieces:
        classes.append(piece_classes(piece))
        metre = metre or bool(piece.markings.meters)
    if not metre:
        warnings.warn("model.bar_position=true: no file has a time signature; bars of 4/4 are assumed", stacklevel=2)
    return ArrayTokens(np.column_stack([tokens[:], np.concatenate(classes)]))


@dataclass(frozen=True, slots=True)
class BarStart:
    """Places in the bar of a primer, and the values that decide those of the music after it.

    Attributes:
        primer: (N,) classes of the primer's events.
        offset: beats from the start of the bar to the last of these events, the tolerance added.
        bar: beats of each bar after the primer.
        beats: (V,) float64 beats of each time class.
    """

    primer: Tensor
    offset: float
    bar: float
    beats: Tensor

    def read(self, primer: Tensor) -> tuple[Tensor, BarClock]:
        """Return a primer (B, N, 3) with its places (B, N, 4), and the clock of the music after it."""
        places = self.primer.to(primer).expand(len(primer), -1)[..., None]
        return torch.cat([primer, places], dim=-1), BarClock(self, len(primer), primer.device)


class BarClock:
    """Places in the bar of B pieces that are being composed."""

    def __init__(self, start: BarStart, pieces: int, device: torch.device) -> None:
        """Set the clock to the end of the primer of `start`."""
        self.bar, self.beats = start.bar, start.beats.to(device)
        self.now = self.beats.new_full((pieces,), start.offset)

    def read(self, event: Tensor) -> Tensor:
        """Advance by the time of an event (B, 3) and return it with its place (B, 4)."""
        self.now = (self.now + self.beats[event[:, 2]]) % self.bar
        place = (self.now * GRID).floor().clamp(max=BAR_CLASSES - 1).long()
        return torch.cat([event, place[:, None]], dim=1)

    def select(self, pieces: Tensor) -> None:
        """Replace the pieces by those with these numbers (B,), which may repeat."""
        self.now = self.now[pieces]


def bar_start(
    primer: Tensor, vocabulary: Vocabulary, place: Excerpt | None, seconds_per_beat: float, metre: Markings, end: float
) -> BarStart:
    """Return the places in the bar of a primer and of the music after it, which `Markings.after` describes.

    The primer's places are counted back from its last event by the times that its classes decode to.

    Args:
        primer: (N, 3) classes.
        vocabulary: the vocabulary of these classes.
        place: place of the primer in its piece; None if unknown: a bar then begins with its last event.
        seconds_per_beat: tempo of the music after the primer.
        metre: markings with the metre that holds where `place` is None.
        end: the end of that music, in beats.
    """
    times, beats = np.asarray(vocabulary.time_values), vocabulary.time_unit is TimeUnit.beats
    in_beats = times if beats else times / seconds_per_beat
    # From each event to the last one.
    before_last = _before_last(in_beats if place is None else times, primer)
    if place is None:
        offset, bar = metre.bar_after(None, end)
        offsets = (TOLERANCE_BEATS - before_last) % bar
    else:
        own = place.markings
        offset, bar = own.bar_after(place.end, place.length)
        if beats:
            places = place.end - before_last
        else:
            places = own.beats(np.maximum(own.seconds(np.array([place.end])) - before_last, 0.0))
        offsets = own.bar_offsets(np.maximum(places, 0.0) + TOLERANCE_BEATS, place.length)
    classes = torch.from_numpy(bar_classes(offsets))
    return BarStart(classes, (offset + TOLERANCE_BEATS) % bar, bar, torch.from_numpy(in_beats))


def _before_last(times: Array, primer: Tensor) -> Array:
    """Return the time (N,) from each event of a primer (N, 3) to the last one, by the `times` (V,) of its classes."""
    elapsed = np.cumsum(times[primer[:, 2].long().cpu().numpy()])
    return np.asarray(elapsed[-1:] - elapsed)
