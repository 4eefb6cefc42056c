"""Made-up music for the drills."""

from __future__ import annotations

import random
from pathlib import Path

import mido


def piece(path: Path, seed: int, notes: int = 60) -> None:
    """Write a small piece that is a function of the seed."""
    rng = random.Random(seed)
    file = mido.MidiFile(type=0, ticks_per_beat=96)
    track = file.add_track()
    for _ in range(notes):
        pitch = rng.randrange(40, 90)
        track.append(mido.Message("note_on", note=pitch, velocity=rng.randrange(30, 100), time=rng.choice((0, 24, 48))))
        track.append(mido.Message("note_off", note=pitch, time=24))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def write_pieces(folder: Path, count: int) -> None:
    """Write several pieces."""
    for number in range(count):
        piece(folder / f"{number:05d}.mid", number)
