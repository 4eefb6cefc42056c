"""Reading of many MIDI files by several processes; a crash or a hang of one loses no other file.

Each process receives requests for files through its standard input and answers in frames: two lengths, a JSON object
that describes the file or the reason why it is left out, and the events. If a process dies while reading a file, or
does not answer in time, another process continues with the rest; that file is tried again at the end, then left out.

    request  one line of JSON: the number of the file and its path
    answer   >II (bytes of the JSON, bytes of the events), the JSON, the events (`to_bytes`);
             the first answer is two lengths of 0: the process has started
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from composer.config.data import DataConfig, Order, Pedal, TimeUnit
from composer.errors import ComposerError, MidiError
from composer.music.events import Events, LeftOut, Piece
from composer.music.markings import Markings
from composer.music.midi import load, read_piece

_LENGTHS = struct.Struct(">II")
# Far more than the reading of any music file takes.
MAX_SECONDS_PER_FILE = 60.0
_CODE = f"import sys; sys.path[:] = {sys.path!r}; from composer.corpus.read_many import serve; serve()"
# Requests sent to a process ahead of its answers, so that it does not wait.
_MAX_PENDING_FILES = 4


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of reading: the keys that decide the events besides the content of a file."""

    part: str
    time_unit: str
    drums: bool
    clip: bool
    order: str = Order.file.name
    pedal: str = Pedal.ignore.name

    @classmethod
    def of(cls, data: DataConfig, unit: TimeUnit) -> Parameters:
        """Return the parameters that the `data` keys set, with times in `unit`."""
        return cls(data.part, unit.name, data.drums, data.clip, data.order.name, data.pedal.name)


def read_as(path: Path, parameters: Parameters, content: bytes | None = None) -> Piece:
    """Read a MIDI file; see `read_piece`."""
    return read_piece(
        path,
        part=parameters.part,
        time_unit=TimeUnit[parameters.time_unit],
        drums=parameters.drums,
        clip=parameters.clip,
        order=Order[parameters.order],
        pedal=Pedal[parameters.pedal],
        content=content,
    )


