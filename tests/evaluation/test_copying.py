"""What is quoted: shares, longest runs and passages against slow searches, and struck notes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.data import TimeUnit
from composer.evaluation.copying import ORDERS, NgramIndex, measure
from composer.music.events import Events, Piece, Timing, prelude_piece
from composer.music.markings import Markings
from composer.music.notes import NoteArrays, excerpts, from_piece, notes_of

PRELUDE = prelude_piece(TimeUnit.seconds)


def notes(pitches: list[int], name: str = "a") -> NoteArrays:
    """A note every half second, each with a release after it."""
    count = len(pitches)
    onsets = 0.5 * np.arange(count)
    return NoteArrays(
        name,
        np.array(pitches, np.int64),
        np.full(count, 64),
        onsets,
        np.full(count, 0.4),
        2 * np.arange(count),
        2 * onsets,
        np.full(count, 0.8),
        Markings(),
    )


def codes(pitches: list[int], transposed: bool) -> list[int]:
    return np.diff(pitches).tolist() if transposed else pitches


def grams(pitches: list[int], n: int, transposed: bool) -> list[tuple[int, ...]]:
    return [tuple(codes(pitches[k : k + n], transposed)) for k in range(len(pitches) - n + 1)]


few = st.lists(st.integers(60, 63), max_size=40)


@given(few, st.lists(few, max_size=3), st.booleans())
def test_shares_and_the_longest_run_are_those_of_a_slow_search(
    mine: list[int], others: list[list[int]], transposed: bool
) -> None:
    reference = NgramIndex([notes(other) for other in others])
    piece = notes(mine)
    kind = "interval" if transposed else "pitch"
    shares = reference.shares(piece)
    for n in ORDERS:
        known = {gram for other in others for gram in grams(other, n, transposed)}
        found = [gram in known for gram in grams(mine, n, transposed)]
        assert shares.get(f"{kind}_{n}") == (pytest.approx(np.mean(found)) if found else None)
    lengths = [
        n
        for n in range(2, len(mine) + 1)
        if {g for o in others for g in grams(o, n, transposed)} & set(grams(mine, n, transposed))
    ]
    run = reference.longest(piece, transposed=transposed)
    assert (run.notes if run else 0) == max(lengths, default=0)


@given(few, st.lists(few, max_size=3), st.integers(2, 6))
def test_passages_are_true_apart_and_none_is_left(mine: list[int], others: list[list[int]], least: int) -> None:
    reference = NgramIndex([notes(other, f"piece {k}") for k, other in enumerate(others)])
    passages = reference.passages(notes(mine), least=least)
    free, end = [], 0
    for p in passages:
        assert p.first >= end
        assert p.notes >= least
        source = others[int(p.source.split()[1])]
        place = round(p.source_start / 0.5)
        quoted = [pitch + p.transposition for pitch in source[place : place + p.notes]]
        assert quoted == mine[p.first : p.first + p.notes]
        free.append(mine[end : p.first])
        end = p.first + p.notes
    known = {gram for other in others for gram in grams(other, least, True)}
    for part in [*free, mine[end:]]:
        assert not known & set(grams(part, least, True))


def test_a_passage_tells_where_it_is_and_where_it_is_from() -> None:
    tune = [60, 64, 67, 72, 71, 67, 62, 65, 69]
    piece = notes([30, 90, *[pitch + 3 for pitch in tune], 20, 99])
    (p,) = NgramIndex([notes([1, 50, 2]), notes([40, *tune, 100], "b")]).passages(piece)
    assert (p.first, p.notes, p.events, p.transposition) == (2, 9, 17, 3)
    assert (p.start, p.end, p.seconds) == (1.0, 5.5, 4.5)
    assert (p.source, p.source_start) == ("b", 0.5)


def test_a_passage_at_the_end_lasts_until_its_last_release() -> None:
    tune = [60, 64, 67, 72, 71, 67, 62, 65]
    (p,) = NgramIndex([notes(tune)]).passages(notes([30, *tune]))
    assert p.end == pytest.approx(4.0 + 0.4)


def test_nothing_is_quoted_from_nothing_and_by_nothing() -> None:
    assert NgramIndex([]).longest(notes([60, 62, 64])) is None
    assert NgramIndex([notes([60, 62, 64])]).longest(notes([])) is None
    figures = measure([notes([])], NgramIndex([notes([60, 62])]))
    assert figures == {"notes": 0, "longest_notes": 0, "longest_events": 0, "longest_seconds": 0}


def test_a_piece_quotes_itself_and_its_transposition_wholly() -> None:
    piece = notes_of(PRELUDE)
    figures = measure([piece], NgramIndex([piece]))
    assert all(figures[f"{kind}_{n}"] == 1 for kind in ("pitch", "interval") for n in ORDERS)
    assert figures["longest_notes"] == len(piece)
    (whole,) = NgramIndex([piece]).passages(piece)
    assert (whole.notes, whole.events, whole.transposition) == (
        549,
        len(PRELUDE.events) - 5,
        0,
    )  # but for the last releases
    higher = notes([60, 64, 67, 60, 65, 69, 72])
    moved = measure([higher], NgramIndex([notes([65, 69, 72, 65, 70, 74, 77])]))
    assert (moved["pitch_4"], moved["interval_4"], moved["longest_notes"]) == (0, 1, 7)


# Struck notes

messages = st.lists(
    st.tuples(st.integers(60, 63), st.sampled_from([0, 0, 64, 80]), st.sampled_from([0.0, 0.25, 1.0])),
    min_size=1,
    max_size=40,
)


@given(messages, st.sampled_from(TimeUnit))
def test_strikes_are_the_notes_of_the_renderer(found: list[tuple[int, int, float]], unit: TimeUnit) -> None:
    pitch, velocity, time = (np.array(column) for column in zip(*found, strict=True))
    events = Events(pitch.astype(np.uint8), velocity.astype(np.uint8), time.astype(np.float64), unit)
    piece = Piece("p", events, Timing(480, 400_000))
    strikes = notes_of(piece)
    if not velocity.any():
        assert len(strikes) == 0
        return
    slow = from_piece(piece).notes
    mine = zip(strikes.pitch, strikes.onset_seconds, strikes.duration_seconds, strict=True)
    theirs = [(note.pitch, note.onset_seconds, note.duration_seconds) for note in slow]
    assert np.allclose(sorted(tuple(map(float, row)) for row in mine), sorted(theirs))
    assert strikes.pitch.tolist() == events.pitch[strikes.event].tolist()
    assert strikes.velocity.tolist() == events.velocity[strikes.event].tolist()


def test_excerpts_are_whole_and_spread_evenly() -> None:
    pieces = [notes(list(range(50, 60))), notes([60, 61]), notes([70])]
    assert [part.pitch.tolist() for part in excerpts(pieces, 4, 9)] == [[50, 51, 52, 53], [54, 55, 56, 57], [60, 61]]
    assert [part.pitch[0] for part in excerpts(pieces, 1, 3)] == [50, 56, 70]
