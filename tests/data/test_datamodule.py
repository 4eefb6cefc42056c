"""Reading a file or a folder, what is left out and why, and the loaders over it."""

import dataclasses
import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from composer.config.data import DataConfig, EncodingConfig, OnError, TimeUnit, of_midi
from composer.config.training import Supervision
from composer.corpus.corpus import read_pieces
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import load_data
from composer.data.tokens import ArrayTokens
from composer.errors import ComposerError, MidiError

Build = Callable[..., Path]
Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]


def song(events: int, *, pitch: int = 60, channel: int = 0) -> list[list[mido.Message]]:
    """One track of notes, each a strike and a release, 240 ticks an event."""
    return [
        [
            mido.Message("note_on", note=pitch, velocity=64 * (k % 2 == 0), time=240, channel=channel)
            for k in range(events)
        ]
    ]


@pytest.fixture
def folder(midi_file: Build, tmp_path: Path) -> Path:
    """Two good files among one of every bad kind; the names decide the order."""
    midi_file(song(50, pitch=60), name="music/a_good.mid")
    (tmp_path / "music" / "b_not.mid").write_bytes(b"RIFF and more")
    (tmp_path / "music" / "c_empty.mid").write_bytes(b"")
    good = midi_file(song(40, pitch=70), name="music/deeper/d_good.midi").read_bytes()
    (tmp_path / "music" / "e_cut.mid").write_bytes(good[:-20])
    midi_file(song(4), name="music/f_short.mid")
    midi_file(song(40, pitch=120), name="music/g_high.mid")
    midi_file(song(40, channel=9), name="music/h_drums.mid")
    (tmp_path / "music" / "readme.txt").write_text("not music")
    return tmp_path / "music"


@pytest.fixture
def of_folder(data_config: Data, folder: Path) -> Callable[..., DataConfig]:
    return lambda **changes: data_config(source="midi", path=str(folder), window_size=5, **changes)


# Folders


def test_a_folders_bad_files_are_left_out_with_the_reason(
    of_folder: Data, encoding_config: Encoding, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pieces, _, skipped = read_pieces(of_folder(), encoding_config())
    assert [(piece.name, len(piece.events)) for piece in pieces] == [("a_good.mid", 50), ("d_good.midi", 40)]
    assert skipped == [
        f"{folder / 'b_not.mid'}: not a MIDI file (a RIFF file of another kind)",
        f"{folder / 'c_empty.mid'}: an empty file",
        f"{folder / 'e_cut.mid'}: truncated: the file ends at byte 167, in the middle of track 0",
        f"{folder / 'f_short.mid'}: 4 events, too few for one window of data.window_size=5 and its target; "
        "use a smaller window or more music",
        f"{folder / 'g_high.mid'}: its pitches 120..120 leave the encoding's range 24..112; "
        "encoding=full takes every pitch",
        f"{folder / 'h_drums.mid'}: no notes in part all; the drum channel is left out, data.drums=true keeps it",
    ]
    assert [record.message for record in caplog.records] == [f"left out: {line}" for line in skipped]


def test_a_folder_fails_at_the_first_bad_file_if_told_to(
    of_folder: Data, encoding_config: Encoding, folder: Path
) -> None:
    with pytest.raises(MidiError) as caught:
        read_pieces(of_folder(on_error=OnError.fail), encoding_config())
    assert str(caught.value).startswith(f"{folder / 'b_not.mid'}: not a MIDI file")


def test_what_is_left_out_depends_on_the_config(of_folder: Data, encoding_config: Encoding) -> None:
    full = encoding_config(pitch_low=0, pitch_high=127)
    pieces, _, skipped = read_pieces(of_folder(drums=True), full)
    assert [piece.name for piece in pieces] == ["a_good.mid", "d_good.midi", "g_high.mid", "h_drums.mid"]
    assert [Path(line.split(":")[0]).name for line in skipped] == [
        "b_not.mid",
        "c_empty.mid",
        "e_cut.mid",
        "f_short.mid",
    ]


def test_a_folder_without_a_usable_file_tells_the_first_reason(
    data_config: Data, encoding_config: Encoding, tmp_path: Path
) -> None:
    for name in ("x.mid", "y.mid"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ComposerError) as caught:
        read_pieces(data_config(source="midi", path=str(tmp_path)), encoding_config())
    assert str(caught.value) == (
        f"data.path={tmp_path}: none of its 2 files can be used; first: {tmp_path / 'x.mid'}: an empty file"
    )


def test_a_wrong_part_is_not_taken_for_a_bad_file(of_folder: Data, encoding_config: Encoding) -> None:
    with pytest.raises(ComposerError, match="^data.part=melody: must be first, all"):
        read_pieces(of_folder(part="melody"), encoding_config())


# Single files


@pytest.mark.parametrize("on_error", OnError)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b_not.mid", "not a MIDI file"),
        ("c_empty.mid", "an empty file"),
        ("e_cut.mid", "truncated"),
        ("f_short.mid", "4 events, too few for one window of data.window_size=5"),
        ("g_high.mid", "its pitches 120..120 leave the encoding's range 24..112"),
        ("h_drums.mid", "no notes in part all"),
        ("missing.mid", "no such file or folder"),
    ],
)
def test_a_file_named_by_itself_always_fails(
    data_config: Data, encoding_config: Encoding, folder: Path, name: str, reason: str, on_error: OnError
) -> None:
    config = data_config(source="midi", path=str(folder / name), window_size=5, on_error=on_error)
    with pytest.raises(MidiError) as caught:
        read_pieces(config, encoding_config())
    assert str(caught.value).startswith(f"{folder / name}: {reason}")
    assert "\n" not in str(caught.value)


