"""`composer render`: sound, pictures, and the command that makes everything of a file."""

import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
import pytest

from composer import cli
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.errors import ComposerError, MissingExtra
from composer.music.events import prelude_piece
from composer.music.markings import Markings
from composer.music.midi import write_midi
from composer.music.notes import Note, Performance, from_file, from_piece
from composer.render import audio, pianoroll
from composer.render.loudness import PEAK, TARGET_LUFS, integrated_loudness
from composer.score.engrave import to_pdf

RATE = audio.SAMPLE_RATE


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def note(pitch: int, onset: float, duration: float, velocity: int = 80) -> Note:
    return Note(pitch, velocity, onset, duration, onset * 2, duration * 2)


def level(samples: audio.Samples, start: float, end: float) -> float:
    """Decibels below full scale, root mean square."""
    part = samples[round(start * RATE) : round(end * RATE)].astype(float)
    return 20 * np.log10(np.sqrt((part**2).mean()) + 1e-12)


def brightness(samples: audio.Samples, start: float, end: float) -> float:
    """The spectrum's centre in hertz."""
    part = samples[round(start * RATE) : round(end * RATE)].mean(axis=1)
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    return float((power * np.fft.rfftfreq(len(part), 1 / RATE)).sum() / power.sum())


def pitch_of(samples: audio.Samples, near: float) -> float:
    """The strongest frequency within a third of `near`, in hertz."""
    part = samples[: 2 * RATE].mean(axis=1)
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)), 8 * len(part)))
    frequencies = np.fft.rfftfreq(8 * len(part), 1 / RATE)
    within = (frequencies > near * 0.8) & (frequencies < near * 1.25)
    return float(frequencies[within][power[within].argmax()])


# The built-in piano


@pytest.mark.slow
def test_sound_is_as_long_as_the_piece_and_never_clips() -> None:
    piece = from_piece(prelude_piece(TimeUnit.seconds))
    samples = audio.synthesize(piece.notes)
    assert samples.shape == (round((piece.end_seconds + audio.RELEASE_SECONDS) * RATE), 2)
    assert np.isfinite(samples).all()
    assert float(np.abs(samples).max()) <= PEAK
    assert integrated_loudness(samples, RATE) == pytest.approx(TARGET_LUFS, abs=0.3)
    assert np.array_equal(samples, audio.synthesize(piece.notes))
    # Both channels sound, and they differ: it is stereo.
    assert level(samples[:, :1], 0, 60) == pytest.approx(level(samples[:, 1:], 0, 60), abs=4)
    assert not np.array_equal(samples[:, 0], samples[:, 1])


def check_silence(notes: Sequence[Note], samples: audio.Samples, floor: float) -> None:
    """It sounds wherever a note does, and rests where none does and none has just ended."""
    window = RATE // 20
    power = (samples[: len(samples) // window * window].astype(float) ** 2).reshape(-1, window * 2).mean(axis=1)
    loud = 10 * np.log10(power + 1e-12)
    sounding, ringing = np.zeros((2, len(loud)), bool)
    for one in notes:
        first, last = one.onset_seconds * RATE / window, one.end_seconds * RATE / window
        sounding[int(np.ceil(first)) : int(last)] = True
        ringing[int(first) : int((one.end_seconds + 0.5) * RATE / window) + 2] = True
    assert loud[sounding].min() > floor
    assert not (~ringing).any() or loud[~ringing].max() < -90


def test_silence_only_where_the_music_is_silent() -> None:
    notes = [note(60, 0.5, 1.0), note(36, 3.0, 4.0), note(100, 9.0, 0.02, 20), note(72, 9.5, 0.3, 127)]
    check_silence(notes, audio.synthesize(notes), -60)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["krebs", "Maestro_1", "Funkytown"])
def test_real_pieces_sound_wherever_notes_do(shared_data: Path, name: str) -> None:
    piece = from_file(shared_data / f"{name}.mid")
    samples = audio.synthesize(piece.notes)
    assert len(samples) == round((piece.end_seconds + audio.RELEASE_SECONDS) * RATE)
    assert np.abs(samples).max() < 0.9
    # A soft high note held for long has all but died away on any piano.
    check_silence(piece.notes, samples, -75)


@pytest.mark.parametrize("pitch", [21, 48, 60, 69, 84, 108])
def test_every_key_is_in_tune(pitch: int) -> None:
    samples = audio.synthesize([note(pitch, 0, 2.0)])
    # Above the bass the fundamental is the strongest; there the second partial tells, stretched a little.
    partial = 2 if pitch < 40 else 1
    expected = partial * 440 * 2 ** ((pitch - 69) / 12)
    assert abs(1200 * np.log2(pitch_of(samples, expected) / expected)) < 20


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_it_decays_like_a_piano(pitch: int) -> None:
    samples = audio.synthesize([note(pitch, 0, 3.0)])
    start, later, late = level(samples, 0.02, 0.12), level(samples, 0.5, 0.6), level(samples, 2.0, 2.1)
    assert start > later > late
    assert start - later > (later - late) / 3 * 0.9  # fast first, slow then
    released = audio.synthesize([note(pitch, 0, 0.5)])
    assert level(released, 0.9, 1.0) < level(released, 0.3, 0.5) - 20


def test_high_notes_decay_faster_and_hard_ones_are_brighter() -> None:
    low, high = (audio.synthesize([note(pitch, 0, 2.0)]) for pitch in (40, 88))
    assert level(high, 0.02, 0.1) - level(high, 1, 1.1) > level(low, 0.02, 0.1) - level(low, 1, 1.1) + 6
    both = audio.synthesize([note(60, 0, 1.0, 30), note(60, 2, 1.0, 110)])
    assert level(both, 2.0, 2.5) - level(both, 0.0, 0.5) > 12
    assert brightness(both, 2.02, 2.3) > 1.15 * brightness(both, 0.02, 0.3)


def test_an_endless_piece_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ComposerError, match="synth=none"):
        audio.synthesize([note(60, 0, 1), note(60, 600_000, 1)])


