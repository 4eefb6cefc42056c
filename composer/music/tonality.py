"""Key estimation from the durations of the pitch classes (Krumhansl and Schmuckler)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from composer.music.events import Piece
from composer.music.notes import notes_of

Array = NDArray[np.float64]

# Listeners' ratings of how well each pitch class fits a key, from the tonic up: C. Krumhansl, Cognitive Foundations of
# Musical Pitch, 1990, p. 30; the method with correlations is hers and M. Schmuckler's, p. 77 of the same book.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
# Names of the keys by their tonic from C up, as MIDI key signatures have them.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("Cm", "C#m", "Dm", "D#m", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")
MAX_KEY_BEATS = 4.0
_PROFILES = np.stack([np.roll(profile, tonic) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for tonic in range(12)])
_CENTRED = _PROFILES - _PROFILES.mean(1, keepdims=True)
_NORMS = np.linalg.norm(_CENTRED, axis=1)


def key_correlations(sounding: Array) -> Array:
    """Return the correlation (24,) of each key's profile, C major to B major and C minor to B minor, with a piece.

    Args:
        sounding: (12,) duration of each pitch class, in any unit.
    """
    centred = sounding - sounding.mean()
    return np.asarray(_CENTRED @ centred / _NORMS / max(float(np.linalg.norm(centred)), 1e-12))


def estimate_tonic(sounding: Array) -> tuple[int, bool]:
    """Return the tonic's pitch class and whether the key is minor: the profile with the highest correlation.

    Args:
        sounding: (12,) duration of each pitch class, in any unit.
    """
    best = int(np.argmax(key_correlations(sounding)))
    return best % 12, best >= 12


def with_key(piece: Piece) -> Piece:
    """Return the piece with a key signature: its file's, or the estimate where the file has none.

    A note counts for at most `MAX_KEY_BEATS` beats, so that a pedal point does not outweigh the rest. Files in SMPTE
    frames, which have no beats, and pieces without a note stay as they are.
    """
    notes = notes_of(piece)
    if piece.markings.keys or piece.timing.smpte or not len(notes):
        return piece
    sounding = np.minimum(notes.duration_beats, MAX_KEY_BEATS)
    tonic, minor = estimate_tonic(np.bincount(notes.pitch % 12, sounding, 12).astype(np.float64))
    name = (MINOR_KEYS if minor else MAJOR_KEYS)[tonic]
    return replace(piece, markings=replace(piece.markings, keys=((0.0, name),)))
