"""Titles and units of the figures of composed music, as a musician reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of composed or human music.

    Attributes:
        title: what it is.
        unit: of the printed number; `%` for shares, which files hold from 0 to 1.
        digits: behind the decimal point.
    """

    title: str
    unit: str
    digits: int = 0

    def text(self, value: Any) -> str:
        """Return a value without its unit; a dash where there is none, as in the record of an older run."""
        if not isinstance(value, (int, float)):
            return "-"
        return f"{100 * value if self.unit == '%' else value:.{self.digits}f}"


# The block `copying` of `summary.json`.
COPYING = {
    **{
        f"{kind}_{n}": Figure(f"runs of {n} notes that occur in the training music, {words}", "%")
        for n in (4, 8, 16)
        for kind, words in (("pitch", "at the same pitch"), ("interval", "transposed or not"))
    },
    "longest_notes": Figure("longest run that occurs in the training music, transposed or not", "notes"),
    "longest_events": Figure("the same", "events"),
    "longest_seconds": Figure("the same", "seconds", 1),
    "notes": Figure("length of the piece or excerpt", "notes"),
}
# The block `quality`: rhythm, repetition, harmony, texture, and what is outside the training music.
QUALITY = {
    "on_grid": Figure("times between onsets that are multiples of 1/12 beat", "%"),
    "on_beat": Figure("notes on a beat of the bar", "%"),
    "on_bar": Figure("notes at the start of a bar", "%"),
    "groove_similarity": Figure("similarity of the bars' rhythms", "%"),
    "repetition": Figure("figures of 9 notes that are repeated in the piece, transposed or not", "%"),
    "repetition_rhythm": Figure("figures of 9 notes that are repeated with their rhythm", "%"),
    "structure_short": Figure("repetition of passages of 3 to 8 seconds", "%"),
    "structure_medium": Figure("repetition of passages of 8 to 15 seconds", "%"),
    "structure_long": Figure("repetition of passages from 15 seconds on", "%"),
    "cadence": Figure("phrase ends that rest on the tonic triad", "%"),
    "ending": Figure("signs of an ending: long note, start of a bar, tonic in the bass", "%"),
    "scale_consistency": Figure("notes that belong to one major or minor scale", "%"),
    "pitch_class_entropy": Figure("entropy of the pitch classes", "bits", 2),
    "pitch_range": Figure("lowest to highest note", "semitones", 1),
    "polyphony": Figure("notes sounding at once, while any does", "notes", 2),
    "note_density": Figure("note density", "notes per second", 2),
    "silence": Figure("time when nothing sounds", "%", 1),
    "surprise": Figure("surprise to a Markov model of the training music", "bits per note", 1),
    "pitch_outside": Figure("notes outside the range of the training music", "%", 1),
    "velocity_unheard": Figure("notes with a velocity that does not occur in the training music", "%", 1),
    "released_per_500": Figure("notes held too long and released by force, per 500 events", "notes", 1),
}
# What `distance_to` of the block `quality` says.
DISTANCE_TO = {
    "held_out": ("held-out music", "held-out excerpts"),
    "held_out and training": ("human music, held out and trained on", "its excerpts"),
    "training": ("training music (none is held out)", "its excerpts"),
}


def rows(figures: Mapping[str, Figure], columns: list[Mapping[str, Any]]) -> list[list[str]]:
    """Return table rows: title with unit, then the value of each column; figures that no column has are left out."""
    known = [key for key in figures if any(key in column for column in columns)]
    return [
        [f"{figures[key].title} ({figures[key].unit})", *(figures[key].text(column.get(key)) for column in columns)]
        for key in known
    ]


def distance_sentence(quality: Mapping[str, Any]) -> str:
    """Return the summary figure and its largest contributions in words; empty where a record has none.

    Args:
        quality: the block of `summary.json`.
    """
    value, among = quality.get("distance"), quality.get("distance_among")
    if not isinstance(value, (int, float)):
        return ""
    music, excerpts = DISTANCE_TO.get(str(quality.get("distance_to")), ("human music", "its excerpts"))
    aim = f" (of {excerpts} to each other: {among:.1f})" if isinstance(among, (int, float)) else ""
    return f"distance of the composed pieces to {music}: {value:.1f}{aim}"


def warnings(quality: Mapping[str, Any]) -> list[str]:
    """Return the warnings of the block `quality`, one sentence each."""
    said = (("collapse", "what it composes has collapsed"), ("noise", "what it composes is noise"))
    return [f"{words}: {quality[key]}" for key, words in said if quality.get(key)]
