"""Keys and pitch spelling: C sharp or D flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.music.tonality import key_correlations
from composer.score.quantize import GridNote

_STEPS = "CDEFGAB"
_STEP_PITCHES = (0, 2, 4, 5, 7, 9, 11)
# Steps above the tonic of an interval in semitones, and the numbers of notes around one that decide its spelling:
# D. Meredith, The ps13 Pitch Spelling Algorithm, Journal of New Music Research 35(2), 2006.
_INTERVAL_STEPS = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)
_NOTES_BEFORE, _NOTES_AFTER = 10, 42
# Share of the highest vote that the name of a neighbour needs, its largest number of repetitions, and the weight of a
# vote for a double sharp or flat.
_MIN_NEIGHBOUR_SHARE, _MAX_REPETITIONS, _DOUBLE_WEIGHT = 0.3, 4, 0.7


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        fifths: sharps of its signature, flats below 0.
        minor: whether it is minor; otherwise major.
    """

    fifths: int
    minor: bool

    @property
    def tonic(self) -> tuple[int, int]:
        """Step (0 is C) and alteration of its tonic."""
        place = self.fifths + (3 if self.minor else 0)
        return (4 * place) % 7, (place + 1) // 7

    @property
    def name(self) -> str:
        """Name such as `E flat minor`."""
        step, alter = self.tonic
        return _STEPS[step] + {-1: " flat", 0: "", 1: " sharp"}[alter] + (" minor" if self.minor else " major")

    @property
    def midi_name(self) -> str:
        """Short name such as `Ebm`, as in MIDI key signatures and for `parse`."""
        step, alter = self.tonic
        return _STEPS[step] + {-1: "b", 0: "", 1: "#"}[alter] + ("m" if self.minor else "")

    @staticmethod
    def parse(text: str) -> Key:
        """Read a key from its short name in MIDI files: `C`, `F#m`, `Bb`.

        Raises:
            ComposerError: the text is not a key, or the key has more than seven sharps or flats.
        """
        minor = text.endswith("m")
        letter, accidentals = text[:1].upper(), text[1 : len(text) - minor]
        alter = {"": 0, "#": 1, "b": -1}.get(accidentals)
        if letter and letter in _STEPS and alter is not None:
            fifths = "FCGDAEB".index(letter) - 1 + 7 * alter - (3 if minor else 0)
            if -7 <= fifths <= 7:
                return Key(fifths, minor)
        raise ComposerError(f"key={text}: must be a key such as C, F#, Bb, or with m for minor: Am, F#m")


@dataclass(frozen=True, slots=True)
class Name:
    """A written pitch: `step` 0 is C, `alter` in semitones, `octave` 4 begins at middle C."""

    step: int
    alter: int
    octave: int

    @property
    def letter(self) -> str:
        """Letter from `C` to `B`."""
        return _STEPS[self.step]

    @property
    def pitch(self) -> int:
        """MIDI number."""
        return 12 * (self.octave + 1) + _STEP_PITCHES[self.step] + self.alter


def key_alterations(key: Key) -> list[int]:
    """Return the alteration (7,) of each step by the key signature."""
    alterations = [0] * 7
    for number in range(abs(key.fifths)):
        step = "FCGDAEB"[number] if key.fifths > 0 else "BEADGCF"[number]
        alterations[_STEPS.index(step)] += 1 if key.fifths > 0 else -1
    return alterations


# Difference of two correlations below which neither key is preferred for its profile.
DOUBT = 0.05


def estimate_key(notes: Sequence[GridNote]) -> Key:
    """Return the key whose profile fits the durations of the pitch classes best; see `estimate_key_of`."""
    durations = np.zeros(12)
    for note in notes:
        # Limited, so that a pedal point does not outweigh the rest.
        durations[note.pitch % 12] += min(note.duration, 4 * 96)
    return estimate_key_of(durations)


def estimate_key_of(weights: NDArray[np.float64]) -> Key:
    """Return the key whose profile correlates best with weights of the pitch classes.

    C. Krumhansl and M. Schmuckler's method: Krumhansl, Cognitive Foundations of Musical Pitch, 1990, p. 77.

    Args:
        weights: (12,) weight of each pitch class from C, such as its total duration in any unit.

    Returns:
        The key, of -5 to 6 sharps; of equally good keys the one with fewest sharps or flats (C for equal weights).
    """
    scores = _key_scores(weights)
    return max(scores, key=lambda key: (scores[key], -abs(key.fifths)))


