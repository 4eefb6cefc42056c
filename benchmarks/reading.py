"""Note messages read a second: ours, mido alone, and whichever of pretty_midi, symusic and miditok are installed.

    python benchmarks/reading.py                      five pieces that are made up on the spot
    python benchmarks/reading.py --files FOLDER       the files of a folder that all readers can read
    python benchmarks/reading.py --copies 200         and a store built of so many copies, with 1, 2, ... processes

Every reader reads the same files in the same run, in turn, and its best round counts. A message is a strike or a
release; readers that give notes have two a note. What each does differs: `read_piece` gives the messages of all parts
(`part=all`) with their times through the tempo map, mido messages, pretty_midi and symusic notes, miditok tokens.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.corpus.build_store import build
from composer.corpus.read_many import Parameters
from composer.errors import MidiError
from composer.music.midi import find_files, read_piece


def made_up(folder: Path) -> None:
    """Five pieces of 10,000 messages each."""
    rng = np.random.default_rng(0)
    for number in range(5):
        file = mido.MidiFile(type=0, ticks_per_beat=480)
        track = file.add_track()
        for _ in range(5000):
            pitch = int(rng.integers(30, 90))
            track.append(mido.Message("note_on", note=pitch, velocity=int(rng.integers(1, 128)), time=30))
            track.append(mido.Message("note_on", note=pitch, velocity=0, time=int(rng.integers(10, 200))))
        file.save(folder / f"{number}.mid")


def readers() -> dict[str, Callable[[Path], int]]:
    """Functions that read a file and tell how many note messages it has."""

    def ours(path: Path) -> int:
        return len(read_piece(path, part="all", drums=True).events)

    def alone(path: Path) -> int:
        return sum(message.type in ("note_on", "note_off") for track in mido.MidiFile(path).tracks for message in track)

    found: dict[str, Callable[[Path], int]] = {"composer": ours, "mido": alone}
    optional: dict[str, Callable[[], Callable[[Path], int]]] = {
        "pretty_midi": _pretty_midi,
        "symusic": _symusic,
        "miditok": _miditok,
    }
    for name, make in optional.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"{name} is not installed")
    return found


def _pretty_midi() -> Callable[[Path], int]:
    module = importlib.import_module("pretty_midi")
    return lambda path: 2 * sum(len(part.notes) for part in module.PrettyMIDI(str(path)).instruments)


def _symusic() -> Callable[[Path], int]:
    module = importlib.import_module("symusic")
    return lambda path: 2 * sum(len(track.notes) for track in module.Score(path, ttype="second").tracks)


def _miditok() -> Callable[[Path], int]:
    module, score = importlib.import_module("miditok"), importlib.import_module("symusic").Score
    tokenizer = module.MIDILike()

    def read(path: Path) -> int:
        tokenizer(path)
        return 2 * sum(len(track.notes) for track in score(path).tracks)

    return read


def compare(files: list[Path], rounds: int) -> None:
    """Time every reader on the files that all can read."""
    known = readers()
    usable = []
    for path in files:
        try:
            for read in known.values():
                read(path)
        except (MidiError, OSError, ValueError, EOFError, RuntimeError, KeyError, IndexError):
            continue
        usable.append(path)
    best = dict.fromkeys(known, float("inf"))
    for _ in range(rounds):
        for name, read in known.items():
            started = time.perf_counter()
            for path in usable:
                read(path)
            best[name] = min(best[name], time.perf_counter() - started)
    messages = sum(known["mido"](path) for path in usable)
    print(f"{len(usable)} of {len(files)} files, {messages:,} note messages, best of {rounds} rounds")
    for name, seconds in best.items():
        print(f"  {name:<12}{messages / seconds:>12,.0f} messages a second")


def scaling(files: list[Path], copies: int, folder: Path) -> None:
    """Build stores of many files with more and more processes."""
    root = folder / "copies"
    root.mkdir()
    for number in range(copies):
        shutil.copy(files[number % len(files)], root / f"{number:05d}.mid")
    cores = len(os.sched_getaffinity(0))
    for processes in sorted({1, 2, cores // 2, cores} - {0}):
        cache = folder / f"cache{processes}"
        started = time.perf_counter()
        store = build(root, find_files(root), Parameters("all", "seconds", True, True), cache, processes=processes)
        took = time.perf_counter() - started
        print(f"  store of {copies} files, {processes} processes: {len(store.events) / took:,.0f} messages a second")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, help="a folder of MIDI files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=60)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not arguments.files:
            (folder / "made").mkdir()
            made_up(folder / "made")
        files = find_files(arguments.files or folder / "made")
        compare(files, arguments.rounds)
        scaling(files, arguments.copies, folder)


if __name__ == "__main__":
    main()
