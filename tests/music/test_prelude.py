"""Checks of the built-in prelude: plain facts, and a comparison with an independent copy of the score."""

from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise

import pytest

from composer.music import prelude as module
from composer.music.prelude import ScoreNote, prelude

BEATS_PER_BAR = 4


def bar_notes(bar: int) -> list[ScoreNote]:
    """Notes that start in a bar, counted from 1."""
    return [note for note in prelude() if note.onset_beats // BEATS_PER_BAR == bar - 1]


def test_size_and_order() -> None:
    """35 bars: 32 of two 8-note figures, two closing bars of 16 notes, and a chord of five."""
    notes = prelude()
    assert len(notes) == 32 * 16 + 2 * 16 + 5 == 549
    assert max(note.onset_beats + note.duration_beats for note in notes) == 35 * BEATS_PER_BAR
    assert [len(bar_notes(bar)) for bar in range(1, 36)] == [16] * 34 + [5]
    assert notes == sorted(notes, key=lambda note: (note.onset_beats, note.pitch))
    assert notes == prelude()
    assert (module.TICKS_PER_BEAT, module.PROGRAM) == (480, 0)
    assert all((note.onset_beats * module.TICKS_PER_BEAT).denominator == 1 for note in notes)


def test_first_bar() -> None:
    """The best-known bar, note by note: C4 E4 G4 C5 E5 G4 C5 E5, twice."""
    notes = bar_notes(1)
    assert [note.pitch for note in notes] == [60, 64, 67, 72, 76, 67, 72, 76] * 2
    assert [note.onset_beats for note in notes] == [Fraction(step, 4) for step in range(16)]
    assert [note.duration_beats for note in notes[:4]] == [2, Fraction(7, 4), Fraction(1, 4), Fraction(1, 4)]


def test_landmarks() -> None:
    """The dominant pedal is eight bars of G2, bar 23 follows 22 directly, and the end stands on C2."""
    assert [min(note.pitch for note in bar_notes(bar)) for bar in range(22, 36)] == [42, 44, *[43] * 8, *[36] * 4]
    assert [(note.pitch, note.duration_beats) for note in bar_notes(33)[:2]] == [(36, 4), (48, Fraction(15, 4))]
    assert [note.pitch for note in bar_notes(35)] == [36, 48, 64, 67, 72]
    assert {note.duration_beats for note in bar_notes(35)} == {4}


def test_no_pitch_is_struck_while_it_sounds() -> None:
    """A restart of a sounding pitch would be lost on a keyboard."""
    by_pitch = defaultdict(list)
    for note in prelude():
        by_pitch[note.pitch].append(note)
    for same in by_pitch.values():
        assert all(a.onset_beats + a.duration_beats <= b.onset_beats for a, b in pairwise(same))


@pytest.mark.slow
def test_velocities() -> None:
    """Velocities vary enough to be worth learning, stay moderate, and follow the described shape."""
    values = Counter(note.velocity for note in prelude())
    assert 40 <= min(values)
    assert max(values) <= 95
    assert 20 <= len(values) <= 40

    mean = [sum(n.velocity for n in bar_notes(bar)) / len(bar_notes(bar)) for bar in range(1, 36)]
    assert 24 <= mean.index(max(mean)) + 1 <= 31
    assert mean[34] < mean[0]
    for bar in range(1, 24):
        first, second = bar_notes(bar)[:8], bar_notes(bar)[8:]
        assert sum(n.velocity for n in first) > sum(n.velocity for n in second)
        assert first[0].velocity > first[1].velocity  # bass above tenor
        assert first[7].velocity > first[6].velocity  # top note above its neighbour


@pytest.mark.slow
def test_against_independent_copy() -> None:
    """Every onset, pitch and duration agrees with the music21 corpus copy.

    That copy has only 34 bars: it leaves out bar 26 (G2 D3 G3 C4 F4), one of the eight bars over the dominant
    pedal. So its bars 26-34 are our 27-35, and bar 26 is checked here by hand. It writes the bass of bars 33 and 34
    as two tied half notes, where we have one whole note; ties are joined below.
    """
    pytest.importorskip("music21")
    from music21 import corpus

    sounding: list[tuple[Fraction, Fraction, int]] = []
    for part in corpus.parse("bach/bwv846").parts:
        tied: dict[int, tuple[Fraction, Fraction]] = {}
        for item in part.recurse().notes:
            onset, length = Fraction(item.getOffsetInHierarchy(part)), Fraction(item.quarterLength)
            if onset >= 25 * BEATS_PER_BAR:
                onset += BEATS_PER_BAR  # make room for the bar that the copy leaves out
            kind = item.tie.type if item.tie else None
            for pitch in (p.midi for p in item.pitches):
                start, held = tied.pop(pitch) if kind in ("stop", "continue") else (onset, Fraction(0))
                assert start + held == onset, "a tie must join neighbours"
                if kind in ("start", "continue"):
                    tied[pitch] = (start, held + length)
                else:
                    sounding.append((start, held + length, pitch))
        assert not tied

    ours = [(note.onset_beats, note.duration_beats, note.pitch) for note in prelude()]
    bar_26 = [entry for entry in ours if 25 * BEATS_PER_BAR <= entry[0] < 26 * BEATS_PER_BAR]
    assert [pitch for _, _, pitch in bar_26] == [43, 50, 55, 60, 65, 55, 60, 65] * 2
    assert len(sounding) == 549 - 16
    assert sorted(sounding + bar_26) == sorted(ours)
