"""Audio synthesis: WAV from notes, with a small built-in piano or with FluidSynth where that is installed.

The piano is additive synthesis in NumPy, so that it needs no other program. Its model follows N. Fletcher and T.
Rossing, The Physics of Musical Instruments, 2nd edition, 1998, chapter 12: stiff strings with stretched partials, two
stages of decay, a faster decay of high notes, and a hammer whose sound is brighter at a higher velocity.

L = frames of a piece, 2 channels
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError, MissingExtra
from composer.files import user_path
from composer.music.midi import DRUM_CHANNEL, PlayedPart, encode_midi
from composer.music.notes import Note
from composer.render.loudness import normalize

Samples = NDArray[np.float32]

SAMPLE_RATE = 44_100
# Time after the last note-off, for the strings to come to rest.
RELEASE_SECONDS = 0.5
_DAMPING_SECONDS = 0.07  # time in which a damper reduces the sound to 1/e
_ATTACK_SECONDS = 0.003  # of middle C, to 1 - 1/e; half as long two octaves higher
_HAMMER_PLACE = 1 / 8.3  # share of the string at which the hammer strikes; partials with a node there are silent
_PARTIALS = 60
_MIN_STRENGTH = 2e-4  # of the weakest partial, for a fundamental of 1
# Hertz above the fundamental at which a soft and a hard stroke excite partials 1/e as much.
_SOFT_HERTZ, _HARD_HERTZ = 1000, 4500
_SOUNDBOARD_HERTZ = 75
_PAN_RADIANS = 0.225  # from the middle to either end of the keyboard: 4 dB between the channels
_TREBLE_DB, _BASS_DB = 4, 2  # by which the highest and the lowest notes are softer than middle C
_BLOCK, _BLOCKS_PER_PART = 512, 32
# Shortest duration of a note's sound, so that it is audible.
_MIN_NOTE_SECONDS = 0.06
_MAX_ENCODED_FRAMES = SAMPLE_RATE  # frames passed to the encoder at a time
_MAX_SECONDS = 3600
_SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/soundfonts/default.sf2",
    "/opt/homebrew/share/soundfonts/default.sf2",
)


def synthesize(notes: Sequence[Note], rate: int = SAMPLE_RATE) -> Samples:
    """Return the sound (L, 2) of the notes on the built-in piano, at `loudness.TARGET_LUFS` and within `PEAK`.

    It begins with the piece, and ends `RELEASE_SECONDS` after the last note-off.

    Args:
        notes: at least one.
        rate: frames per second; partials above 0.45 of it are left out.

    Raises:
        ComposerError: the piece is longer than an hour, which would take gigabytes of memory.
    """
    return normalize(piano(notes, rate), rate)


def piano(notes: Sequence[Note], rate: int = SAMPLE_RATE) -> Samples:
    """Return the sound (L, 2) of the built-in piano before it is normalised; see `synthesize`."""
    end = max(note.end_seconds for note in notes)
    if end > _MAX_SECONDS:
        raise ComposerError(f"lasts {end:,.0f} s; sound is made for up to {_MAX_SECONDS:,} s; use synth=none")
    mix = np.zeros((round((end + RELEASE_SECONDS) * rate), 2), np.float32)
    longest: dict[int, float] = {}
    for note in notes:
        longest[note.pitch] = max(longest.get(note.pitch, 0.0), note.duration_seconds, _MIN_NOTE_SECONDS)
    fade = np.exp(-np.arange(round(RELEASE_SECONDS * rate)) / (_DAMPING_SECONDS * rate))
    # To zero at the end, without a step.
    fade = (fade * np.linspace(1, 0, len(fade))).astype(np.float32)[:, None]
    for pitch in sorted(longest):
        soft, hard = _strings(pitch, round(longest[pitch] * rate) + len(fade), rate)
        for note in notes:
            if note.pitch != pitch:
                continue
            start = round(note.onset_seconds * rate)
            held = round(max(note.duration_seconds, _MIN_NOTE_SECONDS) * rate)
            stop = min(held + len(fade), len(mix) - start)
            force = note.velocity / 127
            # The amplitude grows as the square of the velocity, and the tone gets brighter.
            tone = (force**2 * (1 - force)) * soft[:stop] + force**3 * hard[:stop]
            tone[held:] *= fade[: max(stop - held, 0)]
            mix[start : start + stop] += tone
    return mix


def _strings(pitch: int, length: int, rate: int) -> tuple[Samples, Samples]:
    """Return two undamped sounds (length, 2) of a pitch, soft and hard; the channels are a listener's two ears."""
    fundamental = 440.0 * 2 ** ((pitch - 69) / 12)
    # Stiffness: low in the middle of the keyboard, higher to both ends.
    stiffness = 2.4e-4 * 2 ** ((pitch - 60) / 9) + 1.5e-4 * 2 ** ((40 - pitch) / 12)
    number = np.arange(1, _PARTIALS + 1)
    frequency = number * fundamental * np.sqrt(1 + stiffness * number**2)
    above = frequency - fundamental
    audible = (frequency < 0.45 * rate) & (np.exp(-above / _HARD_HERTZ) / number > _MIN_STRENGTH)
    number, frequency, above = number[audible], frequency[audible], above[audible]
    strength = (np.abs(np.sin(np.pi * number * _HAMMER_PLACE)) + 0.08) / number
    # The soundboard hardly radiates below its first resonances.
    strength /= np.sqrt(1 + (_SOUNDBOARD_HERTZ / frequency) ** 4)
    # At a lower velocity a felt hammer excites less of the high partials.
    strengths = strength * np.exp(-above / np.array([[_SOFT_HERTZ], [_HARD_HERTZ]]))
    # In seconds: the lowest strings decay ten times as slowly as the highest.
    decay = (0.15 + 1.9 * 2 ** ((48 - pitch) / 16)) / (1 + 0.12 * (number - 1) + frequency / 6000)
    random = np.random.default_rng(pitch)
    # The strings are slightly out of tune: a slow beat, different in each channel. The hammer moves them together.
    detuned = frequency * (1 + random.normal(0, 1.5e-4, len(number)))
    phase = random.uniform(0, 2 * np.pi, len(number)) + random.uniform(-0.5, 0.5, (2, len(number)))
    near, far = np.exp(1j * phase)
    pan = np.pi / 4 + _PAN_RADIANS * np.clip((pitch - 60) / 40, -1, 1)
    left = np.concatenate([near, 0.5 * far]) * np.cos(pan)
    right = np.concatenate([0.5 * near, far]) * np.sin(pan)
    # Two stages of decay: the strings of a note first move in phase and lose energy fast, then out of phase.
    turn = 2j * np.pi * np.concatenate([frequency, detuned])
    rates = np.concatenate([turn - 1 / np.tile(0.4 * decay, 2), turn - 1 / np.tile(2.6 * decay, 2)])
    shares = np.repeat([0.86, 0.14], 2 * len(number))
    outputs = np.stack(
        [np.tile(np.tile(one, 2) * channel, 2) * shares for one in strengths for channel in (left, right)]
    )
    sound = _exponentials(outputs, rates, length, rate)
    attack = _ATTACK_SECONDS * 2 ** ((60 - pitch) / 24)
    sound *= (1 - np.exp(-np.arange(length) / (attack * rate))).astype(np.float32)
    sound += np.repeat([0.04, 0.12], 2).astype(np.float32)[:, None] * _knock(pitch, length, rate)
    soft, hard = sound[:2].T, sound[2:].T
    # About equally loud over the keyboard, so that the level depends on velocity: high notes, which the ear hears
    # better, and low notes, which last, are softer.
    softer = _TREBLE_DB * max(pitch - 60, 0) / 48 + _BASS_DB * max(60 - pitch, 0) / 39
    level = np.sqrt(np.mean(hard[: rate // 4] ** 2)) * 10 ** (softer / 20)
    return soft / level, hard / level


def _exponentials(outputs: NDArray[np.complex128], rates: NDArray[np.complex128], length: int, rate: int) -> Samples:
    """Return sums of decaying oscillations, (outputs, length): the imaginary part of `outputs @ exp(rates * time)`.

    exp(r (t + u)) = exp(r t) exp(r u) makes a product of matrices of the blocks' starts t and the times u within a
    block, which takes a tenth of the time of a sine per frame.

    Args:
        outputs: (outputs, K) complex amplitudes.
        rates: (K,) per second; the real parts are negative.
        length: in frames.
        rate: frames per second.
    """
    within = np.exp(rates[:, None] * (np.arange(_BLOCK) / rate))
    within = np.concatenate([within.imag, within.real]).astype(np.float32)
    sound = np.zeros((len(outputs), -(-length // _BLOCK) * _BLOCK), np.float32)
    loudest = np.abs(outputs).max(axis=0)
    part = _BLOCKS_PER_PART * _BLOCK
    for start in range(0, length, part):
        # Oscillations that are 80 dB down are left out.
        live = loudest * np.exp(rates.real * start / rate) > 1e-4 * loudest.max()
        if not live.any():
            break
        stop = min(start + part, sound.shape[1])
        begins = np.exp(rates[live] * (np.arange(start, stop, _BLOCK)[:, None] / rate))
        scaled = outputs[:, None, live] * begins
        made = np.concatenate([scaled.real, scaled.imag], axis=2).astype(np.float32) @ within[np.tile(live, 2)]
        sound[:, start:stop] = made.reshape(len(outputs), -1)
    return sound[:, :length]


@cache
def _noise(rate: int) -> Samples:
    return np.random.default_rng(0).standard_normal(rate // 8).astype(np.float32)


def _knock(pitch: int, frames: int, rate: int) -> Samples:
    """Return the thud (frames,) of key and hammer: low noise of a few hundredths of a second."""
    noise = _noise(rate)
    width = round(64 * rate / SAMPLE_RATE)
    smooth = np.convolve(noise, np.hanning(width) / (width / 4), mode="same")
    sound = np.zeros(frames, np.float32)
    length = min(frames, len(smooth))
    sound[:length] = (smooth * np.exp(-np.arange(len(smooth)) / (0.012 * rate)))[:length]
    return sound * np.float32(0.6 + 0.4 * pitch / 127)


def find_soundfont(given: str | None) -> Path | None:
    """Return the given soundfont, or the first one in the usual places."""
    places = [given] if given is not None else _SOUNDFONTS
    return next((user_path(place) for place in places if user_path(place).is_file()), None)


def missing_fluidsynth(soundfont: str | None) -> str:
    """Return what FluidSynth lacks, in words; empty if it and a soundfont are installed."""
    if shutil.which("fluidsynth") is None:
        return "FluidSynth is not installed"
    if find_soundfont(soundfont) is None:
        return f"soundfont={soundfont}: no such file" if soundfont else "no soundfont in the usual places"
    return ""


def require_fluidsynth(soundfont: str | None) -> tuple[str, Path]:
    """Return FluidSynth's program and the soundfont.

    Raises:
        ComposerError: one is missing.
    """
    program, font = shutil.which("fluidsynth"), find_soundfont(soundfont)
    if program is None or font is None:
        remedy = "give soundfont=FILE.sf2" if program else "apt install fluidsynth fluid-soundfont-gm"
        raise ComposerError(f"synth=fluidsynth: {missing_fluidsynth(soundfont)}; {remedy}")
    return program, font


def fluidsynth(midi: Path, seconds: float, soundfont: str | None) -> Samples:
    """Return the sound (L, 2) of a MIDI file by FluidSynth, cut or padded to `seconds`.

    Its loudness is `loudness.TARGET_LUFS`, and it stays within `PEAK`.

    Raises:
        ComposerError: FluidSynth or the soundfont is missing, or FluidSynth fails.
    """
    data = play(midi, soundfont)
    length = round(seconds * SAMPLE_RATE)
    samples = np.zeros((length, 2), np.float32)
    samples[: len(data)] = data[:length]
    fade = min(length, round(0.05 * SAMPLE_RATE))
    samples[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return normalize(samples, SAMPLE_RATE)


def write_parts(path: Path, parts: Sequence[PlayedPart]) -> None:
    """Write a MIDI file of type 1 that plays each part with its own program, on a channel of its own.

    Parts of the drum channel stay on it. From the sixteenth other part on, channels are used again.
    """
    others = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    file = mido.MidiFile(type=1)
    for number, part in enumerate(parts):
        written = mido.MidiFile(file=io.BytesIO(encode_midi(part.piece)))
        channel = DRUM_CHANNEL if part.channel == DRUM_CHANNEL else others[number % len(others)]
        file.ticks_per_beat = written.ticks_per_beat
        file.tracks.append(mido.MidiTrack(m if m.is_meta else m.copy(channel=channel) for m in written.tracks[0]))
    file.save(path)


def play(midi: Path, soundfont: str | None, *options: str) -> Samples:
    """Return the sound (L, 2) of a MIDI file as FluidSynth makes it, with options of its command line.

    Raises:
        ComposerError: FluidSynth or the soundfont is missing, or FluidSynth fails.
    """
    program, font = require_fluidsynth(soundfont)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piece.wav"
        # A low gain, so that full orchestras do not clip, and 24 bits, so that soft pieces keep their resolution.
        form = ["-r", str(SAMPLE_RATE), "-g", "0.2", "-O", "s24", *options]
        command = [program, "-ni", *form, "-F", str(path), str(font), str(midi)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.is_file():
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise ComposerError(f"synth=fluidsynth: FluidSynth failed ({reason}); use synth=builtin")
        try:
            with wave.open(str(path)) as stream:
                data = np.frombuffer(stream.readframes(stream.getnframes()), np.uint8)
                data = data.reshape(-1, stream.getnchannels(), stream.getsampwidth())
        except (wave.Error, EOFError) as error:  # without libsndfile it writes bare samples
            raise ComposerError(f"synth=fluidsynth: FluidSynth wrote no WAV ({error}); use synth=builtin") from error
    # The two highest bytes with their sign, and the lowest of 24 bits.
    samples = np.ascontiguousarray(data[..., -2:]).view("<i2")[..., 0].astype(np.float32)
    if data.shape[2] == 3:
        samples += data[..., 0] / np.float32(256)
    return samples / np.float32(32768)


def encode(samples: Samples, suffix: str) -> bytes:
    """Return the bytes of a sound file with 16 bits per sample.

    Args:
        samples: (L, 2) within -1 and 1.
        suffix: `wav`, or with the package soundfile `flac` or `ogg`.

    Raises:
        MissingExtra: soundfile is needed and not installed.
    """
    stream = io.BytesIO()
    if suffix == "wav":
        with wave.open(stream, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            for start in range(0, len(samples), _MAX_ENCODED_FRAMES):
                file.writeframes(np.rint(samples[start : start + _MAX_ENCODED_FRAMES] * 32767).astype("<i2").tobytes())
        return stream.getvalue()
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise MissingExtra(f"audio.{suffix} needs soundfile: pip install 'lstm-composer[audio]'") from error
    with soundfile.SoundFile(stream, "w", SAMPLE_RATE, 2, format=suffix.upper()) as file:
        # In parts: libsndfile's Vorbis encoder overflows its stack with minutes of sound in one call.
        for start in range(0, len(samples), _MAX_ENCODED_FRAMES):
            file.write(samples[start : start + _MAX_ENCODED_FRAMES])
    return stream.getvalue()
