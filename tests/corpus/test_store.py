"""Stores: what they hold, and that they are built, resumed, shared and kept in step with their folder."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from composer.config.data import DataConfig, EncodingConfig, Keep, Order, Pedal, TimeUnit
from composer.corpus import build_store as building
from composer.corpus import read_many as reading
from composer.corpus.build_store import build, cache_folder, folder_of
from composer.corpus.corpus import read_corpus
from composer.corpus.read_many import Entry, Parameters
from composer.corpus.store import MANIFEST, MAX_TIMES, Store, decode, encode
from composer.data.prepare import load_data
from composer.errors import ComposerError, RunInterrupted
from composer.music.events import Events
from composer.music.midi import find_files, read_piece

Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]
Corpora = Callable[..., Path]
FIRST = Parameters("first", "seconds", False, False)


def write_song(path: Path, seed: int, events: int = 60) -> None:
    rng = np.random.default_rng(seed)
    file = mido.MidiFile(type=0, ticks_per_beat=480)
    track = file.add_track()
    for pitch, velocity, ticks in zip(
        rng.integers(30, 90, events), rng.integers(1, 127, events), rng.integers(0, 500, events), strict=True
    ):
        track.append(mido.Message("note_on", note=int(pitch), velocity=int(velocity), time=int(ticks)))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve songs, two of them in a folder below, and a bad file."""
    root = tmp_path / "music"
    for k in range(12):
        write_song(root / ("deep" if k % 6 == 5 else ".") / f"{k:02d}.mid", k)
    (root / "bad.mid").write_bytes(b"no")
    old = time.time() - 100
    for path in root.rglob("*.mid"):
        os.utime(path, (old, old))
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def made(root: Path, cache: Path, **more: object) -> Store:
    return build(root, find_files(root), FIRST, cache, **more)  # type: ignore[arg-type]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that builds read, in order; they read in this process."""
    names: list[str] = []
    original = reading.read_entry

    def spy(root: Path, name: str, parameters: Parameters) -> tuple[Entry, bytes]:
        names.append(name)
        return original(root, name, parameters)

    monkeypatch.setattr(reading, "read_entry", spy)
    return names


def same(one: Events, two: Events) -> bool:
    pairs = zip((one.pitch, one.velocity, one.delta_time), (two.pitch, two.velocity, two.delta_time), strict=True)
    return one.time_unit is two.time_unit and all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


# What it holds


@pytest.mark.parametrize("processes", [0, 2])
def test_a_store_gives_back_what_the_files_hold(folder: Path, cache: Path, processes: int) -> None:
    store = made(folder, cache, processes=processes)
    assert [entry.path for entry in store.entries] == [p.relative_to(folder).as_posix() for p in find_files(folder)]
    position = 0
    for entry in store.entries:
        if entry.path == "bad.mid":
            assert entry.error == "not a MIDI file (it does not begin with MThd)"
            continue
        direct, stored = read_piece(folder / entry.path), store.piece(entry)
        assert same(direct.events, stored.events)
        assert (direct.name, direct.timing, direct.program) == (stored.name, stored.timing, stored.program)
        assert entry.offset == position
        position += entry.events
    assert len(store.events) == position == 12 * 60
    assert store.events.dtype == np.uint32


@pytest.mark.slow
@pytest.mark.parametrize("unit", TimeUnit)
def test_a_folder_read_through_a_store_is_the_same_music(
    shared_data: Path, data_config: Data, encoding_config: Encoding, unit: TimeUnit
) -> None:
    encoding = encoding_config(pitch_low=0, pitch_high=127, time_unit=unit)
    music = []
    for store in (Keep.auto, Keep.off, Keep.auto):
        config = data_config(source="midi", path=str(shared_data), store=store)
        music.append(load_data(config, encoding, seed=3))
    for one, other in ((music[0], music[1]), (music[2], music[1])):
        assert one.sha256 == other.sha256
        assert one.skipped == other.skipped
        assert one.vocabulary == other.vocabulary
        assert np.array_equal(one.tokens[:], other.tokens[:])
        assert (one.leak, one.time_error) == (other.leak, other.time_error)
        for mine, theirs in zip(one.pieces, other.pieces, strict=True):
            assert (mine.name, mine.timing, mine.program) == (theirs.name, theirs.timing, theirs.program)
            assert same(mine.events, theirs.events)


