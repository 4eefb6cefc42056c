"""Read damaged MIDI files: each must end in a parsed piece or in one clear line, in time and within memory.

    python scripts/fuzz_midi.py --count 10000
    python scripts/fuzz_midi.py --count 1000 --files FOLDER

Mutates the files of a folder and the embedded piece: flipped bytes, truncation, huge lengths, absurd divisions and
tempos, deep running status, spliced and repeated stretches. Exit status 1 with the mutant kept if one hangs, runs out
of memory, or raises anything but a one-line MidiError.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.config.data import TimeUnit
from composer.errors import MidiError
from composer.music.events import prelude_piece
from composer.music.midi import find_files, read_piece, write_midi

SECONDS_A_FILE = 20
MEMORY_BYTES = 2 << 30


def flip(data: bytearray, rng: random.Random) -> bytearray:
    """Change single bytes."""
    for _ in range(rng.choice((1, 2, 8, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    """Cut the end off."""
    return data[: rng.randrange(len(data))]


def huge_length(data: bytearray, rng: random.Random) -> bytearray:
    """Give a chunk, or whatever looks like one, an absurd length; or a message a length of many bytes."""
    chunks = [match.end() for match in re.finditer(rb"MTrk", bytes(data))]
    if chunks and rng.random() < 0.5:
        place = rng.choice(chunks)
        data[place : place + 4] = struct.pack(">I", rng.choice((0, 1, 2**31 - 1, 2**32 - 1, len(data) * 2)))
    else:
        place = rng.randrange(14, len(data)) if len(data) > 14 else 0
        data[place:place] = bytes([0xFF, 0x51]) + b"\xff" * rng.choice((1, 3, 4, 100)) + b"\x7f"
    return data


def absurd_header(data: bytearray, rng: random.Random) -> bytearray:
    """Another type, number of tracks or division."""
    if len(data) >= 14:
        place = rng.choice((8, 10, 12))
        data[place : place + 2] = struct.pack(">H", rng.choice((0, 1, 2, 3, 255, 0x8000, 0xE728, 0xE200, 0xFFFF)))
    return data


def absurd_tempo(data: bytearray, rng: random.Random) -> bytearray:
    """Insert tempos of 0, 1 and the largest, and long times, at the start of a track."""
    place = data.find(b"MTrk") + 8
    tempo = rng.choice((b"\0\0\0", b"\0\0\1", b"\xff\xff\xff"))
    data[place:place] = rng.choice((b"\0", b"\xff\xff\xff\x7f", b"\xff" * 40 + b"\x7f")) + b"\xff\x51\x03" + tempo
    return lengthen(data, place)


def running_status(data: bytearray, rng: random.Random) -> bytearray:
    """Insert a long run of messages without their status bytes, or with none before them."""
    place = data.find(b"MTrk") + 8
    status = rng.choice((b"\x90", b"", b"\xf0", b"\xff"))
    data[place:place] = b"\0" + status + bytes([60, 64]) + b"\x01\x3c\x00\x01\x3c\x40" * rng.choice((10, 5000))
    return lengthen(data, place)


def splice(data: bytearray, rng: random.Random) -> bytearray:
    """Copy or remove a stretch."""
    begin = rng.randrange(len(data))
    stretch = data[begin : begin + rng.randrange(1, 200)]
    if rng.random() < 0.5:
        del data[begin : begin + len(stretch)]
    else:
        data[begin:begin] = stretch * rng.choice((1, 50))
    return data


def lengthen(data: bytearray, place: int) -> bytearray:
    """Mend the length of the track at `place`, so that what was inserted is read."""
    following = data.find(b"MTrk", place)
    end = following if following > 0 else len(data)
    if place >= 8:
        data[place - 4 : place] = struct.pack(">I", end - place)
    return data


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip,
    truncate,
    huge_length,
    absurd_header,
    absurd_tempo,
    running_status,
    splice,
)


class TooLong(BaseException):
    """A file took more than its time; no `except Exception` may swallow it."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise TooLong


def outcome(path: Path, rng: random.Random) -> str:
    """Read a file as a run might; what came of it.

    Raises:
        Exception: anything but a piece or a one-line MidiError.
    """
    signal.setitimer(signal.ITIMER_REAL, SECONDS_A_FILE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            piece = read_piece(
                path,
                part=rng.choice(("first", "all", "track:1", "channel:0", "family:piano")),
                time_unit=rng.choice(list(TimeUnit)),
                clip=rng.random() < 0.5,
            )
    except MidiError as error:
        line = str(error)
        assert line.startswith(str(path)), line
        assert "\n" not in line, line
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    times = piece.events.delta_time
    assert len(piece.events) == len(times) > 0
    assert (times >= 0).all()
    assert times.sum() < float("inf")
    return "read"


def main() -> int:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=Path, help="a folder of MIDI files to mutate too")
    parser.add_argument("--largest", type=int, default=60_000, help="leave out files of more bytes")
    arguments = parser.parse_args()
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _alarm)

    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "prelude.mid"
        write_midi(own, prelude_piece(TimeUnit.seconds))
        sources = [own]
        if arguments.files:
            sources += [file for file in find_files(arguments.files) if file.stat().st_size <= arguments.largest]
        contents = [path.read_bytes() for path in sources if path.stat().st_size]
        counts: collections.Counter[str] = collections.Counter()
        for number in range(arguments.count):
            rng = random.Random(f"{arguments.seed}/{number}")
            data = bytearray(rng.choice(contents))
            for mutation in rng.sample(MUTATIONS, rng.choice((1, 1, 2, 3))):
                data = mutation(data, rng) if data else data
            mutant = Path(folder) / f"mutant-{number}.mid"
            mutant.write_bytes(data)
            try:
                counts[outcome(mutant, rng)] += 1
            except (Exception, TooLong):
                kept = Path(tempfile.gettempdir()) / mutant.name
                kept.write_bytes(data)
                traceback.print_exc()
                print(f"mutant {number} of seed {arguments.seed} failed; it is kept as {kept}")
                return 1
            mutant.unlink()
    print(f"{arguments.count} mutants of {len(contents)} files: {counts['read']} read, {counts['refused']} refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
