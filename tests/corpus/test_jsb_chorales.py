"""The JSB chorales: the published split, and piano rolls as events."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config import compose as config
from composer.corpus import chorales, jsb_chorales
from composer.corpus.corpus import read_corpus
from composer.corpus.metadata import SplitPart

needs_music21 = pytest.mark.skipif(importlib.util.find_spec("music21") is None, reason="music21 is not installed")


def test_the_parts_are_those_published() -> None:
    rows = jsb_chorales.manifest()
    assert Counter(row.split for row in rows) == {"train": 224, "validation": 74, "test": 77}
    published = {"train": 229, "validation": 76, "test": 77}
    assert all(row.number < published[row.split] for row in rows)
    assert len({(row.split, row.number) for row in rows}) == len({row.work for row in rows}) == len(rows) == 375
    # Most have the published chords nearly everywhere.
    assert np.median([row.shared for row in rows]) > 0.85


def sounding(notes: list[chorales.Note], count: int) -> list[frozenset[int]]:
    return jsb_chorales.frames(notes, 0, chorales.TIMING.division) + [frozenset[int]()] * count


@given(st.lists(st.frozensets(st.integers(40, 80), max_size=4), min_size=1, max_size=12))
def test_a_piano_roll_survives(roll: list[frozenset[int]]) -> None:
    roll = [*roll, frozenset({60})]
    notes = jsb_chorales.rolled(roll)
    assert sounding(notes, 0) == roll
    # Frames in succession are one note.
    assert len(notes) == sum(len(row - before) for before, row in zip([frozenset(), *roll], roll, strict=False))
    assert [(on, off, pitch + 5) for on, off, pitch in notes] == jsb_chorales.rolled(roll, 5)


def test_frames_begin_and_step_as_asked() -> None:
    notes = [(0, 480, 60), (480, 960, 62), (0, 960, 48)]
    assert jsb_chorales.frames(notes, 0, 480) == [{60, 48}, {62, 48}]
    assert jsb_chorales.frames(notes, 240, 240) == [{60, 48}, {62, 48}, {62, 48}]


@needs_music21
@pytest.mark.slow
def test_some_chorales_are_made_from_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, *lines = jsb_chorales.MANIFEST.read_text().splitlines()
    place = tmp_path / "few" / "jsb_chorales.csv"
    place.parent.mkdir()
    few = [next(line for line in lines if f",{part}," in line) for part in ("train", "validation", "test")]
    place.write_text("\n".join([head, *few]) + "\n")
    monkeypatch.setattr(jsb_chorales, "MANIFEST", place)
    asked = config.compose("data=jsb_chorales", "encoding=score", f"data.cache={tmp_path / 'cache'}")
    corpus = read_corpus(asked.data, asked.encoding)
    assert corpus.parts is not None
    assert set(corpus.parts) == set(SplitPart)
    for piece in corpus.pieces:
        beats = piece.events.delta_time
        assert np.array_equal(beats, beats.round())