@pytest.mark.parametrize(
    "changes", [{"order": Order.canonical}, {"pedal": Pedal.extend}, {"part": "first"}, {"drums": True}]
)
def test_other_ways_of_reading_have_other_stores(
    tmp_path: Path, data_config: Data, encoding_config: Encoding, changes: dict[str, Any]
) -> None:
    def press(value: int) -> mido.Message:
        return mido.Message("control_change", control=64, value=value, time=30)

    tracks = []
    for channel in (0, 9, 1):
        struck = [mido.Message("note_on", channel=channel, note=60 + k % 7, time=60 * (k % 3)) for k in range(60)]
        released = [mido.Message("note_off", channel=channel, note=60 + k % 7, time=20 * (k % 2)) for k in range(60)]
        notes = [message for pair in zip(struck, released, strict=True) for message in pair]
        tracks.append(mido.MidiTrack([*notes[:20], press(127), *notes[20:70], press(0), *notes[70:]]))
    (tmp_path / "music").mkdir()
    for name in ("a", "b"):
        mido.MidiFile(type=1, tracks=tracks).save(tmp_path / "music" / f"{name}.mid")
    encoding = encoding_config(pitch_low=0, pitch_high=127)
    plain = data_config(source="midi", path=str(tmp_path / "music"), cache=str(tmp_path / "cache"))
    other = dataclasses.replace(plain, **changes)
    read = [read_corpus(config, encoding) for config in (plain, other, plain)]
    direct = read_corpus(dataclasses.replace(other, store=Keep.off), encoding)
    assert len(list((tmp_path / "cache" / "corpora").iterdir())) == 2
    assert same(read[0].pieces[1].events, read[2].pieces[1].events)
    if "drums" not in changes:  # of the first part there are no drums
        assert not same(read[0].pieces[1].events, read[1].pieces[1].events)
    assert same(read[1].pieces[1].events, direct.pieces[1].events)


def test_many_different_times_take_wider_numbers() -> None:
    times = np.sort(np.random.default_rng(0).random(MAX_TIMES + 1))
    events = Events(np.full(3, 127, np.uint8), np.full(3, 127, np.uint8), times[[0, -1, 7]], TimeUnit.beats)
    codes = encode(events, times)
    assert codes.dtype == np.uint64
    assert same(decode(codes, times, TimeUnit.beats), events)
    narrow = encode(Events(events.pitch, events.velocity, times[[0, 1, 2]], TimeUnit.beats), times[:MAX_TIMES])
    assert narrow.dtype == np.uint32


def test_clipped_bytes_are_warned_of_from_the_store_too(
    shared_data: Path, data_config: Data, encoding_config: Encoding
) -> None:
    config = data_config(source="midi", path=str(shared_data), clip=True)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"corrupt_control_168\.mid: ignored 1 message with data bytes over 127"):
            read_corpus(config, encoding_config(pitch_low=0, pitch_high=127))


# Kept in step


def test_nothing_is_read_again_while_nothing_changes(folder: Path, cache: Path, read: list[str]) -> None:
    made(folder, cache, processes=0)
    assert len(read) == 13
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file() and path.name != ".lock"}
    made(folder, cache, processes=0)
    assert len(read) == 13
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_changed_is_read_and_nothing_else(folder: Path, cache: Path, read: list[str]) -> None:
    made(folder, cache, processes=0)
    read.clear()
    write_song(folder / "03.mid", 99)
    write_song(folder / "03b.mid", 98, events=41)
    (folder / "07.mid").unlink()
    os.utime(folder / "04.mid")  # a new time and the same content
    store = made(folder, cache, processes=0)
    assert read == ["03.mid", "03b.mid"]
    fresh = made(folder, cache.with_name("other"), processes=0)
    assert [entry.path for entry in store.entries] == [entry.path for entry in fresh.entries]
    assert np.array_equal(store.events, fresh.events)
    assert np.array_equal(store.times, fresh.times)
    # One version is left, and nothing of the build.
    assert len([path for path in store.folder.iterdir() if path.is_dir()]) == 1


