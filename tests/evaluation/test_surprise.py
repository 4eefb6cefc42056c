"""The Markov model of notes against its definition note by note, and the alarm for noise."""

import math
from collections import Counter

import numpy as np
import pytest

from composer.config.data import TimeUnit
from composer.evaluation.surprise import MarkovModel, _Counts, cross_bits, noise
from composer.music.events import prelude_piece
from composer.music.notes import NoteArrays, excerpts, notes_of

PRELUDE = notes_of(prelude_piece(TimeUnit.beats))


def slow_probability(rows: list[list[int]], base: float, before: list[int], symbol: int) -> float:
    """Witten and Bell's method C, from the longest context down."""
    likely = base
    for order in range(len(before) + 1):
        context = before[len(before) - order :]
        found = Counter(row[k] for row in rows for k in range(order, len(row)) if row[k - order : k] == context)
        total, different = sum(found.values()), len(found)
        if total:
            likely = (found[symbol] + different * likely) / (total + different)
    return likely


def test_bits_are_those_of_witten_and_bell_symbol_by_symbol() -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(0, 4, size) for size in (30, 3, 50)]
    counts = _Counts(rows, 9)
    # 7 is a symbol that the music does not have.
    heard = np.array([0, 1, 7, 2, 2, 3, 0])
    plain = [row.tolist() for row in rows]
    slow = [
        slow_probability(plain, 1 / 9, heard[max(k - 2, 0) : k].tolist(), int(symbol))
        for k, symbol in enumerate(heard.tolist())
    ]
    assert counts.bits(heard) == pytest.approx([-math.log2(p) for p in slow])


def test_the_probabilities_of_all_symbols_sum_to_one() -> None:
    rows = [np.random.default_rng(1).integers(0, 5, 60)]
    counts = _Counts(rows, 5)
    total = sum(2.0 ** -counts.bits(np.array([2, 3, symbol]))[-1] for symbol in range(5))
    # One symbol that the music does not have is possible too.
    assert total == pytest.approx(1 - 2.0 ** -counts.bits(np.array([2, 3, 99]))[-1])


def scrambled(piece: NoteArrays, pitches: bool) -> NoteArrays:
    random = np.random.default_rng(2)
    changed = {"pitch": random.integers(20, 110, len(piece)) if pitches else random.permutation(piece.pitch)}
    return NoteArrays(**({name: getattr(piece, name) for name in NoteArrays.__slots__} | changed))


def test_random_notes_surprise_more_than_music() -> None:
    half = len(PRELUDE) // 2
    model = MarkovModel([PRELUDE[:half]])
    assert model.score
    second = PRELUDE[half:]
    music, wrong, random = map(model.bits, (second, scrambled(second, False), scrambled(second, True)))
    assert music is not None
    assert wrong is not None
    assert random is not None
    assert music < wrong < random
    assert model.bits(PRELUDE[:half]) < music  # type: ignore[operator]
    assert model.bits(PRELUDE[:1]) is None
    assert MarkovModel([]).bits(PRELUDE) is MarkovModel([]).shuffled_bits is None


def test_music_in_random_order_surprises_more_than_in_its_own() -> None:
    model = MarkovModel([PRELUDE])
    assert model.shuffled_bits == MarkovModel([PRELUDE]).shuffled_bits
    assert model.shuffled_bits > 2 * model.bits(PRELUDE)  # type: ignore[operator]


def test_performances_have_their_times_in_seconds() -> None:
    random = np.random.default_rng(3)
    onsets = np.cumsum(random.exponential(0.3, len(PRELUDE)))
    played = NoteArrays(
        "played", PRELUDE.pitch, PRELUDE.velocity, onsets / 2, PRELUDE.duration_seconds, PRELUDE.event, onsets,
        PRELUDE.duration_beats, PRELUDE.markings,
    )  # fmt: skip
    model = MarkovModel([played])
    assert not model.score
    # A few classes of times, not one of each: a wait of the training music is expected elsewhere too.
    assert len(model.counts[1].alphabet) < 60


def test_parts_are_measured_after_the_others() -> None:
    parts = excerpts([PRELUDE], 100, 99)
    found = cross_bits(parts)
    assert found == [
        pytest.approx(MarkovModel([other for other in parts if other is not part]).bits(part)) for part in parts
    ]
    assert cross_bits(parts[:1]) == [None]
    assert cross_bits([]) == []


def test_noise_surprises_more_than_the_music_in_random_order() -> None:
    assert noise(17.0, 6.0, 17.5, "held-out music") == ""
    assert noise(18.0, 6.0, 17.5, "held-out music") == (
        "its notes carry 18.0 bits each after the training music (held-out music 6.0, "
        "the training music in random order 17.5)"
    )
    # Music without any order of its own.
    assert noise(18.0, 17.6, 17.5, "training music") == ""
