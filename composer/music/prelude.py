"""The default piece: J. S. Bach, Prelude in C major, BWV 846 (The Well-Tempered Clavier, Book I).

The music is in the public domain. The score below is our own compact notation of the usual 35-bar text, without
the extra bar (after bar 22) of some old editions. Times are in quarter notes, held exactly as fractions.
The tempo and the dynamics are ours: Bach wrote neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

TITLE = "J. S. Bach: Prelude in C major, BWV 846"
TICKS_PER_BEAT = 480  # one beat is a quarter note
BEATS_PER_MINUTE = 72
METER, KEY = (4, 4), "C"
PROGRAM = 0  # General MIDI acoustic grand piano, counted from 0

_BEATS_PER_BAR = 4
_SIXTEENTH = Fraction(1, 4)

# One bar per line; C4 is middle C (MIDI 60). Bars 1-32: a chord from the bass up, spread twice in the same figure.
# Bars 33-34: bass, tenor, then fourteen sixteenths. Bar 35: the closing chord, all notes together.
_SCORE = """
C4  E4  G4  C5  E5
C4  D4  A4  D5  F5
B3  D4  G4  D5  F5
C4  E4  G4  C5  E5
C4  E4  A4  E5  A5
C4  D4  F#4 A4  D5
B3  D4  G4  D5  G5
B3  C4  E4  G4  C5
A3  C4  E4  G4  C5
D3  A3  D4  F#4 C5
G3  B3  D4  G4  B4
G3  Bb3 E4  G4  C#5
F3  A3  D4  A4  D5
F3  Ab3 D4  F4  B4
E3  G3  C4  G4  C5
E3  F3  A3  C4  F4
D3  F3  A3  C4  F4
G2  D3  G3  B3  F4
C3  E3  G3  C4  E4
C3  G3  Bb3 C4  E4
F2  F3  A3  C4  E4
F#2 C3  A3  C4  Eb4
Ab2 F3  B3  C4  D4
G2  F3  G3  B3  D4
G2  E3  G3  C4  E4
G2  D3  G3  C4  F4
G2  D3  G3  B3  F4
G2  Eb3 A3  C4  F#4
G2  E3  G3  C4  G4
G2  D3  G3  C4  F4
G2  D3  G3  B3  F4
C2  C3  G3  Bb3 E4
C2 C3  F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3
C2 B2  G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4
C2  C3  E4  G4  C5
"""

# Velocity of the plain (unaccented) note at the start of these bars; straight lines between them. One long arch:
# a calm start, growth over the dominant pedal (bars 24-31), then a quiet end.
_ARCH = ((1, 54), (19, 62), (24, 68), (30, 80), (32, 72), (35, 46))

_Event = tuple[Fraction, Fraction, int]  # onset and duration in beats, MIDI pitch


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """One note of the score.

    Attributes:
        onset_beats: Start, in quarter notes from the start of the piece.
        duration_beats: Length, in quarter notes.
        pitch: MIDI note number (60 is middle C).
        velocity: MIDI velocity, 1 to 127.
    """

    onset_beats: Fraction
    duration_beats: Fraction
    pitch: int
    velocity: int


def _pitches(line: str) -> list[int]:
    """Convert note names such as `Bb3` to MIDI numbers."""
    steps = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    # A small "b" is always a flat: steps are capital letters.
    return [12 * (int(n[-1]) + 1) + steps[n[0]] + n.count("#") - n.count("b") for n in line.split()]


def _figure(start: Fraction, span: int, pitches: list[int]) -> Iterator[_Event]:
    """Yield a broken chord of `span` beats: held bass, held tenor a sixteenth later, the rest as sixteenths."""
    bass, tenor, *upper = pitches
    yield start, Fraction(span), bass
    yield start + _SIXTEENTH, span - _SIXTEENTH, tenor
    for step, pitch in enumerate(upper, start=2):
        yield start + step * _SIXTEENTH, _SIXTEENTH, pitch


def _bars() -> Iterator[list[_Event]]:
    """Yield the notes of each bar in turn."""
    *bars, final = [_pitches(line) for line in _SCORE.strip().split("\n")]
    for number, notes in enumerate(bars):
        start = Fraction(number * _BEATS_PER_BAR)
        if len(notes) == 5:
            notes += notes[2:]  # the upper three notes occur twice in each figure
            yield [*_figure(start, 2, notes), *_figure(start + 2, 2, notes)]
        else:
            yield list(_figure(start, _BEATS_PER_BAR, notes))
    yield [(Fraction(len(bars) * _BEATS_PER_BAR), Fraction(_BEATS_PER_BAR), pitch) for pitch in final]


def _velocity(onset: Fraction, *, is_bass: bool, is_top: bool) -> int:
    """Return the velocity at a place in the music: the long arch, plus small accents.

    The bass gets +6, the top note of the bar +4, any note on a beat +3; the second half of a bar -4.
    The sum is rounded to even numbers: a finer step is not audible, and fewer values are easier to learn.
    """
    position = 1 + onset / _BEATS_PER_BAR  # in bars, counted from 1
    (bar, level), (next_bar, next_level) = next(pair for pair in pairwise(_ARCH) if position <= pair[1][0])
    plain = level + (position - bar) * (next_level - level) / (next_bar - bar)
    accent = 6 * is_bass + 4 * is_top + 3 * (onset.denominator == 1) - 4 * (onset % _BEATS_PER_BAR >= 2)
    return 2 * round((plain + accent) / 2)


def prelude() -> list[ScoreNote]:
    """Return the whole prelude: 35 bars of 4/4, sorted by onset, then pitch.

    Durations are as notated, tied notes joined. No pitch begins while it still sounds, so none is shortened.
    """
    notes = []
    for bar in _bars():
        low, high = min(pitch for *_, pitch in bar), max(pitch for *_, pitch in bar)
        for onset, duration, pitch in bar:
            velocity = _velocity(onset, is_bass=pitch == low, is_top=pitch == high)
            notes.append(ScoreNote(onset, duration, pitch, velocity))
    return sorted(notes, key=lambda note: (note.onset_beats, note.pitch))
