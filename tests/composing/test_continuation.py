"""Composed music goes on in its primer's bar, tempo, metre and key."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

import composer
from composer.commands.train import resume, start
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.errors import ComposerError
from composer.files import read_json, write_json
from composer.music.events import Events, Piece, prelude_piece
from composer.music.markings import Markings
from composer.music.midi import read_piece
from composer.music.prelude import TITLE
from composer.music.rhythm import grid_of, onset_beats
from composer.music.tonality import with_key
from composer.runs import checkpoint as ckpt

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    quick = ("model.hidden_size=8", "trainer.max_epochs=1", "trainer.threads=1", "trainer.progress_bar=false")
    start(
        compose(
            *quick, "data.batch_size=90", "sampling.events=20", "sampling_grid.pieces=0", "logging.sample_media=false"
        ),
        folder,
    )
    return folder


def waltz(build: Build, *, upbeat: bool = False) -> Path:
    """40 eighths in 3/4 at 90 beats per minute in G, after an upbeat of a quarter note perhaps."""
    head: list[Any] = [mido.MetaMessage("set_tempo", tempo=666_667), mido.MetaMessage("key_signature", key="G")]
    meters = [(1, 0), (3, 480)] if upbeat else [(3, 0)]
    head += [mido.MetaMessage("time_signature", numerator=n, denominator=4, time=time) for n, time in meters]
    notes = [
        mido.Message("note_on", note=60 + k % 12, velocity=v, time=t) for k in range(40) for v, t in ((64, 0), (0, 240))
    ]
    return build([head, notes], name="a-waltz.mid")


def first_bar_line(piece: Piece) -> float:
    """Beats from the start of a piece to its first bar line, or 0 where it begins with one."""
    meters = piece.markings.meters
    return float(meters[1][0]) if len(meters) > 1 else 0.0


def test_the_default_primer_knows_its_place(trained: Path) -> None:
    origin = composer.load(trained).composer.origin
    assert origin.place is not None
    places = prelude_piece(TimeUnit.beats).beats()
    assert (origin.place.begin, origin.place.end, origin.place.length) == (0.0, places[29], places[-1])
    assert origin.place.markings.meters == ((0.0, 4, 4),)


def test_music_after_the_default_primer_goes_on_in_its_bar(trained: Path) -> None:
    player = composer.load(trained).composer
    assert player.origin.place is not None
    piece = player.generate(events=5).piece
    silence = player.origin.place.onward()[1]
    assert (player.origin.place.end + first_bar_line(piece) - silence) % 4 == pytest.approx(0)
    assert piece.name == f"After {TITLE}, no. 1"
    assert piece.timing.microseconds_per_beat == prelude_piece(TimeUnit.beats).timing.microseconds_per_beat


def test_music_that_begins_with_its_primer_begins_with_its_bar(trained: Path) -> None:
    piece = composer.load(trained).generate(events=5, include_primer=True).piece
    assert piece.markings.meters == ((0.0, 4, 4),)


@pytest.mark.parametrize(("upbeat", "offset"), [(False, 0), (False, 7), (True, 0), (True, 9)])
def test_a_files_primer_brings_its_tempo_metre_and_key(
    trained: Path, midi_file: Build, tmp_path: Path, upbeat: bool, offset: int
) -> None:
    path = waltz(midi_file, upbeat=upbeat)
    composition = composer.load(trained).generate(events=12, primer=f"{path}:{offset}")
    source = read_piece(path, part="all", time_unit=TimeUnit.beats)
    end = source.beats()[offset + 29] - (1 if upbeat else 0)
    piece = composition.piece
    assert piece.markings.keys == ((0.0, "G"),)
    assert piece.markings.meters[-1][1:] == (3, 4)
    assert (end + first_bar_line(piece)) % 3 == pytest.approx(0)
    assert piece.name == "After A Waltz, no. 1"
    composition.save(tmp_path / "made.mid")
    metas = [m for m in mido.MidiFile(tmp_path / "made.mid").tracks[0] if m.is_meta]
    assert [m.tempo for m in metas if m.type == "set_tempo"] == [666_667]
    assert [m.key for m in metas if m.type == "key_signature"] == ["G"]
    first = next(m for m in metas if m.type == "time_signature")
    assert (0.0, first.numerator, first.denominator) == piece.markings.meters[0]


def test_a_continued_file_keeps_its_markings(trained: Path, midi_file: Build) -> None:
    path = waltz(midi_file, upbeat=True)
    source = read_piece(path, part="all", time_unit=TimeUnit.beats)
    piece = composer.load(trained).generate(events=6, continue_from=path).piece
    assert piece.markings == source.markings
    np.testing.assert_array_equal(piece.events.delta_time[:80], source.events.delta_time)
    assert piece.name == "A Waltz, continued, no. 1"


def test_without_a_primer_a_bar_begins(trained: Path) -> None:
    piece = composer.load(trained).generate(events=6, primer="none").piece
    assert piece.markings.meters == ((0.0, 4, 4),)
    assert piece.name == "Composed, no. 1"


def test_old_checkpoints_compose_without_markings(trained: Path, tmp_path: Path) -> None:
    values = ckpt.load(trained / "checkpoints" / "best.ckpt")
    del values["composer"]["origin"]["place"]
    ckpt.save(tmp_path / "old.ckpt", values)
    player, now = Composer.load(tmp_path / "old.ckpt"), Composer.load(trained)
    piece = player.generate(events=30).piece
    assert piece.markings == Markings()
    assert piece.timing == player.origin.timing
    np.testing.assert_array_equal(piece.events.pitch, now.generate(events=30).piece.events.pitch)


@pytest.mark.parametrize(
    ("stated", "pitches", "key"),
    [
        (None, (69, 71, 72, 74, 76, 77, 80, 81, 76, 72, 69), "Am"),
        (None, (62, 66, 69, 74, 73, 71, 67, 69, 66, 64, 62), "D"),
        ("Eb", (60, 64, 67), "Eb"),
        ("C", (69, 71, 72, 69), "C"),
    ],
)
def test_a_key_that_says_nothing_is_estimated(stated: str | None, pitches: tuple[int, ...], key: str) -> None:
    count = len(pitches)
    events = Events(
        np.repeat(np.array(pitches, np.uint8), 2),
        np.tile(np.array([64, 0], np.uint8), count),
        np.tile([0.0, 1.0], count),
        TimeUnit.beats,
    )
    piece = Piece("tune", events, markings=Markings(keys=() if stated is None else ((0.0, stated),)))
    assert with_key(piece).markings.key == key


def test_a_run_of_other_events_is_not_resumed(trained: Path, tmp_path: Path) -> None:
    """Parts that were merged by an older rule gave other events, and so another split."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    manifest = read_json(folder / "manifest.json")
    manifest["data"]["events"] += 5
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(ComposerError, match=r"merged by another rule now \(1,098 events, 1,103 when .*start a new run"):
        resume(str(folder), ["trainer.max_epochs=2"])


