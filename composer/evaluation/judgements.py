"""Judgements of composed pieces: copying and comparison with human music, as stored in files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass
from typing import Any

from composer.evaluation.copying import Passage
from composer.evaluation.distance import Distance


@dataclass(frozen=True, slots=True)
class Copying:
    """Copying of composed pieces and of held-out music from the training music.

    Attributes:
        composed: the figures of `copying.measure`, as means over the pieces.
        pieces: the same of each piece.
        held_out: of excerpts of held-out music, as long as the composed pieces at most; None without any.
        split: where the held-out music is from.
        longest: the longest quoted passage of each piece; None where it quotes nothing.
        training_pieces, training_pieces_in_all: pieces that were searched, and pieces that trained.
        training_events: events that were searched.
    """

    composed: dict[str, float]
    pieces: list[dict[str, float]]
    held_out: dict[str, float] | None
    split: str | None
    longest: list[Passage | None]
    training_pieces: int
    training_pieces_in_all: int
    training_events: int

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `summary.json`."""
        return {
            "composed": self.composed,
            "pieces": self.pieces,
            "held_out": self.held_out,
            "split": self.split,
            "longest": [None if passage is None else passage_dict(passage) for passage in self.longest],
            "reference": {
                "pieces": self.training_pieces,
                "of": self.training_pieces_in_all,
                "events": self.training_events,
            },
        }


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality figures of composed pieces, of training and of held-out music.

    Attributes:
        composed: the figures of `legend.QUALITY` that the pieces have, each a mean over those that have it.
        training, held_out: of human music, means over excerpts as long as the composed pieces at most; None without
            held-out music.
        split: where the held-out music is from.
        overlap, divergence: how similar the distributions of parts of 32 notes are to those of the training music, of
            `composed` and `held_out` music, by figure; `overlap` with its `mean`.
        overlap_held_out, divergence_held_out: the same of composed from held-out music.
        parts: how many parts these were.
        distance: how far the pieces are from human music; None where nothing can be compared.
        collapse: why they are those of a collapsed network, or None.
        noise: why they sound like noise, or None.
        surprise_shuffled: the figure `surprise` of the training music with its notes in random order; None where it has
            no two notes.
    """

    composed: dict[str, float]
    training: dict[str, float]
    held_out: dict[str, float] | None
    split: str | None
    overlap: dict[str, dict[str, float] | None]
    divergence: dict[str, dict[str, float] | None]
    overlap_held_out: dict[str, float] | None
    divergence_held_out: dict[str, float] | None
    parts: dict[str, int]
    distance: Distance | None
    collapse: str | None
    noise: str | None
    surprise_shuffled: float | None

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `summary.json`: the distance as a number, with what belongs to it behind."""
        plain = {key: getattr(self, key) for key in self.__dataclass_fields__}
        far = self.distance
        return plain | {
            "distance": None if far is None else far.value,
            "distance_among": None if far is None else far.among,
            "distance_to": None if far is None else far.to,
            "distance_by_figure": None if far is None else far.by_figure,
        }


def passage_dict(passage: Passage) -> dict[str, Any]:
    """Return a passage as files and the player page have it; times are rounded down to milliseconds."""
    plain = {**asdict(passage), "seconds": passage.seconds}
    return {key: math.floor(value * 1000) / 1000 if isinstance(value, float) else value for key, value in plain.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """Copying and quality of composed pieces."""

    copying: Copying
    quality: Quality

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `summary.json`."""
        return {"copying": self.copying.to_plain(), "quality": self.quality.to_plain()}
