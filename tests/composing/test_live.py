"""Playing while composing, to a port that remembers what it was sent and when."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from mido.ports import BaseOutput, EchoPort

import composer
from composer import cli
from composer.commands.live import VIRTUAL, open_port
from composer.commands.train import start
from composer.composing import live
from composer.composing.live import Latency, composed, play
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.errors import ComposerError
from composer.music.events import in_unit


class Clock:
    """A clock that only moves where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


class Port(BaseOutput):  # type: ignore[misc]
    """A port that keeps its messages with their times."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__("test")
        self.clock = clock or Clock()
        self.sent: list[tuple[float, int, int]] = []

    def _send(self, message: Any) -> None:
        if message.type == "note_on":
            self.sent.append((round(self.clock() - 100, 6), message.note, message.velocity))


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


def test_each_event_is_sent_at_its_time_and_nothing_sounds_on() -> None:
    clock = Clock()
    port = Port(clock)
    events = [(60, 64, 0.5), (62, 70, 0.25), (60, 65, 0.25), (64, 0, 0.5), (62, 0, 0.0)]
    latency = play(events, port, clock=clock, sleep=clock.sleep)
    expected = [(0.5, 60, 64), (0.75, 62, 70), (1.0, 60, 0), (1.0, 60, 65), (1.5, 62, 0), (1.5, 60, 0)]
    assert port.sent == expected
    assert latency.late.tolist() == [0.0] * 5


def test_a_slow_event_is_late_and_the_next_is_not() -> None:
    clock = Clock()

    def events() -> Any:
        yield 60, 64, 1.0
        clock.now += 1.5
        yield 60, 0, 1.0
        yield 62, 64, 1.0

    latency = play(events(), Port(clock), clock=clock, sleep=clock.sleep)
    assert latency.composing.tolist() == [0.0, 1.5, 0.0]
    assert latency.late.tolist() == [0.0, 0.5, 0.0]
    assert str(latency).startswith("3 events: composed in 0.00 ms (median)")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_sounds_is_released_however_it_ends(error: type[BaseException]) -> None:
    clock = Clock()
    port = Port(clock)

    def events() -> Any:
        yield 60, 64, 0.0
        yield 67, 64, 0.0
        raise error

    if error is ValueError:
        with pytest.raises(ValueError, match=r"^$"):
            play(events(), port, clock=clock, sleep=clock.sleep)
    else:
        assert len(play(events(), port, clock=clock, sleep=clock.sleep).late) == 2
    assert port.sent[2:] == [(0.0, 60, 0), (0.0, 67, 0)]


def test_what_is_played_is_what_generate_writes(trained: Path) -> None:
    player = composer.load(trained).composer
    composed_piece = player.generate(events=60, seed=4, playable=True, polyphony=3).piece
    piece = in_unit(composed_piece, TimeUnit.seconds).events
    events = list(composed(player, compose(f"run={trained}", "seed=4", "events=60", "polyphony=3", command="live")))
    assert [pitch for pitch, *_ in events] == piece.pitch.tolist()
    assert [velocity for _, velocity, _ in events] == piece.velocity.tolist()
    assert [wait for *_, wait in events] == pytest.approx(piece.delta_time.tolist())


def test_a_note_held_too_long_is_released_at_its_time(trained: Path) -> None:
    player = composer.load(trained).composer
    config = compose(f"run={trained}", "events=300", "playable=false", command="generate")
    longest = player.origin.longest_note_seconds
    assert longest is not None
    clock = Clock()
    port = Port(clock)
    play(live.sounding(player, config), port, clock=clock, sleep=clock.sleep)
    struck: dict[int, float] = {}
    held = []
    for now, pitch, velocity in port.sent:
        if velocity:
            struck[pitch] = now
        else:
            held.append(now - struck.pop(pitch))
    assert max(held) == pytest.approx(longest)


def test_a_length_in_seconds_is_kept(trained: Path) -> None:
    player = composer.load(trained).composer
    for ending in ("cut", "close"):
        config = compose(f"run={trained}", "seconds=5", f"ending={ending}", command="live")
        assert 0 < sum(wait for *_, wait in composed(player, config)) <= 5


def test_the_command_plays_and_tells_the_latency(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = Port()
    monkeypatch.setattr("composer.commands.live.open_port", lambda name: port)
    assert cli.run("live", [f"run={trained}", "seconds=1", "temperature=0.8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("playing to test; Ctrl-C stops\n")
    assert "sent late by" in out
    assert port.sent


def test_ports_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mido, "get_output_names", lambda: ["Piano", "Organ"])
    with pytest.raises(ComposerError, match=r"^port=Harp: no such MIDI port; there are Piano, Organ$"):
        open_port("Harp")
    monkeypatch.setattr(mido, "get_output_names", list)
    with pytest.raises(ComposerError, match="this machine has none; port=virtual opens one"):
        open_port(None)
    monkeypatch.setattr(mido, "get_output_names", lambda: ["Piano"])
    monkeypatch.setattr(mido, "open_output", lambda name: Port())
    assert open_port(None).name == "test"


def test_without_rtmidi_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    with pytest.raises(ComposerError, match=r"python-rtmidi is not installed; pip install 'lstm-composer\[live\]'"):
        open_port(None)


def heard(port: Any) -> list[tuple[int, int]]:
    return [(message.note, message.velocity) for message in port.iter_pending() if message.type == "note_on"]


def test_the_far_end_of_a_port_hears_the_piece_as_it_is_composed(trained: Path) -> None:
    config = compose(f"run={trained}", "seconds=2", "seed=3", command="live")
    player = composer.load(trained).composer
    events = list(composed(player, config))
    with EchoPort("loopback") as port:
        latency = play(composed(player, config), port)
        messages = heard(port)
    assert messages[: len(events)] == [(pitch, velocity) for pitch, velocity, _ in events]
    assert len(latency.late) == len(events) > 0
    assert (latency.late >= 0).all()
    sounding: set[int] = set()
    for pitch, velocity in messages:
        (sounding.add if velocity else sounding.discard)(pitch)
    assert not sounding


@pytest.fixture
def jack(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A JACK server without a sound card, and mido on it."""
    program = shutil.which("jackd")
    if program is None:
        pytest.skip("jackd is not installed")
    server = f"composer-test-{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", server)
    process = subprocess.Popen([program, "--no-realtime", "-n", server, "-d", "dummy"], stdout=subprocess.DEVNULL)
    before = mido.backend
    try:
        if (wait := shutil.which("jack_wait")) is None:
            pytest.skip("jack_wait is not installed")
        subprocess.run([wait, "-s", server, "-w", "-t", "10"], stdout=subprocess.DEVNULL, check=True)
        mido.set_backend("mido.backends.rtmidi/UNIX_JACK")
        yield
    finally:
        mido.set_backend(before)
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("system", [None, "jack"])
def test_a_virtual_port_hears_what_is_sent(system: str | None, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("rtmidi")
    if system:
        request.getfixturevalue(system)
    try:
        port = open_port("virtual")
        there = mido.open_input(next(name for name in mido.get_input_names() if VIRTUAL in name))
    except (ComposerError, StopIteration) as error:
        pytest.skip(f"this machine has no MIDI ports ({error})")
    with port, there:
        play([(60, 64, 0.1), (60, 0, 0.05)], port)
        messages: list[tuple[int, int]] = []
        deadline = time.monotonic() + 5
        while len(messages) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
            messages += heard(there)
    assert messages == [(60, 64), (60, 0)]


def test_nothing_played_is_said() -> None:
    assert str(Latency(np.empty(0), np.empty(0))) == "nothing was played"
