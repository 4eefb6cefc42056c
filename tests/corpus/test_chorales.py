"""Bach's chorales from music21: the frozen split, and the events of a score."""

import dataclasses
import importlib.util
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest

from composer.config import compose as config
from composer.config.data import TimeUnit
from composer.corpus import chorales
from composer.corpus.corpus import read_corpus
from composer.corpus.duplicates import shingles, similar_pairs
from composer.data.prepare import load_data
from composer.errors import ComposerError, MissingExtra
from composer.music.midi import read_piece
from composer.reporting.run_tables import group_lines

needs_music21 = pytest.mark.skipif(importlib.util.find_spec("music21") is None, reason="music21 is not installed")
FEW = ("bwv269", "bwv41.6", "bwv347")


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest of three chorales, one of them with nine parts; the folder of its caches."""
    rows = chorales.MANIFEST.read_text().splitlines()
    kept = [rows[0], *(row for row in rows[1:] if row.split(",")[0].removesuffix(".mid") in FEW)]
    place = tmp_path / "few" / "chorales.csv"
    place.parent.mkdir()
    place.write_text("\n".join(kept) + "\n")
    monkeypatch.setattr(chorales, "MANIFEST", place)
    return tmp_path / "cache"


def test_no_tune_straddles_the_split() -> None:
    rows = chorales.manifest()
    assert len(rows) == len({row.midi_filename for row in rows}) == 350
    # Two scores hold the same notes.
    assert len({row.sha256 for row in rows}) == 349
    # Every number of the edition once.
    assert sorted(int(number) for row in rows for number in row.numbers.split()) == list(range(1, 372))
    parts = defaultdict(set)
    for row in rows:
        parts[row.tune].add(row.split)
    assert all(len(found) == 1 for found in parts.values())
    counts = Counter(row.split for row in rows)
    assert set(counts) == {"train", "validation", "test"}
    assert counts["train"] > 2 * (counts["validation"] + counts["test"])
    # Known settings of one tune: O Haupt voll Blut und Wunden, and Jesu, meine Freude.
    of = {row.work.removeprefix("bach/"): row.tune for row in rows}
    assert len({of[work] for work in ("bwv270", "bwv271", "bwv153.5", "bwv244.15", "bwv244.54", "bwv248.5")}) == 1
    assert len({of[work] for work in ("bwv64.8", "bwv81.7", "bwv87.7", "bwv227.7", "bwv358")}) == 1
    assert of["bwv270"] != of["bwv358"]


def test_messages_name_the_chorales_and_no_path(
    tmp_path: Path, midi_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = midi_file([[mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=10)]])
    monkeypatch.setattr(chorales, "folder", lambda cache: short.parent)
    asked = config.compose("data=chorales", "data.split=shuffled", f"data.cache={tmp_path / 'cache'}")
    with pytest.raises(ComposerError, match=r"^data=chorales: none of its 1 files can be used; first: .*too few"):
        read_corpus(asked.data, asked.encoding)


@pytest.mark.parametrize("split", ["shuffled", "by_piece"])
def test_other_splits_hold_tunes_out_together(
    split: str, tmp_path: Path, midi_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight chorales of four tunes, each of other notes, so that only the manifest tells what belongs together.
    for k in range(8):
        generator = np.random.default_rng(k)
        notes = generator.integers(40, 90, 60).tolist()
        midi_file([[mido.Message("note_on", note=note, time=120) for note in notes]], name=f"corpus/{k}.mid")
    rows = [f"{k}.mid,work,1,{k % 4},train,0" for k in range(8)]
    place = tmp_path / "corpus"
    (place / "chorales.csv").write_text("midi_filename,work,numbers,tune,split,sha256\n" + "\n".join(rows))
    monkeypatch.setattr(chorales, "folder", lambda cache: place)
    asked = config.compose("data=chorales", f"data.split={split}", f"data.cache={tmp_path / 'cache'}")
    for seed in range(4):
        music = load_data(asked.data, asked.encoding, seed)
        assert music.groups.of.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
        train, val, test = ({int(start) // 60 for start in part} for part in dataclasses.astuple(music.splits))
        for one, other in [(test, train | val), *([(val, train)] if split == "by_piece" else [])]:
            assert one
            assert not {piece % 4 for piece in one} & {piece % 4 for piece in other}
    assert group_lines(music.groups, asked.data) == [
        "groups     4 of 8 pieces: 4 by data.group_by=tune, 0 copies and 0 near-copies, held out with theirs "
        "(data.group_similarity=0.4)"
    ]


@pytest.mark.slow
@needs_music21
def test_settings_of_a_tune_are_alike_by_their_sopranos() -> None:
    # O Haupt voll Blut und Wunden twice, and another tune.
    sopranos = [chorales.events(chorales.voices(f"bach/{work}")[0]) for work in ("bwv270", "bwv271", "bwv269")]
    assert similar_pairs([shingles(soprano) for soprano in sopranos], 0.3) == [(0, 1)]


@pytest.mark.slow
@needs_music21
def test_the_files_hold_the_four_voices_in_beats(few: Path) -> None:
    place = chorales.folder(str(few))
    files = sorted(path.name for path in place.iterdir())
    assert files == ["bwv269.mid", "bwv347.mid", "bwv41.6.mid", "chorales.csv"]
    piece = read_piece(place / "bwv269.mid", time_unit=TimeUnit.beats)
    assert np.array_equal(piece.events.pitch, chorales.read("bach/bwv269").pitch)
    assert np.array_equal(piece.events.delta_time, chorales.read("bach/bwv269").delta_time)
    # A beat lasts a second.
    assert piece.timing.microseconds_per_beat == 1_000_000
    assert set(piece.events.velocity.tolist()) == {0, chorales.VELOCITY}
    # Trumpets, timpani and the third oboe of the ninth chorale are left out.
    assert [len(voice) for voice in chorales.voices("bach/bwv41.6")] == [81, 101, 107, 124]


@pytest.mark.slow
@needs_music21
def test_an_interrupted_conversion_goes_on(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = chorales.read, []

    def once(work: str) -> chorales.Events:
        asked.append(work)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read(work)

    monkeypatch.setattr(chorales, "read", once)
    with pytest.raises(KeyboardInterrupt):
        chorales.folder(str(few))
    place = chorales.folder(str(few))
    assert len(asked) == 4  # one whole, one stopped, then the two that were left
    assert chorales.folder(str(few)) == place
    assert len(asked) == 4


@needs_music21
def test_a_score_that_is_not_the_frozen_one_is_named(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = chorales.read
    monkeypatch.setattr(chorales, "read", lambda work: read("bach/bwv153.1"))
    with pytest.raises(
        ComposerError, match=r"data=chorales: bach/bwv269 in the installed music21 \S+ is not the score"
    ):
        chorales.folder(str(few))


def test_without_music21_the_line_says_what_to_install(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(MissingExtra, match=r"data=chorales needs music21: pip install 'lstm-composer\[music21\]'"):
        chorales.folder(str(few))


@pytest.mark.slow
@needs_music21
def test_a_run_takes_its_parts_from_the_frozen_split(few: Path) -> None:
    typed = config.compose("data=chorales", f"data.cache={few}", "encoding=full", "encoding.time_unit=beats")
    corpus = read_corpus(typed.data, typed.encoding)
    assert [name.removesuffix(".mid") for name in corpus.pieces.names] == sorted(FEW)
    named = {row.midi_filename.removesuffix(".mid"): row.split for row in chorales.manifest()}
    assert corpus.parts is not None
    assert [part.name for part in corpus.parts] == [named[name] for name in sorted(FEW)]


def test_voices_in_unison_sound_as_one() -> None:
    # The alto strikes 60 with the tenor and lets go first; the soprano strikes 60 again while the tenor holds it.
    events = chorales.events([(0, 480, 60), (0, 960, 60), (720, 960, 60), (0, 960, 67)])
    ticks = np.cumsum(events.delta_time) * 480
    told = list(zip(ticks.astype(int).tolist(), events.velocity.tolist(), events.pitch.tolist(), strict=True))
    v = chorales.VELOCITY
    assert told == [(0, v, 60), (0, v, 67), (720, 0, 60), (720, v, 60), (960, 0, 60), (960, 0, 67)]