def test_wav_is_what_was_made() -> None:
    samples = audio.synthesize([note(60, 0, 0.5)])
    with wave.open(io.BytesIO(audio.encode(samples, "wav"))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        read = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert np.abs(read / 32767 - samples).max() < 2e-5


@needs("soundfile")
@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_other_formats_hold_the_same_sound(suffix: str) -> None:
    import soundfile

    samples = audio.synthesize([note(60, 0, 2.5), note(64, 1, 1.5)])
    read, rate = soundfile.read(io.BytesIO(audio.encode(samples, suffix)))
    assert (rate, read.shape) == (RATE, samples.shape)
    assert np.sqrt(((read - samples) ** 2).mean()) < 0.01


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match=r"audio.ogg needs soundfile: pip install 'lstm-composer\[audio\]'"):
        audio.encode(np.zeros((10, 2), np.float32), "ogg")


# FluidSynth, played by a stand-in


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called fluidsynth that writes a second of full-scale noise, and a soundfont."""
    program = tmp_path / "bin" / "fluidsynth"
    program.parent.mkdir()
    program.write_text(f"""#!{sys.executable}
import sys, wave
arguments = sys.argv[1:]
target, font, midi = arguments[arguments.index("-F") + 1], arguments[-2], arguments[-1]
assert open(midi, "rb").read(4) == b"MThd"
if open(font).read() != "font":
    sys.exit("not a soundfont")
with wave.open(target, "wb") as file:
    file.setnchannels(2), file.setsampwidth(2), file.setframerate(44100)
    file.writeframes(bytes([255, 127, 0, 128]) * 44100)