@dataclass(slots=True)
class Entry:
    """The record of one file of a corpus.

    Attributes:
        path: relative to the corpus's folder, with slashes.
        size, mtime_ns: values of the file system before the file was read.
        settled: whether the file was old enough when it was read that any later change gets another time.
        sha256: digest of its content; empty where it could not be read.
        note: a warning, without the path; empty where there is none.
        error: the reason why it is left out, without the path; empty for a piece.
        offset, events: position of its first event, and the number of events.
        pitch_low, pitch_high: their lowest and highest pitch.
        division, tempo: header's division, and microseconds per beat at the start.
        program: General MIDI program of the part.
        other_parts, drums: notes that `data.part` and `data.drums` leave out.
        tempos, meters, keys: values of `Markings`.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    settled: bool = False
    sha256: str = ""
    note: str = ""
    error: str = ""
    offset: int = 0
    events: int = 0
    pitch_low: int = 0
    pitch_high: int = 0
    division: int = 0
    tempo: int = 0
    program: int = 0
    other_parts: int = 0
    drums: int = 0
    tempos: Sequence[tuple[float, int]] = ()
    meters: Sequence[tuple[float, int, int]] = ()
    keys: Sequence[tuple[float, str]] = ()

    @property
    def left_out(self) -> LeftOut:
        """Notes that are left out."""
        return LeftOut(self.other_parts, self.drums)

    @property
    def markings(self) -> Markings:
        """Tempo, metre and key."""
        return Markings.from_plain({"tempos": self.tempos, "meters": self.meters, "keys": self.keys})


# Two changes of a file within this time, in seconds, may get the same timestamp.
_MIN_SETTLED_SECONDS = 2.0


def read_entry(root: Path, name: str, parameters: Parameters) -> tuple[Entry, bytes]:
    """Read one file; return its record and its events."""
    path = root / name
    entry = Entry(name)
    try:
        status = path.stat()
        entry.size, entry.mtime_ns = status.st_size, status.st_mtime_ns
        entry.settled = time.time() - status.st_mtime > _MIN_SETTLED_SECONDS
        content = load(path)
        entry.sha256 = hashlib.sha256(content).hexdigest()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            piece = read_as(path, parameters, content)
    except OSError as error:
        entry.error = f"cannot be read ({error.strerror or error})"
        return entry, b""
    except MidiError as error:
        entry.error = str(error).removeprefix(f"{path}: ")
        return entry, b""
    entry.note = "; ".join(str(warning.message).removeprefix(f"{path}: ") for warning in caught)
    events = piece.events
    entry.events = len(events)
    entry.pitch_low, entry.pitch_high = int(events.pitch.min()), int(events.pitch.max())
    entry.division, entry.tempo = piece.timing.division, piece.timing.microseconds_per_beat
    entry.program = piece.program
    entry.other_parts, entry.drums = piece.left_out.parts, piece.left_out.drums
    entry.tempos, entry.meters, entry.keys = piece.markings.tempos, piece.markings.meters, piece.markings.keys
    return entry, to_bytes(events)


def to_bytes(events: Events) -> bytes:
    """Return N events as 10 N bytes: pitches, velocities, times."""
    return events.pitch.tobytes() + events.velocity.tobytes() + events.delta_time.astype("<f8").tobytes()


def from_bytes(content: bytes, unit: TimeUnit) -> Events:
    """Read events from the bytes that `to_bytes` returns."""
    count = len(content) // 10
    pitch, velocity = np.frombuffer(content, np.uint8, 2 * count).reshape(2, count)
    return Events(pitch, velocity, np.frombuffer(content, "<f8", count, 2 * count).astype(np.float64), unit)


def read_all(root: Path, names: Sequence[str], parameters: Parameters, processes: int) -> Iterator[tuple[Entry, bytes]]:
    """Yield the record and the events of each file, in the order in which they are finished.

    Args:
        root: the corpus's folder.
        names: paths relative to it.
        parameters: how to read them.
        processes: number of processes; 0 reads in this process, for files too few to start another.
    """
    if not processes:
        for name in names:
            yield read_entry(root, name, parameters)
        return
    waiting, again = collections.deque(range(len(names))), set[int]()
    with selectors.DefaultSelector() as selector:
        workers = [_Worker(root, parameters, selector) for _ in range(min(processes, len(names)))]
        try:
            while waiting or any(worker.pending for worker in workers):
                for worker in workers:
                    worker.request(waiting, names)
                for key, _ in selector.select(timeout=0.5):
                    for number, entry, content in key.data.answers():
                        assert names[number] == entry.path
                        yield entry, content
                for place, worker in enumerate(workers):
                    reason = worker.failure()
                    if reason and worker.pending:
                        number = worker.pending.popleft()
                        if number in again:
                            yield _lost(root, names[number], reason), b""
                        else:
                            # The cause may be the machine: short of memory, or a slow disk.
                            again.add(number)
                            waiting.append(number)
                    if reason:
                        waiting.extendleft(reversed(worker.pending))
                        worker.end()
                        workers[place] = _Worker(root, parameters, selector)
        finally:
            for worker in workers:
                worker.end()


def _lost(root: Path, name: str, reason: str) -> Entry:
    """Return the record of a file that ended its reader, with a digest: it is read again only after a change."""
    entry = Entry(name, error=reason)
    try:
        status = (root / name).stat()
        entry.size, entry.mtime_ns, entry.settled = status.st_size, status.st_mtime_ns, True
        entry.sha256 = hashlib.sha256(load(root / name)).hexdigest()
    except (OSError, MidiError):
        entry.settled = False
    return entry


class _Worker:
    """The parent's side of a process that reads files."""

    def __init__(self, root: Path, parameters: Parameters, selector: selectors.BaseSelector) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.replies = self.process.stdin, self.process.stdout
        self.pending: collections.deque[int] = collections.deque()
        self.received = bytearray()
        self.last_answer_at = time.monotonic()
        self.ready = self.ended = False
        self.selector = selector
        selector.register(self.replies, selectors.EVENT_READ, self)
        self._send({"root": str(root), **asdict(parameters)})

    def _send(self, value: dict[str, Any]) -> None:
        try:
            self.requests.write(json.dumps(value).encode() + b"\n")
            self.requests.flush()
        except BrokenPipeError:
            self.ended = True

    def request(self, waiting: collections.deque[int], names: Sequence[str]) -> None:
        """Send requests for files, a few ahead of the answers."""
        while waiting and len(self.pending) < _MAX_PENDING_FILES and not self.ended:
            if not self.pending:
                self.last_answer_at = time.monotonic()
            number = waiting.popleft()
            self.pending.append(number)
            self._send({"number": number, "name": names[number]})

    def answers(self) -> Iterator[tuple[int, Entry, bytes]]:
        """Yield the complete answers received so far."""
        part = os.read(self.replies.fileno(), 1 << 20)
        if not part:
            self.ended = True
            return
        self.received += part
        while len(self.received) >= _LENGTHS.size:
            first, second = _LENGTHS.unpack_from(self.received)
            end = _LENGTHS.size + first + second
            if len(self.received) < end:
                return
            if not first:
                self.ready, self.last_answer_at = True, time.monotonic()
                del self.received[:end]
                continue
            entry = json.loads(bytes(self.received[_LENGTHS.size : _LENGTHS.size + first]))
            content = bytes(self.received[_LENGTHS.size + first : end])
            del self.received[:end]
            self.last_answer_at = time.monotonic()
            yield self.pending.popleft(), Entry(**entry), content

    def failure(self) -> str:
        """Return the reason why this process has failed; empty if it has not."""
        if self.ended and not self.ready:
            raise ComposerError("no process can be started to read files; data.store=off reads them in this one")
        if not self.ready:
            return ""  # starting may take long on a busy machine
        if self.ended:
            return "reading it ended the process that read it"
        if self.pending and time.monotonic() - self.last_answer_at > MAX_SECONDS_PER_FILE:
            return f"reading it took more than {MAX_SECONDS_PER_FILE:g} seconds"
        return ""

    def end(self) -> None:
        """Stop the process and wait for its end."""
        self.selector.unregister(self.replies)
        self.process.kill()
        self.process.wait()
        for stream in (self.requests, self.replies):
            try:
                stream.close()
            except BrokenPipeError:
                pass  # an unsent request


def serve() -> None:
    """Answer requests until standard input ends: the main function of a reading process."""
    # Ctrl-C is sent to every process of a terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    setting = json.loads(requests.readline())
    root = Path(setting.pop("root"))
    parameters = Parameters(**setting)
    replies.write(_LENGTHS.pack(0, 0))
    replies.flush()
    for line in requests:
        _answer(replies, *read_entry(root, json.loads(line)["name"], parameters))


def _answer(replies: BinaryIO, entry: Entry, content: bytes) -> None:
    header = json.dumps(asdict(entry)).encode()
    replies.write(_LENGTHS.pack(len(header), len(content)) + header + content)
    replies.flush()
