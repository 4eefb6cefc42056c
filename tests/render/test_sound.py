"""The sound of `composer render`: the piano's measured figures, the sustain pedal, and the synthesiser's name."""

import importlib.util
import sys
import wave
from pathlib import Path
from types import ModuleType

import mido
import numpy as np
import pytest

from composer import cli
from composer.config.data import Pedal
from composer.music.midi import read_parts, read_piece
from composer.music.notes import Note, from_file
from composer.render import audio

RATE = audio.SAMPLE_RATE
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compare_piano() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_piano", ROOT / "scripts" / "compare_piano.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["compare_piano"] = module
    spec.loader.exec_module(module)
    return module


def level(samples: audio.Samples, start: float, end: float) -> float:
    """Root mean square in decibels."""
    part = samples[round(start * RATE) : round(end * RATE)].astype(float)
    return 10 * np.log10((part**2).mean() + 1e-15)


# The piano


def test_figures_of_a_known_sound_are_measured(compare_piano: ModuleType) -> None:
    time = np.arange(5 * RATE) / RATE
    tone = np.sin(2 * np.pi * 1000 * time) * np.exp(-time / 0.5) * np.minimum(time / 0.05, 1)
    found = compare_piano.measure(np.stack([tone, tone / 2], axis=1).astype(np.float32), 84)
    # A linear rise over 50 ms: 80 % of it is 40 ms, less what the decay takes.
    assert found.attack == pytest.approx(38, abs=4)
    assert found.decay == pytest.approx(0.5 * np.log(10), abs=0.06)
    assert found.centroid == pytest.approx(1000, abs=1)
    assert found.balance == pytest.approx(6.02, abs=0.01)


@pytest.fixture(scope="module")
def measured(compare_piano: ModuleType) -> dict[int, object]:
    """The figures of keys over the whole keyboard, at velocity 80."""
    pitches = range(21, 109, 3)
    sounds = compare_piano.by_builtin([(pitch, 80) for pitch in pitches])
    return {pitch: compare_piano.measure(sound, pitch) for pitch, sound in zip(pitches, sounds, strict=True)}


@pytest.mark.slow
def test_low_keys_are_left_and_high_ones_right(measured: dict[int, object]) -> None:
    balance = [m.balance for m in measured.values()]
    assert balance[0] == pytest.approx(4, abs=0.5)
    assert balance[-1] == pytest.approx(-4, abs=0.5)
    assert (np.diff(balance) < 0.05).all()


@pytest.mark.slow
def test_tone_loudness_and_decay_change_smoothly(measured: dict[int, object]) -> None:
    centroid = np.array([m.centroid for m in measured.values()])
    loudness = np.array([m.loudness for m in measured.values()])
    # FluidR3 has 154 Hz at A0 and 3,569 Hz at A7.
    assert 110 < centroid[0] < 160
    ratio = centroid[1:] / centroid[:-1]
    assert ratio.min() > 1
    assert ratio.max() < 1.4
    assert np.abs(np.diff(loudness)).max() < 2
    assert np.ptp(loudness) < 5.5
    decay = [m.decay for m in measured.values()]
    assert decay[3] > 3 > decay[10] > 1.5 > decay[15] > decay[20] > decay[25] > 0.2


@pytest.mark.parametrize("pitch", [40, 75])
def test_channels_do_not_cancel_in_mono(pitch: int) -> None:
    samples = audio.piano([Note(pitch, 80, 0.0, 1.0, 0.0, 1.0)])
    mono = samples.mean(axis=1, keepdims=True)
    assert level(mono, 0, 0.5) > level(samples, 0, 0.5) - 1.5


def test_oscillations_are_those_of_a_sum_of_sines() -> None:
    random = np.random.default_rng(0)
    outputs = random.normal(size=(2, 5)) + 1j * random.normal(size=(2, 5))
    rates = 2j * np.pi * random.uniform(30, 5000, 5) - 1 / random.uniform(0.05, 2, 5)
    time = np.arange(40_001) / RATE
    expected = (outputs @ np.exp(rates[:, None] * time)).imag
    made = audio._exponentials(outputs, rates, len(time), RATE)
    assert made.shape == expected.shape
    # What is 80 dB down is left out.
    assert np.abs(made - expected).max() < 5e-4 * np.abs(expected).max()


# The sustain pedal


