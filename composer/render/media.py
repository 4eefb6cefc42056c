"""Media of a piece for TensorBoard: the first page of its score and its piano roll as PNG, and its sound as WAV."""

from __future__ import annotations

import dataclasses
import io
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.music.notes import Performance
from composer.render import audio, pianoroll
from composer.score.engrave import notate, pages, to_png

# An event file stores the sound of every composed sample: a minute in CD quality would take ten megabytes.
SECONDS = 15.0
RATE = audio.SAMPLE_RATE // 2


@dataclass(frozen=True, slots=True)
class Sound:
    """A WAV file of one channel at `RATE`, and its frames."""

    wav: bytes
    frames: int


@dataclass(frozen=True, slots=True)
class Media:
    """Pictures and sound of a piece; None where a package is missing, or the piece is too long for a score."""

    score: bytes | None
    roll: bytes | None
    sound: Sound


def media(performance: Performance) -> Media:
    """Render a piece; the sound is cut to the first `SECONDS`."""
    return Media(_score(performance), _roll(performance), _sound(performance))


def silence() -> Media:
    """Return the media of a piece without a note: a second of silence, and pictures that say so."""
    try:
        picture = pianoroll.notice("The piece has no note.")
    except ComposerError:
        picture = None
    return Media(picture, picture, _wav(np.zeros(RATE)))


def _score(performance: Performance) -> bytes | None:
    try:
        return to_png(pages(notate(performance).musicxml)[0])
    except ComposerError:
        return None


def _roll(performance: Performance) -> bytes | None:
    try:
        return pianoroll.draw([performance], ("png",))["png"]
    except ComposerError:
        return None


def _sound(performance: Performance) -> Sound:
    audible = [
        dataclasses.replace(note, duration_seconds=min(note.duration_seconds, SECONDS - note.onset_seconds))
        for note in performance.notes
        if note.onset_seconds < SECONDS
    ]
    samples = audio.synthesize(audible, RATE).mean(axis=1)[: round(SECONDS * RATE)]
    return _wav(samples)


def _wav(samples: NDArray[np.floating[Any]]) -> Sound:
    """Return (frames,) samples between -1 and 1 as a WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return Sound(stream.getvalue(), len(samples))
