"""Compare the built-in piano with FluidSynth and a soundfont by the measured sound of single notes.

    python scripts/compare_piano.py [--soundfont FILE.sf2] [--velocities 40 80 120]

The notes A0 to A7 are held for five seconds, without reverb and chorus. The table gives, for both:

    attack    milliseconds in which the envelope rises from 10 to 90 % of its largest value
    -20 dB    seconds from the largest value until the sound is 20 dB softer; "> 5" if the note ends first
    centroid  hertz, centre of the power spectrum from 0.1 to 0.6 s
    L-R       decibels, level of the left channel less that of the right, over the first second
    loudness  LUFS (BS.1770) of the first two seconds, with the mean of A4 at velocity 80 at -20
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.music.notes import Note
from composer.render import audio
from composer.render.loudness import integrated_loudness

PITCHES = range(21, 106, 12)
REFERENCE_PITCH, REFERENCE_LUFS = 69, -20.0
HELD_SECONDS, SLOT_SECONDS = 5.0, 6.5
RATE = audio.SAMPLE_RATE


@dataclass(frozen=True)
class Measured:
    """The figures of one note; see the head of this file."""

    attack: float
    decay: float
    centroid: float
    balance: float
    loudness: float


def envelope(mono: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return the root mean square of the sound (L,) in a sliding Hann window, as (L,)."""
    window = np.hanning(round(seconds * RATE) + 2)[1:-1]
    size = 1 << (len(mono) + len(window)).bit_length()
    power = np.fft.irfft(np.fft.rfft(mono**2, size) * np.fft.rfft(window / window.sum(), size), size)
    begin = len(window) // 2
    return np.sqrt(np.maximum(power[begin : begin + len(mono)], 0))


def measure(sound: audio.Samples, pitch: int) -> Measured:
    """Return the figures of the sound (L, 2) of one note that begins at its start."""
    channels = sound.astype(np.float64)
    mono = channels.mean(axis=1)
    period = 1 / (440 * 2 ** ((pitch - 69) / 12))
    # Silence in front, so that the rise is seen whole.
    rise = envelope(np.concatenate([np.zeros(RATE // 10), mono[: RATE // 2]]), max(0.005, period))
    low, high = (int(np.argmax(rise >= share * rise.max())) for share in (0.1, 0.9))
    loud = envelope(mono, 0.05)
    top = int(loud[:RATE].argmax())
    soft = np.flatnonzero(loud[top : round(HELD_SECONDS * RATE)] < 0.1 * loud[top])
    part = mono[round(0.1 * RATE) : round(0.6 * RATE)]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    left, right = (channels[:RATE] ** 2).mean(axis=0)
    return Measured(
        1000 * (high - low) / RATE,
        soft[0] / RATE if len(soft) else np.inf,
        float((power * np.fft.rfftfreq(len(part), 1 / RATE)).sum() / power.sum()),
        float(10 * np.log10(left / right)),
        integrated_loudness(sound[: 2 * RATE], RATE),
    )


def by_builtin(notes: Sequence[tuple[int, int]]) -> list[audio.Samples]:
    """Return the sound of each (pitch, velocity) by the built-in piano."""
    return [audio.piano([Note(pitch, velocity, 0.0, HELD_SECONDS, 0.0, 1.0)]) for pitch, velocity in notes]


def by_fluidsynth(notes: Sequence[tuple[int, int]], soundfont: str | None) -> list[audio.Samples]:
    """Return the sound of each (pitch, velocity) by FluidSynth."""
    file = mido.MidiFile(type=0, ticks_per_beat=1000)
    track = file.add_track("notes")
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    for pitch, velocity in notes:
        track.append(mido.Message("note_on", note=pitch, velocity=velocity))
        track.append(mido.Message("note_off", note=pitch, time=round(1000 * HELD_SECONDS)))
        track.append(mido.MetaMessage("marker", time=round(1000 * (SLOT_SECONDS - HELD_SECONDS))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.mid"
        file.save(path)
        sound = audio.play(path, soundfont, "-R", "0", "-C", "0")
    slot = round(SLOT_SECONDS * RATE)
    return [sound[k * slot : (k + 1) * slot] for k in range(len(notes))]


def table(notes: Sequence[tuple[int, int]], columns: dict[str, list[Measured]]) -> str:
    """Return the figures of the notes as text, one note per line and the columns of each synthesiser."""
    heads = ("attack", "-20 dB", "centroid", "L-R", "loudness")
    lines = [
        " " * 9 + "".join(f"  {name:<40}" for name in columns),
        f"{'note':<5}{'vel':>4}" + "".join(" " + "".join(f"{head:>8}" for head in heads) + "  " for _ in columns),
    ]
    for k, (pitch, velocity) in enumerate(notes):
        line = f"A{(pitch - 21) // 12:<4}{velocity:>4}"
        for measured in columns.values():
            attack, decay, centroid, balance, level = astuple(measured[k])
            shown = f"{decay:.2f}" if np.isfinite(decay) else f"> {HELD_SECONDS:.0f}"
            line += f" {attack:8.1f}{shown:>8}{centroid:8.0f}{balance:+8.1f}{level:8.1f}  "
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soundfont", help="a .sf2 file; otherwise searched in the usual folders")
    parser.add_argument("--velocities", type=int, nargs="+", default=[40, 80, 120])
    given = parser.parse_args()
    if missing := audio.missing_fluidsynth(given.soundfont):
        print(f"compare_piano: skipped, {missing} (apt install fluidsynth fluid-soundfont-gm)")
        return
    notes = [(pitch, velocity) for pitch in PITCHES for velocity in given.velocities]
    sounds: dict[str, Callable[[Sequence[tuple[int, int]]], list[audio.Samples]]] = {
        "built-in": by_builtin,
        "FluidSynth": lambda chosen: by_fluidsynth(chosen, given.soundfont),
    }
    columns = {}
    for name, play in sounds.items():
        # One gain for all notes of a synthesiser.
        (reference,) = play([(REFERENCE_PITCH, 80)])
        gain = REFERENCE_LUFS - measure(reference, REFERENCE_PITCH).loudness
        scale = np.float32(10 ** (gain / 20))
        columns[name] = [measure(sound * scale, notes[k][0]) for k, sound in enumerate(play(notes))]
    print(table(notes, columns))


if __name__ == "__main__":
    main()