def _key_scores(weights: NDArray[np.float64]) -> dict[Key, float]:
    """Return the correlation of each key with weights (12,) of the pitch classes."""
    scores = {}
    for number, correlation in enumerate(key_correlations(weights).tolist()):
        minor, tonic = divmod(number, 12)
        fifths = (7 * (tonic + 3 * minor) + 5) % 12 - 5  # from -5 to 6
        scores[Key(fifths, bool(minor))] = round(correlation, 9)
    return scores


def key_margin(notes: Sequence[GridNote]) -> tuple[Key, float, Key, float]:
    """Return the key of `estimate_key` with its correlation, and the next best one with its own.

    The difference is the margin of the estimate: below `DOUBT` the estimate is ambiguous.
    """
    durations = np.zeros(12)
    for note in notes:
        durations[note.pitch % 12] += min(note.duration, 4 * 96)
    scores = _key_scores(durations)
    best, second = sorted(scores, key=lambda key: (-scores[key], abs(key.fifths)))[:2]
    return best, scores[best], second, scores[second]


def plain_key(notes: Sequence[GridNote]) -> Key:
    """Return the key of `estimate_key`, or of those within `DOUBT` of it the one with fewest sharps or flats."""
    best, own, second, other = key_margin(notes)
    return min(best, second, key=lambda key: abs(key.fifths)) if own - other < DOUBT else best


def spell(notes: Sequence[GridNote], key: Key, following: Sequence[int | None] | None = None) -> list[Name]:
    """Name each note by the keys that the notes around it suggest: Meredith's ps13, its first stage.

    Every nearby pitch class votes, once per occurrence, for the name that the note would have if that class were the
    tonic. The names of tonics follow from the key of the piece. A note outside the key that moves by a semitone is a
    neighbour of the next note: its name is a step away, unless the votes are clearly against it.

    Args:
        notes: sorted by onset, then pitch.
        key: key of the piece.
        following: for each note, the number of the next note, a semitone away or of the same pitch.
    """
    classes = [note.pitch % 12 for note in notes]
    home_step, home_alter = key.tonic
    home = (_STEP_PITCHES[home_step] + home_alter) % 12
    near = Counter(classes[:_NOTES_AFTER])
    names = []
    votes_of = []
    for index, note in enumerate(notes):
        if index + _NOTES_AFTER <= len(classes) and index:
            near[classes[index + _NOTES_AFTER - 1]] += 1
        if index > _NOTES_BEFORE:
            near[classes[index - _NOTES_BEFORE - 1]] -= 1
        votes = [0.0] * 7
        for tonic, count in near.items():
            tonic_step = home_step + _INTERVAL_STEPS[(tonic - home) % 12]
            votes[(tonic_step + _INTERVAL_STEPS[(classes[index] - tonic) % 12]) % 7] += count
        worth = [count * (1 if _simple(note.pitch, step) else _DOUBLE_WEIGHT) for step, count in enumerate(votes)]
        names.append(_name(note.pitch, worth.index(max(worth))))
        votes_of.append(votes)
    if following is not None:
        _resolve(notes, names, votes_of, key, following)
    return names


def _resolve(
    notes: Sequence[GridNote],
    names: list[Name],
    votes_of: Sequence[Sequence[float]],
    key: Key,
    following: Sequence[int | None],
) -> None:
    """Name neighbours of the next note, from the last note to the first; a repeated note keeps one name."""
    signature = key_alterations(key)
    repeated = {
        after: index for index, after in enumerate(following) if after is not None and _same(notes, index, after)
    }
    for index in range(len(notes) - 1, -1, -1):
        after, name, pitch = following[index], names[index], notes[index].pitch
        if after is None or _same(notes, index, after) or signature[name.step] == name.alter:
            continue
        run = [index]
        while run[-1] in repeated:
            run.append(repeated[run[-1]])
        if len(run) > _MAX_REPETITIONS:
            continue
        step = (names[after].step + pitch - notes[after].pitch) % 7
        votes, most = (sum(votes_of[member][which] for member in run) for which in (step, name.step))
        if step != name.step and _simple(pitch, step) and votes >= _MIN_NEIGHBOUR_SHARE * most:
            for member in run:
                names[member] = _name(pitch, step)


def _same(notes: Sequence[GridNote], one: int, other: int) -> bool:
    return notes[one].pitch == notes[other].pitch


def _simple(pitch: int, step: int) -> bool:
    """Return whether a step names a pitch with at most one sharp or flat."""
    return abs((pitch - _STEP_PITCHES[step] + 6) % 12 - 6) <= 1


def _name(pitch: int, step: int) -> Name:
    alter = (pitch - _STEP_PITCHES[step] + 6) % 12 - 6
    return Name(step, alter, (pitch - alter) // 12 - 1)