def test_a_piece_of_one_window_is_long_enough_to_read(
    midi_file: Build, data_config: Data, encoding_config: Encoding
) -> None:
    path = str(midi_file(song(6)))
    pieces, _, _ = read_pieces(data_config(source="midi", path=path, window_size=5), encoding_config())
    assert len(pieces[0].events) == 6
    with pytest.raises(MidiError, match="6 events, too few"):
        read_pieces(data_config(source="midi", path=path, window_size=6), encoding_config())


def test_the_home_folder_is_found(
    midi_file: Build, data_config: Data, encoding_config: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    midi_file(song(40), name="home.mid")
    monkeypatch.setenv("HOME", str(tmp_path))
    pieces, _, _ = read_pieces(data_config(source="midi", path="~/home.mid"), encoding_config())
    assert pieces[0].name == "home.mid"


def test_the_prelude_is_checked_like_a_file(data_config: Data, encoding_config: Encoding) -> None:
    with pytest.raises(ComposerError, match="its pitches 36..81 leave the encoding's range 40..112"):
        read_pieces(data_config(), encoding_config(pitch_low=40))
    with pytest.raises(ComposerError, match="1098 events, too few for one window of data.window_size=1098"):
        read_pieces(data_config(window_size=1098), encoding_config())


# The digest


def test_sha256_is_of_the_used_files_contents_in_order(
    of_folder: Data, encoding_config: Encoding, folder: Path
) -> None:
    def digest() -> str:
        return read_pieces(of_folder(), encoding_config())[1]

    contents = [(folder / name).read_bytes() for name in ("a_good.mid", "deeper/d_good.midi")]
    expected = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()
    assert digest() == expected
    (folder / "b_not.mid").write_bytes(b"RIFF and less")  # a file that is left out does not count
    assert digest() == expected
    (folder / "a_good.mid").write_bytes(contents[0].replace(b"\x3c\x40", b"\x3d\x40"))
    assert digest() != expected


def test_sha256_of_the_prelude_tells_its_times_apart(data_config: Data, encoding_config: Encoding) -> None:
    seconds = read_pieces(data_config(), encoding_config())[1]
    assert read_pieces(data_config(), encoding_config())[1] == seconds
    assert read_pieces(data_config(), encoding_config(time_unit=TimeUnit.beats))[1] != seconds
    assert len(bytes.fromhex(seconds)) == 32


# Music


def test_music_of_a_folder_lays_the_pieces_end_to_end(of_folder: Data, encoding_config: Encoding) -> None:
    music = load_data(of_folder(test_fraction=0.0, val_fraction=0.5, split="by_piece"), encoding_config(), seed=0)
    assert music.tokens[:].shape == (90, 3)
    assert music.tokens[:, 0].tolist() == [36] * 50 + [46] * 40
    assert [part.lowest() for part in (music.splits.train, music.splits.val)] in ([0, 50], [50, 0])
    assert len(music.splits.train) + len(music.splits.val) == 45 + 35
    assert len(music.skipped) == 6
    assert (music.leak.by_index, music.leak.by_content) == (0.0, 0.0)


def test_prelude_leaks_shuffled_and_not_by_index_blocked(data_config: Data, encoding_config: Encoding) -> None:
    shuffled = load_data(data_config(), encoding_config(), seed=0)
    # 1068 windows: 107 test, 30 on each side are the gap, and 901 are left.
    assert [len(part) for part in (shuffled.splits.train, shuffled.splits.val, shuffled.splits.test)] == [810, 91, 107]
    assert shuffled.leak.by_index == pytest.approx(1.0, abs=0.02)
    blocked = load_data(data_config(split="blocked"), encoding_config(), seed=0)
    assert blocked.leak.by_index == 0.0
    assert shuffled.tokens[:].tolist() == blocked.tokens[:].tolist()


def test_too_little_music_for_the_split_is_explained(
    midi_file: Build, data_config: Data, encoding_config: Encoding
) -> None:
    config = data_config(source="midi", path=str(midi_file(song(31))), window_size=30)
    with pytest.raises(ComposerError, match="^data.window_size=30: leaves 0 training and 0 validation windows; "):
        load_data(config, encoding_config(), seed=0)


def test_first_target_decides_classes_parts_and_batches(data_config: Data, encoding_config: Encoding) -> None:
    trained, held = [], []
    for size in (5, 20, 40):
        config = data_config(window_size=size, first_target=40)
        music = load_data(config, encoding_config(), seed=0)
        module = MusicDataModule(music, config, seed=0)
        trained.append(torch.cat([batch[:, -1] for batch in module.train_dataloader()]))
        held.append(
            [
                music.tokens[:].tolist(),
                *((part.positions() + size).tolist() for part in (music.splits.val, music.splits.test)),
            ]
        )
    assert held[0] == held[1] == held[2]
    assert torch.equal(trained[0], trained[1])
    assert torch.equal(trained[1], trained[2])
    # The size alone changes them.
    other = load_data(data_config(window_size=5), encoding_config(), seed=0)
    assert (other.splits.val.positions() + 5).tolist() != held[0][1]


def test_a_long_rest_before_the_shorter_windows_counts_for_all(
    midi_file: Build, data_config: Data, encoding_config: Encoding
) -> None:
    track = song(300)
    track[0][3].time = 9600  # the longest time, which stretches every class; windows of 5 begin behind it
    path = str(midi_file(track))
    of = [data_config(source="midi", path=path, window_size=size, first_target=40) for size in (5, 40)]
    short, long = (load_data(config, encoding_config(), seed=0) for config in of)
    assert short.splits.train.lowest() > 3
    assert short.tokens[:].tolist() == long.tokens[:].tolist()


def test_a_piece_too_short_for_the_first_target_names_it(data_config: Data, encoding_config: Encoding) -> None:
    with pytest.raises(ComposerError, match=r"1098 events, too few for one window of data\.first_target=1098 and"):
        read_pieces(data_config(first_target=1098), encoding_config())


# Supervision


@pytest.mark.parametrize("first_target", [None, 25])
@pytest.mark.parametrize("split", ["shuffled", "blocked", "by_piece"])
def test_no_supervised_step_is_a_held_out_target(
    data_config: Data, encoding_config: Encoding, folder: Path, split: str, first_target: int | None
) -> None:
    config = data_config(window_size=12, split=split, first_target=first_target)
    if split == "by_piece":
        for name in ("one", "two"):
            shutil.copy(folder / "a_good.mid", folder / f"{name}.mid")
        # The copies would be held out together, or not at all.
        config = dataclasses.replace(of_midi(config, str(folder)), group_similarity=None)
    music = load_data(config, encoding_config(), seed=0)
    # Positions in place of the classes tell where each step's target stands.
    positions = np.stack([np.arange(len(music.tokens)) % 256, np.arange(len(music.tokens)) // 256] * 2, axis=1)[:, :3]
    music = dataclasses.replace(music, tokens=ArrayTokens(np.ascontiguousarray(positions, np.uint8)))
    module = MusicDataModule(music, config, seed=0, supervision=Supervision.every)
    batches = list(module.train_dataloader())
    targets = torch.cat([batch.windows[:, 1:] for batch in batches]).long()
    mask = torch.cat([batch.mask for batch in batches])
    places = targets[..., 0] + 256 * targets[..., 1]
    supervised = set(places[mask].tolist())
    held = {start + 12 for part in (music.splits.val, music.splits.test) for start in part.positions().tolist()}
    assert not supervised & held
    assert set(places[~mask].tolist()) == held & set(places.flatten().tolist())
    assert mask[:, -1].all()
    # Only the shuffled split has held-out targets among what its training windows read.
    assert bool(mask.all()) == (split != "shuffled")
    # Nothing else is touched: the same windows in the same order, and no masks on what is scored.
    plain = MusicDataModule(music, config, seed=0)
    for batch, windows in zip(batches, plain.train_dataloader(), strict=True):
        assert torch.equal(batch.windows, windows)
    for scored in (module.val_dataloader(), module.test_dataloader()):
        assert all(isinstance(batch, torch.Tensor) for batch in scored)


# Loaders


def test_loaders_give_each_part_its_windows(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(window_size=4, batch_size=100)
    music = load_data(config, encoding_config(), seed=0)
    module = MusicDataModule(music, config, seed=0)

    def slices(starts: np.ndarray) -> list[list[list[int]]]:
        return [music.tokens[start : start + 5].tolist() for start in starts.positions().tolist()]

    trained = list(module.train_dataloader())
    assert {batch.shape[1:] for batch in trained} == {(5, 3)}
    assert [len(batch) for batch in trained[:-1]] == [100] * (len(trained) - 1)
    found = torch.cat(trained).tolist()
    assert found != slices(music.splits.train)  # in the epoch's order
    assert sorted(found) == sorted(slices(music.splits.train))
    assert torch.cat(list(module.val_dataloader())).tolist() == slices(music.splits.val)
    assert torch.cat(list(module.test_dataloader())).tolist() == slices(music.splits.test)


def test_start_at_begins_training_alone_in_the_middle(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config()
    music = load_data(config, encoding_config(), seed=0)
    whole, resumed = MusicDataModule(music, config, seed=0), MusicDataModule(music, config, seed=0)
    resumed.start_at(0, 20)
    rest = list(resumed.train_dataloader())
    assert len(rest) == 27 - 20
    for one, two in zip(list(whole.train_dataloader())[20:], rest, strict=True):
        assert torch.equal(one, two)
    assert len(list(resumed.val_dataloader())) == 1
    other = MusicDataModule(music, config, seed=1)
    assert not torch.equal(next(iter(other.train_dataloader())), next(iter(whole.train_dataloader())))


def test_no_test_block_gives_no_test_batches(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(test_fraction=0.0)
    module = MusicDataModule(load_data(config, encoding_config(), seed=0), config, seed=0)
    assert list(module.test_dataloader()) == []