def test_every_primer_has_a_key(trained: Path, midi_file: Build) -> None:
    """A file that says C, as programs do that know no key, is given the key that its notes suggest."""
    pitches = (69, 71, 72, 74, 76, 77, 80, 81, 76, 72) * 4
    notes = [mido.Message("note_on", note=p, velocity=v, time=t) for p in pitches for v, t in ((64, 0), (0, 240))]
    path = midi_file([[mido.MetaMessage("key_signature", key="C"), *notes]])
    player = composer.load(trained).composer
    assert player.generate(events=4, primer=path).piece.markings.key == "Am"
    assert player.generate(events=4, continue_from=path).piece.markings.key == "Am"


def test_composed_notes_keep_the_grid_of_the_training_music(trained: Path, midi_file: Build) -> None:
    """Also after a primer that ends off the grid; the network of one epoch knows nothing of it."""
    player = composer.load(trained).composer
    assert player.origin.grid == 4
    pieces = [player.generate(events=200, seed=seed).piece for seed in range(3)]
    # The vocabulary of another network, with times off the grid.
    values = (0.0, 0.125, 0.25)
    player.vocabulary = dataclasses.replace(player.vocabulary, time_edges=values[1:], time_values=values)
    for kept in (True, False):
        piece = player.generate(events=120, keep_grid=kept, primer="none").piece
        places = onset_beats(piece)
        on = np.abs(places * 4 - np.rint(places * 4)) <= 0.04
        assert bool(on.all()) == kept
    assert all(grid_of(onset_beats(piece)) == 4 for piece in pieces)