def test_a_change_within_the_clocks_tick_is_noticed(folder: Path, cache: Path, read: list[str]) -> None:
    path = folder / "00.mid"
    now = time.time()
    os.utime(path, (now, now))
    made(folder, cache, processes=0)
    read.clear()
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    os.utime(path, (now, now))
    made(folder, cache, processes=0)
    assert read == ["00.mid"]


def test_other_parameters_have_their_own_store(folder: Path, cache: Path, read: list[str]) -> None:
    store = made(folder, cache, processes=0)
    other = build(folder, find_files(folder), Parameters("all", "seconds", False, False), cache, processes=0)
    assert other.folder != store.folder
    read.clear()
    made(folder, cache, processes=0, rebuild=True)
    assert len(read) == 13


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest"])
def test_a_damaged_store_is_built_anew(folder: Path, cache: Path, damage: str) -> None:
    store = made(folder, cache, processes=0)
    expected = np.array(store.events)
    path = next(store.folder.glob("v-*")) / "events.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "gone":
        path.unlink()
    else:
        (store.folder / MANIFEST).write_text("{")
    assert np.array_equal(made(folder, cache, processes=0).events, expected)


def test_an_open_store_outlives_its_replacement(folder: Path, cache: Path) -> None:
    store = made(folder, cache, processes=0)
    expected = np.array(store.events)
    write_song(folder / "03.mid", 99, events=500)
    made(folder, cache, processes=0)
    assert np.array_equal(store.events, expected)


# Interrupted, killed, shared


