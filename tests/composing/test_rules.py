"""Rules on what may come next: each alone, together, and over whole pieces of an untrained network."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch

from composer.composing.lengths import compose_rows
from composer.composing.named_rules import Scope, make_rules
from composer.composing.rules import (
    Playing,
    Rules,
    after,
    at_most,
    closed_by_events,
    meet,
    no_longer,
    not_more_often,
    playable,
    silence,
    sounding_after,
    within,
)
from composer.config.compose import compose
from composer.config.sampling import Ending, SamplingConfig
from composer.config.scales import scale_pitches
from composer.errors import ComposerError
from composer.nets.build import build_model

TIMES = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
SIZES = (12, 6, 4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in composing: on a busy machine steps so small take far longer by two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sampling(**changes: object) -> SamplingConfig:
    return dataclasses.replace(compose().sampling, **changes)  # type: ignore[arg-type]


def played(*events: tuple[int, int, int], notes: int = 4) -> Playing:
    playing = silence(1, notes)
    for event in events:
        playing = after(playing, torch.tensor([event]), TIMES)
    return playing


def test_what_plays_follows_the_events() -> None:
    playing = played((2, 5, 1), (0, 3, 2), (2, 0, 3), (2, 4, 0))
    assert playing.sounding.tolist() == [[True, False, True, False]]
    assert playing.struck[0, [0, 2]].tolist() == [0.75, 1.75]
    assert (playing.now.item(), playing.passed, playing.closed.item()) == (1.75, 4, 0)
    assert playing.recent[0, :4].tolist() == [5, 4, 1, 5]
    assert played((2, 5, 1), (2, 0, 1)).closed.item() == 2


def test_notes_sounding_before_a_piece_keep_their_time() -> None:
    playing = sounding_after([2, 0, 2, 2], [True, True, False, True], [0.25, 0.5, 1.0, 0.0], 4, "cpu")
    assert playing.sounding.tolist() == [[True, False, True, False]]
    assert playing.struck[0, [0, 2]].tolist() == [-1.0, 0.0]


def moves(mask: torch.Tensor) -> tuple[list[int], list[int]]:
    """Notes that may be released, and that may be struck."""
    return mask[0, :, 0].nonzero().flatten().tolist(), mask[0, :, 1].nonzero().flatten().tolist()


def test_each_rule_alone() -> None:
    two = played((1, 5, 0), (3, 5, 1))
    every = list(range(4))
    assert moves(playable(two)) == ([1, 3], [0, 2])
    assert moves(at_most(2)(two)) == (every, [1, 3])
    assert moves(at_most(3)(two)) == (every, every)
    assert moves(within(torch.tensor([True, False, True, False]))(two)) == (every, [0, 2])
    assert moves(closed_by_events(5)(two)) == (every, [1, 3])
    assert moves(closed_by_events(4)(two)) == ([1, 3], [])
    assert moves(closed_by_events(6)(two)) == (every, every)


def test_a_note_at_its_limit_is_released_before_anything_else() -> None:
    rule, wait = no_longer(1.0, TIMES)
    strike = torch.tensor([True])
    held = played((1, 5, 0), (3, 5, 2))
    assert moves(rule(held)) == ([0, 1, 2, 3],) * 2
    assert wait(held, strike).tolist() == [[True, True, True, False]]
    late = played((1, 5, 0), (3, 5, 2), (0, 5, 2))
    assert moves(rule(late)) == ([1], [])
    assert wait(late, strike).tolist() == [[True, False, False, False]]


def test_a_figure_is_not_played_once_more() -> None:
    figure = [(1, 5, 1), (1, 0, 1), (2, 5, 1), (2, 0, 1)]
    rule = not_more_often(3)
    assert moves(rule(played(*figure * 2))) == ([0, 1, 2, 3],) * 2
    assert moves(rule(played(*figure * 3))) == ([0, 1, 2, 3], [0, 2, 3])
    # What differs in velocity and time alone is the same figure.
    assert moves(rule(played(*figure * 2, (1, 4, 2), *figure[1:]))) == ([0, 1, 2, 3], [0, 2, 3])
    assert moves(rule(played((0, 5, 1), (0, 5, 1), (0, 5, 1)))) == ([0, 1, 2, 3], [1, 2, 3])


def test_rule_that_leaves_nothing_yields_for_that_piece() -> None:
    first = torch.tensor([[True, True, False], [True, False, False]])
    second = torch.tensor([[False, True, True], [False, True, True]])
    assert meet(first, [second]).tolist() == [[False, True, False], [True, False, False]]
    everything = Rules(TIMES).legal_moves(silence(2, 4))
    assert bool(everything.all())


@pytest.mark.parametrize(
    ("name", "pitches"),
    [
        ("C", {0, 2, 4, 5, 7, 9, 11}),
        ("Am", {0, 2, 4, 5, 7, 9, 11}),
        ("F#m", {6, 8, 9, 11, 1, 2, 4}),
        ("Cb", {11, 1, 3, 4, 6, 8, 10}),
        ("D:dorian", {0, 2, 4, 5, 7, 9, 11}),
        ("A:minor_pentatonic", {9, 0, 2, 4, 7}),
    ],
)
def test_scales_by_their_names(name: str, pitches: set[int]) -> None:
    assert scale_pitches(name) == pitches


@pytest.mark.parametrize("name", ["H", "c", "C:dorain", "Am:dorian", "C major", ""])
def test_an_unknown_scale_names_the_known_ones(name: str) -> None:
    assert scale_pitches(name) is None
    with pytest.raises(ComposerError, match=r"^sampling\.scale=.*: must be null, a key .* whole_tone") as error:
        sampling(scale=name)
    assert "\n" not in str(error.value)


def test_rules_that_cannot_be_met_are_refused_at_once() -> None:
    with pytest.raises(ComposerError, match=r"pitch_low=30, pitch_high=40, scale=null: leave none of .* 60\.\.71"):
        make_rules(Scope(sampling(pitch_low=30, pitch_high=40), 12, 60, TIMES, 1.0))
    with pytest.raises(ComposerError, match=r"max_note_seconds=0\.1: the network's shortest step is 0\.25 seconds"):
        make_rules(Scope(sampling(max_note_seconds=0.1), 12, 60, TIMES, 1.0))


def pieces(config: SamplingConfig, count: int = 24, limit: float | None = None) -> list[torch.Tensor]:
    torch.manual_seed(1)
    model = build_model(compose("model.hidden_size=8").model, SIZES).eval()
    generators = [torch.Generator().manual_seed(k) for k in range(count)]
    return compose_rows(
        model,
        torch.zeros(0, 3, dtype=torch.uint8),
        config,
        generators,
        length=6,
        rules=make_rules(Scope(config, SIZES[0], 60, TIMES, 1.0)),
        playing=silence(1, SIZES[0]),
        limit=limit,
        smoothing=0.0,
    )


def broken(row: torch.Tensor, config: SamplingConfig) -> list[str]:
    """What a piece breaks, found without masks."""
    wrong, now = [], 0.0
    struck: dict[int, float] = {}
    recent: list[tuple[int, bool]] = []
    for note, velocity, time in row.tolist():
        now += float(TIMES[time])
        if (velocity > 0) == (note in struck):
            wrong.append("playable")
        for begin in struck.values():
            if config.max_note_seconds is not None and now - begin > config.max_note_seconds + 1e-6:
                wrong.append("too long")
        struck.pop(note, None)
        if velocity:
            struck[note] = now
            if config.scale is not None and (60 + note) % 12 not in (scale_pitches(config.scale) or ()):
                wrong.append("scale")
        if config.polyphony is not None and len(struck) > config.polyphony:
            wrong.append("polyphony")
        recent.append((note, velocity > 0))
    if config.repeats is not None:
        for period in range(1, 33):
            span = period * config.repeats
            for end in range(span + 1, len(recent) + 1):
                figure = recent[end - span - 1 : end]
                if all(a == b for a, b in zip(figure, figure[period:], strict=False)):
                    wrong.append(f"figure of {period}")
    if config.ending is Ending.close and struck:
        wrong.append("not closed")
    return wrong


@pytest.mark.slow
# The likeliest event of an untrained network never advances in time, so it reaches no number of seconds.
@pytest.mark.parametrize(("method", "seconds"), [("sample", None), ("greedy", None), ("beam", None), ("sample", 9.0)])
def test_all_rules_hold_together_over_whole_pieces(method: str, seconds: float | None) -> None:
    config = sampling(
        events=81,
        seconds=seconds,
        method=method,
        beams=3,
        playable=True,
        polyphony=3,
        scale="D:dorian",
        max_note_seconds=1.5,
        repeats=3,
        ending=Ending.close,
    )
    count = 3 if method == "beam" else 24
    rows = pieces(config, count, seconds)
    assert [broken(row, config) for row in rows] == [[]] * count
    if seconds is None:
        # An odd number of events cannot all be strikes and releases.
        assert {len(row) for row in rows} == {80}
    else:
        totals = [float(TIMES[row[:, 2].long()].sum()) for row in rows]
        assert all(seconds - 1 < total <= seconds for total in totals)


@pytest.mark.slow
def test_without_rules_the_same_checks_find_much() -> None:
    config = sampling(events=80)
    asked = sampling(polyphony=2, scale="D:dorian", max_note_seconds=1.0, repeats=2, ending=Ending.close)
    found = set(itertools.chain(*(broken(row, asked) for row in pieces(config))))
    assert found >= {"playable", "too long", "scale", "polyphony", "not closed"}


@pytest.mark.slow
def test_notes_are_struck_on_the_grid_alone() -> None:
    """NoteArrays wait for a place of the grid, wherever the piece begins; releases do not."""
    times = torch.tensor([0.0, 0.25, 0.3, 0.5, 0.45], dtype=torch.float64)
    config = sampling(keep_grid=True)
    limits = make_rules(Scope(config, 12, 60, times, 1.0, grid=(4, 1.95)))
    begun = silence(2, 12)
    strikes = torch.tensor([True, False])
    assert limits.legal_times(begun, strikes).tolist() == [
        [False, False, True, False, False],
        [True, True, True, True, True],
    ]
    # Where no time leads to a place, any may be drawn.
    lost = make_rules(Scope(config, 12, 60, times[:2], 1.0, grid=(4, 1.9)))
    assert bool(lost.legal_times(begun, strikes).all())
    assert make_rules(Scope(sampling(keep_grid=False), 12, 60, times, 1.0, grid=(4, 0.0))).free
    assert make_rules(Scope(config, 12, 60, times, 1.0)).free


def test_music_that_cannot_leave_the_grid_needs_no_rule() -> None:
    times = torch.tensor([0.0, 0.25, 1.5], dtype=torch.float64)
    config = sampling(keep_grid=True)
    assert make_rules(Scope(config, 12, 60, times, 1.0, grid=(4, 7.75))).free
    assert not make_rules(Scope(config, 12, 60, times, 1.0, grid=(4, 7.74))).free