""")
    program.chmod(0o755)
    font = tmp_path / "piano.sf2"
    font.write_text("font")
    monkeypatch.setenv("PATH", str(program.parent))
    return font


def test_fluidsynth_plays_with_the_soundfont(stand_in: Path, tmp_path: Path) -> None:
    write_midi(tmp_path / "piece.mid", prelude_piece(TimeUnit.seconds))
    for seconds in (0.5, 2.0):
        samples = audio.fluidsynth(tmp_path / "piece.mid", seconds, str(stand_in))
        assert samples.shape == (round(seconds * RATE), 2)
        assert 0.1 < np.abs(samples).max() <= PEAK
    assert audio.missing_fluidsynth(str(stand_in)) == ""
    assert audio.missing_fluidsynth("none.sf2") == "soundfont=none.sf2: no such file"
    stand_in.write_text("no font")
    with pytest.raises(ComposerError, match="FluidSynth failed .not a soundfont.; use synth=builtin"):
        audio.fluidsynth(tmp_path / "piece.mid", 1, str(stand_in))


def test_fluidsynth_without_wav_is_named(stand_in: Path, tmp_path: Path) -> None:
    program = stand_in.parent / "bin" / "fluidsynth"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen(sys.argv[sys.argv.index('-F') + 1], 'wb').write(bytes(400))\n"
    )
    write_midi(tmp_path / "piece.mid", prelude_piece(TimeUnit.seconds))
    with pytest.raises(ComposerError, match="FluidSynth wrote no WAV"):
        audio.fluidsynth(tmp_path / "piece.mid", 1, str(stand_in))


@pytest.mark.slow
def test_the_real_fluidsynth_sounds_when_the_music_does(tune: Path) -> None:
    try:
        audio.require_fluidsynth(None)
    except ComposerError as error:
        pytest.skip(str(error))
    assert cli.run("render", [tune.name, "synth=fluidsynth", "output=here"]) == 0
    performance = from_file(tune)
    with wave.open("here/audio.wav") as file:
        assert file.getnframes() == round((performance.end_seconds + audio.RELEASE_SECONDS) * RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
    assert 8000 < np.abs(samples.astype(int)).max() < 32767
    for one in performance.notes:
        heard = samples[round(one.onset_seconds * RATE) :][: round(0.1 * RATE)]
        assert np.abs(heard.astype(int)).max() > 100


def test_what_fluidsynth_lacks_is_named(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ComposerError, match=r"soundfont=none.sf2: no such file"):
        audio.require_fluidsynth("none.sf2")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ComposerError, match="FluidSynth is not installed"):
        audio.require_fluidsynth(str(stand_in))


# Piano rolls


@pytest.mark.slow
@needs("matplotlib")
def test_rolls_are_drawn_under_each_other() -> None:
    one = Performance("A $x$ & <b>", (note(60, 0, 1, 1), note(64, 1, 1, 127)), Markings(), 0)
    other = from_piece(prelude_piece(TimeUnit.seconds))
    single, both = pianoroll.draw([one]), pianoroll.draw([one, other])
    assert set(both) == {"png", "svg"}
    assert both == pianoroll.draw([one, other])
    assert all(files["png"].startswith(b"\x89PNG") for files in (single, both))
    svg = both["svg"].decode()
    for text in ("A $x$ &amp; &lt;b&gt;", other.title, "seconds", "velocity", ">C4<"):
        assert text in svg
    height = [int.from_bytes(files["png"][20:24], "big") for files in (single, both)]
    assert height[1] > 1.7 * height[0]


@needs("matplotlib")
def test_each_note_has_the_colour_of_its_velocity() -> None:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    notes = (note(60, 0, 1, 1), note(64, 1, 1, 64), note(67, 2, 1, 127), note(72, 3, 1, 64))
    svg = pianoroll.draw([Performance("A tune", notes, Markings(), 0)])["svg"].decode()
    (drawn,) = re.findall(r'<g id="PolyCollection_1">(.*?)</g>\s*<g', svg, re.DOTALL)
    fills = re.findall(r"fill: (#[0-9a-f]{6})", drawn)
    shade = colormaps[pianoroll._COLOURS]
    steps = [int((velocity - 1) / 126 * 256) for velocity in (1, 64, 127, 64)]
    places = [pianoroll._PALEST + (1 - pianoroll._PALEST) * min(step, 255) / 255 for step in steps]
    assert fills == [to_hex(shade(place)) for place in places]


@needs("matplotlib")
def test_velocity_gets_darker_evenly() -> None:
    """Also in grey: each velocity is darker than the one before."""
    from matplotlib import colormaps

    steps = [pianoroll._PALEST + (1 - pianoroll._PALEST) * k / 126 for k in range(127)]
    grey = colormaps[pianoroll._COLOURS](steps)[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) < 0).all()
    assert grey[0] < 0.8


def test_notes_have_names() -> None:
    assert [pianoroll.note_name(pitch) for pitch in (21, 60, 66, 108)] == ["A0", "C4", "F♯4", "C8"]


# The command


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a tune=1's.mid"
    piece = prelude_piece(TimeUnit.seconds)
    write_midi(path, type(piece)(piece.name, piece.events[:120], piece.timing, 0))
    return path


@pytest.mark.slow
def test_notes_of_other_parts_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = mido.MidiFile(type=1)
    for pitch in (72, 48):
        track = file.add_track()
        for k in range(8):
            track.append(mido.Message("note_on", note=pitch + k, velocity=64))
            track.append(mido.Message("note_on", note=pitch + k, velocity=0, time=240))
    file.save(tmp_path / "two.mid")
    asked = [str(tmp_path / "two.mid"), f"output={tmp_path / 'made'}", "synth=none"]
    assert cli.run("render", [*asked, "data.part=first"]) == 0
    assert "left out   8 notes of other parts (data.part=all reads all parts)\n" in capsys.readouterr().out
    assert cli.run("render", asked) == 0
    assert "left out" not in capsys.readouterr().out


def has_cairo() -> bool:
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


@pytest.mark.slow
def test_render_makes_everything_of_a_file(tune: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(tune, "other.mid")
    assert cli.run("render", [tune.name, "key=G", "title=A tune", "original=other.mid"]) == 0
    out, err = capsys.readouterr()
    (folder,) = Path("outputs", "render").iterdir()
    names = {path.name for path in folder.iterdir()}
    expected = {"score.musicxml", "notes.json", "player.html", "audio.wav"}
    for package, files in (
        ("verovio", {"score-001.svg"}),
        ("matplotlib", {"pianoroll.png", "pianoroll.svg"}),
    ):
        if importlib.util.find_spec(package) is None:
            assert package in err
        else:
            expected |= files
    if importlib.util.find_spec("verovio") is not None and has_cairo():
        expected.add("score.pdf")
        assert (folder / "score.pdf").read_bytes().startswith(b"%PDF")
    assert names == expected
    if "pianoroll.svg" in names:
        # The original above the piece.
        roll = (folder / "pianoroll.svg").read_text()
        assert 0 < roll.index(">J. S. Bach: Prelude in C major, BWV 846<") < roll.index(">A tune<")
    assert out.startswith(f"score      {folder}/score.musicxml  G major, 4/4, ")
    assert "onsets moved 0.0 ms on average" in out
    assert "<work-title>A tune<" in (folder / "score.musicxml").read_text()
    notes = json.loads((folder / "notes.json").read_text())
    assert notes["title"] == "A tune"
    assert len(notes["notes"]) == len(from_file(tune).notes)
    # Nothing else is left, and pages of a longer score go.
    assert {path.name for path in tune.parent.iterdir()} == {tune.name, "other.mid", "outputs"}
    (folder / "score-009.svg").write_text("old")
    assert cli.run("render", [tune.name, "synth=none"]) == 0
    assert not (folder / "score-009.svg").exists()


def test_missing_packages_cost_a_line_each(
    tune: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("verovio", "cairosvg", "matplotlib", "soundfile"):
        monkeypatch.setitem(sys.modules, package, None)
    assert cli.run("render", [tune.name, "output=here", "sound=flac"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "left out: pages of the score need verovio: pip install 'lstm-composer[score]'",
        "left out: the piano roll needs matplotlib: pip install matplotlib",
        "left out: audio.flac needs soundfile: pip install 'lstm-composer[audio]'",
    ]
    assert {path.name for path in Path("here").iterdir()} == {"score.musicxml", "notes.json", "player.html"}


@pytest.mark.slow
def test_fluidsynth_hears_only_the_part(tune: Path, stand_in: Path) -> None:
    arguments = ["synth=fluidsynth", f"soundfont={stand_in}", "output=here"]
    assert cli.run("render", [tune.name, *arguments]) == 0
    with wave.open("here/audio.wav") as file:
        expected = from_file(tune).end_seconds + audio.RELEASE_SECONDS
        assert file.getnframes() == round(expected * RATE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none.mid"], "none.mid: not found"),
        ([], "file is missing: add file=VALUE"),
        (["TUNE", "meter=5"], "meter=5: must be a time signature such as 4/4, 3/4 or 6/8"),
        (["TUNE", "key=H"], "key=H: must be a key such as C, F#, Bb, or with m for minor: Am, F#m"),
        (["TUNE", "original=none.mid"], "none.mid: not found"),
        (["TUNE", "synth=fluidsynth", "soundfont=none.sf2"], None),
        (["TUNE", "kye=C"], "kye=C: there is no key kye; did you mean key?"),
    ],
)
def test_mistakes_cost_a_line_and_leave_nothing(
    arguments: list[str], line: str | None, tune: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run("render", [tune.name if a == "TUNE" else a for a in arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert line is None or err == f"composer render: {line}\n"
    assert [path.name for path in tune.parent.iterdir()] == [tune.name]


NAMES = ["a.mid", "a b.mid", "it's.mid", "k=v.mid", "back\\slash.mid", "q\\'.mid", "ü,[x].mid", "{x}:$.mid", "end\\"]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_can_be_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert compose(*cli.file_first([name], "render"), command="render").file == name


@pytest.mark.slow
def test_rendering_does_not_wait_for_torch(tune: Path) -> None:
    code = (
        "import sys; from composer import cli; status = cli.run('render', sys.argv[1:]); "
        "print(sorted({'torch', 'pytorch_lightning', 'tensorboard', 'music21'} & set(sys.modules))); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, tune.name, "synth=none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@needs("cairosvg")
def test_pages_become_one_document() -> None:
    page = '<svg xmlns="http://www.w3.org/2000/svg" width="840px" height="1188px"><path d="M0 0h9v9z"/></svg>'
    document = to_pdf([page, page, page])
    assert document.startswith(b"%PDF")
    assert document.count(b"/MediaBox") == 3
    assert b"/MediaBox [ 0 0 595" in document