def test_ctrl_c_keeps_what_was_read(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    original = building.read_all

    def stopped(*arguments: object) -> Iterator[tuple[Entry, bytes]]:
        for number, found in enumerate(original(*arguments)):  # type: ignore[arg-type]
            if number == 5:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(building, "read_all", stopped)
    with pytest.raises(RunInterrupted, match="^SIGINT: stopped, 5 of 13 files are read; the same command goes on$"):
        made(folder, cache, processes=0)
    monkeypatch.setattr(building, "read_all", original)
    assert not list(cache.rglob(MANIFEST))
    done = read[:5]
    read.clear()
    store = made(folder, cache, processes=0)
    assert len(read) == 13 - 5
    assert not set(read) & set(done)
    assert not (store.folder / ".building").exists()
    assert np.array_equal(store.events, made(folder, cache.with_name("other"), processes=0).events)


SLOWLY = """
import sys, time
from pathlib import Path
from typing import Any
from composer.corpus import build_store as build
from composer.corpus import read_many as reading
original = reading.read_entry
def slow(*arguments):
    time.sleep(0.05)
    return original(*arguments)
reading.read_entry = slow
root = Path(sys.argv[1])
from composer.music.midi import find_files
parameters = reading.Parameters("first", "seconds", False, False)
build.build(root, find_files(root), parameters, Path(sys.argv[2]), processes=0)
print("done")
"""


def start_slowly(folder: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(folder), str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )


@pytest.mark.parametrize("kept", [3, 9])
def test_a_killed_build_publishes_nothing_and_goes_on(folder: Path, cache: Path, kept: int, read: list[str]) -> None:
    journal = folder_of(cache, folder, FIRST) / ".building" / "files.jsonl"
    process = start_slowly(folder, cache)
    with process:
        while not journal.exists() or journal.read_bytes().count(b"\n") < kept:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not list(cache.rglob(MANIFEST))
    # The kill came in the middle of a line.
    with journal.open("ab") as stream:
        stream.write(b'[["half')
    with journal.with_name("events").open("ab") as stream:
        stream.write(b"half")
    store = made(folder, cache, processes=0)
    assert 13 - len(read) >= kept
    assert np.array_equal(store.events, made(folder, cache.with_name("other"), processes=0).events)


def test_events_that_the_disk_lost_are_read_again(folder: Path, cache: Path, read: list[str]) -> None:
    journal = folder_of(cache, folder, FIRST) / ".building" / "events"
    process = start_slowly(folder, cache)
    with process:
        while not journal.exists() or journal.stat().st_size < 3000:
            time.sleep(0.005)
        process.kill()
    content = journal.read_bytes()
    journal.write_bytes(content[:700] + bytes(len(content) - 700))
    store = made(folder, cache, processes=0)
    assert len(read) == 13 - 2 or len(read) == 13 - 1  # the first song, and the bad file where it came before
    assert np.array_equal(store.events, made(folder, cache.with_name("other"), processes=0).events)


@pytest.mark.slow
def test_two_builds_at_once_make_one_store(folder: Path, cache: Path) -> None:
    both = [start_slowly(folder, cache) for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in told] == ["done\n", "done\n"]
    assert sum("waiting for it" in err for _, err in told) == 1
    store = Store.open(folder_of(cache, folder, FIRST))
    assert store is not None
    assert len(store.events) == 720


# Hostile files


def hostile(monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """Let reading processes do something to themselves at the file 04.mid."""
    code = f"""
import os, time
from composer.corpus import read_many as reading
original = reading.read_entry
def read_entry(root, name, parameters):
    if name == "04.mid":
        {action}
    return original(root, name, parameters)
reading.read_entry = read_entry
reading.serve()
"""
    monkeypatch.setattr(
        reading, "_CODE", f"import sys; sys.path[:0] = [{str(Path(__file__).resolve().parents[2])!r}]\n{code}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("os._exit(1)", "reading it ended the process that read it"),
        ("os.kill(os.getpid(), 11)", "reading it ended the process that read it"),
        ("time.sleep(60)", "reading it took more than 5 seconds"),
    ],
)
def test_file_that_ends_or_stops_its_reader_is_left_out_alone(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, action: str, reason: str
) -> None:
    hostile(monkeypatch, action)
    if "sleep" in action:
        monkeypatch.setattr(reading, "MAX_SECONDS_PER_FILE", 5.0)
    store = made(folder, cache, processes=2)
    errors = {entry.path: entry.error for entry in store.entries if entry.error}
    assert set(errors) == {"bad.mid", "04.mid"}
    assert errors["04.mid"] == reason
    assert len(store.events) == 11 * 60


def test_a_reader_that_ends_once_costs_nothing(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = str(tmp_path / "marker")
    hostile(monkeypatch, f"(os.path.exists({marker!r}) or (open({marker!r}, 'w').close(), os._exit(1)))")
    store = made(folder, cache, processes=2)
    assert [entry.path for entry in store.entries if entry.error] == ["bad.mid"]
    assert Path(marker).exists()


def test_readers_that_cannot_start_are_no_fault_of_the_files(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CODE", "raise SystemExit(1)")
    with pytest.raises(ComposerError, match=r"^no process can be started to read files; data\.store=off"):
        made(folder, cache, processes=2)


# Where


def test_the_cache_is_the_users_or_the_one_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "composer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder(None) == Path("/home/someone/.cache/composer")
    assert cache_folder("~/here") == Path("/home/someone/here")


def test_a_cache_that_cannot_be_written_names_the_way_out(
    folder: Path, tmp_path: Path, data_config: Data, encoding_config: Encoding
) -> None:
    (tmp_path / "file").write_text("in the way")
    config = data_config(source="midi", path=str(folder), cache=str(tmp_path / "file"))
    with pytest.raises(ComposerError, match=r"file.*cannot be written") as caught:
        read_corpus(config, encoding_config())
    assert "data.store=off" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_file_needs_no_store(folder: Path, cache: Path, data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(source="midi", path=str(folder / "00.mid"), cache=str(cache))
    read_corpus(config, encoding_config())
    assert not cache.exists()


def test_the_manifest_says_what_was_read_and_how(folder: Path, cache: Path) -> None:
    store = made(folder, cache, processes=0)
    manifest = json.loads((store.folder / MANIFEST).read_text())
    assert manifest["root"] == str(folder)
    assert manifest["parameters"] == {
        "part": "first",
        "time_unit": "seconds",
        "drums": False,
        "clip": False,
        "order": "file",
        "pedal": "ignore",
    }
    assert (manifest["pieces"], manifest["events"]) == (12, 720)
    rows = [dict(zip(manifest["columns"], row, strict=True)) for row in manifest["files"]]
    assert len({row["sha256"] for row in rows}) == 13
    shutil.rmtree(store.folder)
