"""Musical scales by name, as sets of pitch classes."""

from __future__ import annotations

import re

# Semitones above the tonic.
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic_minor": (0, 2, 3, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole_tone": (0, 2, 4, 6, 8, 10),
    "octatonic": (0, 2, 3, 5, 6, 8, 9, 11),
}
_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def scale_pitches(name: str) -> frozenset[int] | None:
    """Return the pitch classes (C is 0) of a key (`Bb`, `F#m`) or of a scale (`D:dorian`); None where it is neither."""
    found = re.fullmatch(r"([A-G])([#b]?)(m?)(?::([a-z_]+))?", name)
    if found is None or (found[3] and found[4]):
        return None
    steps = SCALES.get(found[4] or ("minor" if found[3] else "major"))
    if steps is None:
        return None
    tonic = _TONICS[found[1]] + {"#": 1, "b": -1, "": 0}[found[2]]
    return frozenset((tonic + step) % 12 for step in steps)
