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

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError, MissingExtra
from composer.files import user_path
from composer.music.notes import Note

Samples = NDArray[np.float32]

SAMPLE_RATE = 44_100
# Time after the last note-off, for the strings to come to rest.
RELEASE_SECONDS = 0.5
# The peak of a file: slightly below full scale, so that the filter of a player does not clip it.
PEAK = 0.89
_DAMPING_SECONDS = 0.07  # time in which a damper reduces the sound to 1/e
_ATTACK_SECONDS = 0.002
_HAMMER_PLACE = 1 / 8.3  # share of the string at which the hammer strikes; partials with a node there are silent
_PARTIALS = 36
_MAX_DECAYS = 19  # a partial is computed for this many of its decay times, until it is 80 dB down
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
    """Return the sound (L, 2) of the notes, from the start of the piece to `RELEASE_SECONDS` after the last note-off.

    Args:
        notes: at least one.
        rate: frames per second; partials above 0.45 of it are left out.

    Raises:
        ComposerError: the piece is longer than an hour, which would take gigabytes of memory.
    """
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
    return _levelled(mix)


def _levelled(samples: Samples) -> Samples:
    """Return the same sound with its peak at `PEAK`."""
    loudest = max(float(samples.max()), -float(samples.min()))
    if loudest > 0:
        samples *= np.float32(PEAK / loudest)
    return samples


def _strings(pitch: int, length: int, rate: int) -> tuple[Samples, Samples]:
    """Return two undamped sounds (length, 2) of a pitch, soft and hard; the channels are a listener's two ears."""
    frames = np.arange(length, dtype=np.float32) / np.float32(rate)
    fundamental = 440.0 * 2 ** ((pitch - 69) / 12)
    # Stiffness: low in the middle of the keyboard, higher to both ends.
    stiffness = 2.4e-4 * 2 ** ((pitch - 60) / 9) + 1.5e-4 * 2 ** ((40 - pitch) / 12)
    random = np.random.default_rng(pitch)
    soft, hard = np.zeros((2, len(frames), 2), np.float32)
    # In seconds: the lowest strings decay ten times as slowly as the highest.
    first_decay = 0.35 + 2.4 * 2 ** ((48 - pitch) / 16)
    pan = np.pi / 4 + 0.44 * np.clip((pitch - 60) / 40, -1, 1)
    left, right = np.cos(pan), np.sin(pan)
    for partial in range(1, _PARTIALS + 1):
        frequency = partial * fundamental * np.sqrt(1 + stiffness * partial**2)
        if frequency > 0.45 * rate:
            break
        place = abs(np.sin(np.pi * partial * _HAMMER_PLACE)) + 0.08
        strength = place / partial
        # At a lower velocity a felt hammer excites less of the high partials.
        softly = strength * np.exp((fundamental - frequency) / 1200)
        hardly = strength * np.exp((fundamental - frequency) / 4500)
        if hardly < 2e-4:
            break
        decay = first_decay / (1 + 0.12 * (partial - 1) + frequency / 6000)
        # Two stages of decay: the strings of a note first move in phase and lose energy fast, then out of phase.
        time = frames[: round(_MAX_DECAYS * decay * rate)]
        envelope = 0.86 * np.exp(-time / (0.4 * decay)) + 0.14 * np.exp(-time / (2.6 * decay))
        envelope *= 1 - np.exp(-time / _ATTACK_SECONDS)
        # The strings are slightly out of tune: a slow beat, different in each channel.
        turn = np.float32(2 * np.pi * frequency)
        detuned = np.float32(turn * (1 + random.normal(0, 1.5e-4)))
        phases = random.uniform(0, 2 * np.pi, 2).astype(np.float32)
        one = np.sin(turn * time + phases[0]) * envelope
        other = np.sin(detuned * time + phases[1]) * envelope
        for channel, (gain, near, far) in enumerate(((left, one, other), (right, other, one))):
            gained = np.float32(gain) * (near + np.float32(0.5) * far)
            soft[: len(time), channel] += np.float32(softly) * gained
            hard[: len(time), channel] += np.float32(hardly) * gained
    knock = _knock(pitch, len(frames), rate)
    hard += 0.12 * knock[:, None]
    soft += 0.04 * knock[:, None]
    # Equally loud over the keyboard, so that the level depends only on velocity.
    level = np.sqrt(np.mean(hard[: rate // 4] ** 2))
    return soft / level, hard / level


@cache
def _noise(rate: int) -> Samples:
    return np.random.default_rng(0).standard_normal(rate // 8).astype(np.float32)


def _knock(pitch: int, frames: int, rate: int) -> Samples:
    """Return the thud (S,) of key and hammer: low noise of a few hundredths of a second."""
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


def has_fluidsynth(soundfont: str | None) -> bool:
    """Return whether FluidSynth and a soundfont are installed."""
    return shutil.which("fluidsynth") is not None and find_soundfont(soundfont) is not None


def require_fluidsynth(soundfont: str | None) -> tuple[str, Path]:
    """Return FluidSynth's program and the soundfont.

    Raises:
        ComposerError: one is missing.
    """
    program, font = shutil.which("fluidsynth"), find_soundfont(soundfont)
    if program is None:
        raise ComposerError("synth=fluidsynth: FluidSynth is not installed (apt install fluidsynth fluid-soundfont-gm)")
    if font is None:
        missing = f"soundfont={soundfont}: no such file" if soundfont else "no soundfont in the usual places"
        raise ComposerError(f"synth=fluidsynth: {missing}; give soundfont=FILE.sf2")
    return program, font


def fluidsynth(midi: Path, seconds: float, soundfont: str | None) -> Samples:
    """Return the sound (L, 2) of a MIDI file by FluidSynth, cut or padded to `seconds`, with its peak at `PEAK`.

    Raises:
        ComposerError: FluidSynth or the soundfont is missing, or FluidSynth fails.
    """
    program, font = require_fluidsynth(soundfont)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piece.wav"
        command = [program, "-ni", "-r", str(SAMPLE_RATE), "-g", "0.5", "-F", str(path), str(font), str(midi)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.is_file():
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise ComposerError(f"synth=fluidsynth: FluidSynth failed ({reason}); use synth=builtin")
        with wave.open(str(path)) as stream:
            data = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").reshape(-1, stream.getnchannels())
    length = round(seconds * SAMPLE_RATE)
    samples = np.zeros((length, 2), np.float32)
    samples[: len(data)] = data[:length] / np.float32(32768)
    fade = min(length, round(0.05 * SAMPLE_RATE))
    samples[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return _levelled(samples)


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