@pytest.fixture
def pedalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A note of 0.3 s under the pedal, which is down from 0.1 to 2 s; another without it at 3 s."""
    monkeypatch.chdir(tmp_path)
    file = mido.MidiFile(type=0, ticks_per_beat=1000)
    track = file.add_track()
    now = 0
    for when, message in (
        (0, mido.MetaMessage("set_tempo", tempo=1_000_000)),
        (0, mido.Message("note_on", note=60, velocity=80)),
        (100, mido.Message("control_change", control=64, value=127)),
        (300, mido.Message("note_off", note=60)),
        (2000, mido.Message("control_change", control=64, value=0)),
        (3000, mido.Message("note_on", note=72, velocity=80)),
        (3500, mido.Message("note_off", note=72)),
    ):
        track.append(message.copy(time=when - now))
        now = when
    file.save(tmp_path / "pedal.mid")
    return tmp_path / "pedal.mid"


def rendered(path: Path, *arguments: str) -> np.ndarray:
    """The frames (L, 2) of the audio file that the command writes."""
    assert cli.run("render", [path.name, "output=made", *arguments]) == 0
    with wave.open("made/audio.wav") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / np.float32(32768)


@pytest.mark.slow
def test_a_note_sounds_until_the_pedal_comes_up(pedalled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = rendered(pedalled, "synth=builtin")
    assert level(samples, 1.0, 1.9) > -50
    assert level(samples, 2.6, 2.9) < -90
    assert level(samples, 3.0, 3.4) > -40
    assert "wav        made/audio.wav  built-in piano, with the sustain pedal\n" in capsys.readouterr().out


def test_the_pedal_changes_only_what_is_asked(pedalled: Path) -> None:
    plain, sounding = from_file(pedalled), from_file(pedalled, pedal=Pedal.extend)
    assert [round(note.duration_seconds, 6) for note in plain.notes] == [0.3, 0.5]
    assert [round(note.duration_seconds, 6) for note in sounding.notes] == [2.0, 0.5]
    assert np.allclose(read_piece(pedalled).events.delta_time, [0, 0.3, 2.7, 0.5])


def test_a_pitch_struck_again_ends_the_held_note(pedalled: Path) -> None:
    file = mido.MidiFile(pedalled)
    # At 1 s, under the pedal.
    track = file.tracks[0]
    track[4].time = 1000
    track[4:4] = [mido.Message("note_on", note=60, velocity=50, time=700), mido.Message("note_off", note=60)]
    file.save(pedalled)
    first, second, _ = from_file(pedalled, pedal=Pedal.extend).notes
    assert (first.end_seconds, second.onset_seconds) == pytest.approx((1.0, 1.0))
    assert second.end_seconds == pytest.approx(2.0)


def test_fluidsynth_gets_the_pedal_and_each_program(pedalled: Path, tmp_path: Path) -> None:
    file = mido.MidiFile(pedalled)
    file.type = 1
    for channel, program in ((1, 40), (9, 0)):
        file.tracks.append(
            mido.MidiTrack(
                [
                    mido.Message("program_change", channel=channel, program=program),
                    mido.Message("note_on", channel=channel, note=50, velocity=70),
                    mido.Message("note_off", channel=channel, note=50, time=400),
                ]
            )
        )
    file.save(pedalled)
    audio.write_parts(tmp_path / "parts.mid", read_parts(pedalled, drums=True, pedal=Pedal.extend))
    programs, notes, now = {}, [], 0.0
    for message in mido.MidiFile(tmp_path / "parts.mid"):
        now += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity == 0:
            notes.append((message.channel, message.note, round(now, 3)))
    assert programs == {0: 0, 1: 40, 9: 0}
    assert sorted(notes) == [(0, 60, 2.0), (0, 72, 3.5), (1, 50, 0.4), (9, 50, 0.4)]


@pytest.mark.slow
def test_real_fluidsynth_holds_the_note_and_is_named(pedalled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if missing := audio.missing_fluidsynth(None):
        pytest.skip(missing)
    samples = rendered(pedalled)
    assert level(samples, 1.0, 1.9) > -50
    assert level(samples, 2.6, 2.9) < level(samples, 1.0, 1.9) - 10
    font = audio.find_soundfont(None)
    assert font is not None
    assert f"made/audio.wav  FluidSynth, {font.name}, with the sustain pedal\n" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"), [(None, "FluidSynth is not installed"), ("fluidsynth", "no soundfont in the usual places")]
)
def test_auto_says_why_the_piano_is_used(
    program: str | None,
    reason: str,
    pedalled: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audio.shutil, "which", lambda name: program)
    monkeypatch.setattr(audio, "_SOUNDFONTS", ())
    rendered(pedalled)
    assert f"  built-in piano, with the sustain pedal; {reason}\n" in capsys.readouterr().out


def test_comparison_without_fluidsynth_is_one_line(
    compare_piano: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audio.shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["compare_piano.py"])
    compare_piano.main()
    out = capsys.readouterr().out
    assert out.startswith("compare_piano: skipped, FluidSynth is not installed")
    assert out.count("\n") == 1
