"""The quick walk over a file's bytes says what mido says, or nothing."""

import io
import random
import runpy
from collections.abc import Callable
from pathlib import Path

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.config.data import TimeUnit
from composer.music.events import prelude_piece
from composer.music.midi import write_midi
from composer.music.midi_bytes import of_mido, scan

MUTATIONS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "fuzz_midi.py"))["MUTATIONS"]
Build = Callable[..., Path]


def agrees(content: bytes) -> bool:
    """Whether it was scanned; then mido reads it too, without clipping, and finds the same."""
    found = scan(content)
    if found is None:
        return False
    assert found == of_mido(mido.MidiFile(file=io.BytesIO(content)))
    return True


@pytest.mark.slow
def test_real_files_are_scanned_and_alike(shared_data: Path) -> None:
    scanned = {path.name for path in shared_data.glob("*.mid") if agrees(path.read_bytes())}
    assert scanned == {path.name for path in shared_data.glob("*.mid")} - {"corrupt_control_168.mid"}


def mutants(contents: list[bytes], count: int, seed: int) -> tuple[int, int]:
    """How many mutants were scanned, and how many were left to mido."""
    scanned = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        data = bytearray(rng.choice(contents))
        for mutation in rng.sample(MUTATIONS, rng.choice((1, 1, 2, 3))):
            data = mutation(data, rng) if data else data
        scanned += agrees(bytes(data))
    return scanned, count - scanned


def test_mutants_of_the_prelude_are_alike_or_left_to_mido(tmp_path: Path) -> None:
    write_midi(tmp_path / "own.mid", prelude_piece(TimeUnit.seconds))
    scanned, left = mutants([(tmp_path / "own.mid").read_bytes()], 150, 0)
    assert scanned > 20
    assert left > 20


@pytest.mark.slow
def test_mutants_of_real_files_read_alike_or_left_to_mido(
    shared_data: Path, repetitions: Callable[[int, int], int]
) -> None:
    contents = [path.read_bytes() for path in shared_data.glob("*.mid") if path.stat().st_size < 60_000]
    count = repetitions(300, 10_000)
    scanned, left = mutants(contents, count, 1)
    assert scanned > count / 10
    assert left > count / 10


metas = st.tuples(st.integers(0, 127), st.binary(max_size=6)).map(lambda m: bytes([0xFF, m[0], len(m[1])]) + m[1])
system = st.tuples(st.sampled_from([0xF0, 0xF7]), st.binary(max_size=4)).map(lambda m: bytes([m[0], len(m[1])]) + m[1])
channel = st.binary(min_size=1, max_size=3)
notes = st.tuples(st.integers(0x80, 0xEF), st.integers(0, 127), st.integers(0, 127)).map(bytes)
deltas = st.sampled_from([b"\0", b"\x7f", b"\x81\0", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x01"])


@given(
    messages=st.lists(st.tuples(deltas, notes | metas | system | channel), max_size=12),
    header=st.tuples(st.sampled_from([0, 1, 2, 3]), st.integers(0, 3), st.sampled_from([96, 480, 0, 0xE728])),
    longer=st.sampled_from([0, 0, 0, 1, -1]),
)
def test_made_up_tracks_are_alike_or_left_to_mido(
    messages: list[tuple[bytes, bytes]], header: tuple[int, int, int], longer: int
) -> None:
    track = b"".join(delta + message for delta, message in messages)
    chunk = b"MTrk" + max(0, len(track) + longer).to_bytes(4, "big") + track
    content = b"MThd\0\0\0\6" + b"".join(value.to_bytes(2, "big") for value in header) + chunk * 2
    agrees(content)


@pytest.mark.parametrize("content", [b"", b"MThd", b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\xff\xff\xff\xff\0"])
def test_what_is_cut_is_left_to_mido(content: bytes) -> None:
    assert scan(content) is None
