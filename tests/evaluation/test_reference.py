"""The music that composed pieces are held against: what trained, what was held out, and a draw of many pieces."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import mido
import numpy as np
import pytest

from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.corpus.corpus import Corpus, read_corpus
from composer.data.prepare import split_corpus
from composer.data.splits import split_windows
from composer.data.window_sets import Ranges
from composer.evaluation.legend import QUALITY
from composer.evaluation.reference import ReferenceMusic
from composer.music.events import Events, Piece, prelude_piece
from composer.music.pieces import ReadPieces
from tests.references import covered

PRELUDE = prelude_piece(TimeUnit.seconds)


def reference(*overrides: str, corpus: Corpus | None = None) -> ReferenceMusic:
    config = compose(*overrides)
    found = corpus or read_corpus(config.data, config.encoding)
    splits, _ = split_corpus(found, config.data, 0)
    return ReferenceMusic(found.pieces, splits, config.data, 0)


def test_the_test_block_and_the_training_music_are_apart() -> None:
    found = reference()
    assert found.held_out is not None
    assert found.held_out_split == "test"
    (piece, strikes), events = found.held_out.pieces[0], PRELUDE.events
    starts = found.splits.test.positions()
    begin, end = int(starts.min()), int(starts.max()) + 31
    assert np.array_equal(piece.events.pitch, events.pitch[begin:end])
    # Times go on counting from the beginning of the piece.
    assert strikes.onset_seconds[0] >= events.delta_time[: begin + 1].sum() - 1e-9
    # The test block is in the middle: training music is before and after it.
    assert [len(run.events) for run, _ in found.training.pieces] == [begin, len(events) - end]
    before, after = found.training.strikes
    assert before.event.max() < begin < end <= after.event.min()
    assert (found.training.sources, found.training.of) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "split"),
    [
        (("experiment=article",), None),
        (("data.test_fraction=0", "data.split=blocked"), "val"),
        (("data.split=blocked",), "test"),
    ],
)
def test_held_out_music_is_named_and_there_may_be_none(overrides: tuple[str, ...], split: str | None) -> None:
    found = reference(*overrides)
    assert found.held_out_split == split
    copying, quality = found.copying([PRELUDE]), found.quality([PRELUDE])
    assert copying.split == quality.split == split
    assert (copying.held_out is None) == (quality.held_out is None) == (split is None)
    assert (quality.overlap["held_out"] is None) == (split is None)
    assert quality.distance is not None
    assert quality.distance.to == ("training" if split is None else "held_out and training")
    # Too few parts of 32 notes to be compared with.
    assert quality.parts["held_out"] < 3
    assert quality.overlap_held_out is quality.divergence_held_out is None


@pytest.mark.slow
def test_what_is_composed_is_compared_with_both_kinds_of_music() -> None:
    three = Corpus(ReadPieces([PRELUDE] * 3), "", [], compose().encoding)
    overrides = ("data=midi", "data.path=.", "data.split=by_piece", "data.group_similarity=null")
    found = reference(*overrides, corpus=three)
    quality = found.quality([Piece("beginning", PRELUDE.events[:300], PRELUDE.timing)])
    # The held-out piece is the one that trained too.
    assert quality.parts["held_out"] > 3
    assert quality.overlap_held_out == quality.overlap["composed"]
    assert quality.divergence_held_out == quality.divergence["composed"]
    assert quality.overlap_held_out is not None
    assert 0 < quality.overlap_held_out["mean"] < 1


def test_human_music_is_measured_as_composed_music_is() -> None:
    quality = reference().quality([PRELUDE])
    assert quality.held_out is not None
    for figures in (quality.composed, quality.training, quality.held_out):
        assert {"on_grid", "on_beat", "repetition", "silence", "surprise", "scale_consistency"} <= figures.keys()
        assert list(figures) == [key for key in QUALITY if key in figures]
    # The end of the piece trains; the test block has none.
    assert quality.training["ending"] == quality.composed["ending"] == 1
    assert "ending" not in quality.held_out
    assert quality.noise is None
    # What training music is surprised by is measured after the rest of it, the piece itself after all of it.
    assert quality.composed["surprise"] < quality.training["surprise"]


@pytest.mark.slow
def test_random_notes_are_far_and_noise() -> None:
    found, random = reference(), np.random.default_rng(0)
    pitch = random.integers(0, 128, len(PRELUDE.events)).astype(np.uint8)
    noise = dataclasses.replace(PRELUDE, events=dataclasses.replace(PRELUDE.events, pitch=pitch))
    quality, music = found.quality([noise]), found.quality([PRELUDE])
    assert quality.distance is not None
    assert music.distance is not None
    assert quality.distance.value > 3 * music.distance.value
    assert quality.noise is not None
    assert found.distance([noise]) == quality.distance.value
    plain = quality.to_plain()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["distance"], plain["distance_among"]) == (quality.distance.value, quality.distance.among)


@pytest.mark.slow
def test_training_piece_copies_itself_and_held_out_end_does_not() -> None:
    copying = reference().copying([PRELUDE])
    assert copying.composed["interval_8"] > copying.held_out["interval_8"] > 0
    (longest,) = copying.to_plain()["longest"]
    assert (longest["first"], longest["transposition"], longest["source_start"]) == (0, 0, 0)
    assert longest["notes"] == len(reference().training.strikes[0])
    assert copying.to_plain()["reference"] == {"pieces": 1, "of": 1, "events": 961}


def test_what_strikes_no_note_is_judged_too() -> None:
    silent = Events(np.full(5, 60, np.uint8), np.zeros(5, np.uint8), np.ones(5), TimeUnit.seconds)
    found = reference()
    copying, quality = found.copying([Piece("silent", silent)]), found.quality([Piece("silent", silent)])
    assert (copying.longest, copying.composed["notes"]) == ([None], 0)
    assert (quality.composed, quality.collapse) == ({}, "it plays no note")
    assert quality.overlap["composed"] is None
    assert quality.distance is quality.noise is None
    assert found.distance([Piece("silent", silent)]) is None


@pytest.mark.slow
def test_of_many_pieces_a_fixed_draw_is_the_reference(
    monkeypatch: pytest.MonkeyPatch, midi_file: Callable[..., Any]
) -> None:
    for k in range(6):
        track = [mido.Message("note_on", note=60 + (k * j) % 12, velocity=64, time=60) for j in range(80)]
        folder = midi_file([track], name=f"many/{k}.mid").parent
    overrides = ("data=midi", f"data.path={folder}", "data.split=by_piece", "data.window_size=10")
    whole = reference(*overrides)
    assert (whole.training.sources, whole.training.of) == (4, 4)
    monkeypatch.setattr("composer.evaluation.reference.MAX_EVENTS", 100)
    drawn, again = reference(*overrides), reference(*overrides)
    assert (drawn.training.sources, drawn.training.of, drawn.training.events) == (2, 4, 160)
    names = [piece.name for piece, _ in drawn.training.pieces]
    assert names == [piece.name for piece, _ in again.training.pieces]
    assert drawn.copying([PRELUDE]).to_plain()["reference"] == {"pieces": 2, "of": 4, "events": 160}
    # Large corpora do not list their windows; what these hold is the same.
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 1)
    lazy = reference(*overrides)
    assert lazy.splits.train.computed
    assert [piece.name for piece, _ in lazy.training.pieces] == names
    assert [len(piece.events) for piece, _ in lazy.training.pieces] == [80, 80]


@pytest.mark.parametrize("size", [1, 3, 10])
def test_music_of_listed_windows_is_that_of_ranges(size: int) -> None:
    config = compose(f"data.window_size={size}", "data.split=blocked").data
    listed = split_windows([40, 60, 50], config, 0).train
    starts = listed.positions()
    breaks = np.flatnonzero(np.diff(starts) != 1) + 1
    runs = Ranges(range(int(part[0]), int(part[-1]) + 1) for part in np.split(starts, breaks))
    positions = np.arange(150)
    expected = covered(150, starts, size)
    assert np.array_equal(runs.touches(positions, size), expected)
    assert np.array_equal(listed.touches(positions, size), expected)
    assert np.array_equal(super(Ranges, runs).touches(positions, size), expected)
