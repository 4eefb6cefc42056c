"""MidiTok's tokens of pieces for benchmarks/peer.py, and how much of the music they lose.

    L = tokens of a piece with BOS, N = notes of a piece

Beats are quarter notes: those of the file for scores; for performances half seconds, as if at 120 beats per minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.config.data import TimeUnit
from composer.music.notes import NoteArrays

# Beats per second of the tempo that performances are tokenized at.
BEATS_PER_SECOND = 2.0
# Ticks per beat before MidiTok quantizes: a tick of a performance is 0.05 ms.
TICKS = 9600
# Positions per beat of scores: the first that represents all onsets and durations is taken.
GRIDS = (4, 8, 12, 16, 24, 48, 96)
# The longest duration token of scores, in beats.
MAX_BEATS = 32
# The tokens that begin a note in REMI and in MIDI-Like.
ONSETS = ("Pitch_", "NoteOn_")


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedPiece:
    """A piece: name of its file, notes of the file, tokens (L,) from BOS on, and `train`, `validation` or `test`."""

    name: str
    notes: NoteArrays
    ids: Tensor
    part: str


def beats_of(notes: NoteArrays, unit: TimeUnit) -> tuple[Any, Any]:
    """Return onsets and durations (N,) in the quarter notes that MidiTok counts."""
    if unit is TimeUnit.beats:
        return notes.onset_beats, notes.duration_beats
    return notes.onset_seconds * BEATS_PER_SECOND, notes.duration_seconds * BEATS_PER_SECOND


def make_tokenizer(kind: str, pieces: Sequence[NoteArrays], unit: TimeUnit, positions: int) -> Any:
    """Return a tokenizer, `remi` or `midilike`, that loses little of the pieces.

    Scores (in beats) get the coarsest exact grid, performances `positions` per quarter note and coarser long durations.
    Velocities are left out where there is only one.
    """
    import miditok

    times = np.concatenate([np.concatenate(beats_of(notes, unit)) for notes in pieces])
    if unit is TimeUnit.beats:
        exact = (grid for grid in GRIDS if np.abs(times * grid - np.round(times * grid)).max() < 1e-3)
        longest = max(float(beats_of(notes, unit)[1].max()) for notes in pieces)
        beat_res = {(0, min(max(math.ceil(longest), 4), MAX_BEATS)): next(exact, GRIDS[-1])}
    else:
        beat_res = {(0, 4): positions, (4, 12): max(positions // 4, 1), (12, 32): max(positions // 16, 1)}
    config = miditok.TokenizerConfig(
        pitch_range=(0, 127),
        beat_res=beat_res,
        num_velocities=32,
        special_tokens=["PAD", "BOS"],
        use_velocities=len(np.unique(np.concatenate([notes.velocity for notes in pieces]))) > 1,
        use_time_signatures=False,
        use_pitchdrum_tokens=False,
    )
    return {"remi": miditok.REMI, "midilike": miditok.MIDILike}[kind](config)


def encode(tokenizer: Any, notes: NoteArrays, unit: TimeUnit) -> Tensor:
    """Return the tokens (L,) of a piece, BOS first."""
    # Any: the stubs of symusic name no attributes.
    symusic: Any = import_module("symusic")
    onset, duration = (np.round(times * TICKS).astype(np.int32) for times in beats_of(notes, unit))
    velocity, pitch = (values.astype(np.int8) for values in (notes.velocity, notes.pitch))
    score, track = symusic.Score(TICKS), symusic.Track(program=0)
    track.notes = symusic.Note.from_numpy(onset, np.maximum(duration, 1), pitch, velocity)
    score.tracks.append(track)
    return torch.tensor([tokenizer["BOS_None"], *tokenizer.encode(score)[0].ids])


def decode(tokenizer: Any, ids: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return the notes of tokens by onset and pitch: (N,) `onset` and `duration` in beats, `pitch` and `velocity`."""
    score = tokenizer.decode([[token for token in ids.tolist() if token != tokenizer["BOS_None"]]])
    found = (
        score.tracks[0].notes.numpy()
        if score.tracks
        else dict.fromkeys(("time", "duration", "pitch", "velocity"), np.empty(0))
    )
    order = np.lexsort((found["pitch"], found["time"]))
    times = {"onset": found["time"][order] / score.tpq, "duration": found["duration"][order] / score.tpq}
    return times | {key: found[key][order].astype(np.float64) for key in ("pitch", "velocity")}


def measure_representation(tokenizer: Any, pieces: Sequence[TokenizedPiece], unit: TimeUnit) -> dict[str, float]:
    """Compare the notes of files with the nearest decoded note of the same pitch.

    Returns:
        Mean absolute errors: `onset_error_ms` and `duration_error_ms` in milliseconds, and `velocity_error`, which is
        not measured where the music has a single velocity; `notes_lost`, the share of notes that are not decoded.
    """
    errors, lost, total = [], 0, 0
    for piece in pieces:
        decoded, notes = decode(tokenizer, piece.ids), piece.notes
        onset, duration = beats_of(notes, unit)
        # Milliseconds per quarter note: the mean tempo of the piece.
        beat = 1000 * float(np.ptp(notes.onset_seconds)) / max(float(np.ptp(onset)), 1e-9)
        for pitch in np.unique(notes.pitch):
            ours, theirs = np.flatnonzero(notes.pitch == pitch), np.flatnonzero(decoded["pitch"] == pitch)
            total, lost = total + len(ours), lost + max(len(ours) - len(theirs), 0)
            if len(theirs):
                nearest = theirs[np.abs(decoded["onset"][theirs][:, None] - onset[ours]).argmin(0)]
                late, longer = decoded["onset"][nearest] - onset[ours], decoded["duration"][nearest] - duration[ours]
                louder = (decoded["velocity"][nearest] - notes.velocity[ours]) * tokenizer.config.use_velocities
                errors.append(np.abs(np.stack([late * beat, longer * beat, louder])))
    names = ("onset_error_ms", "duration_error_ms", "velocity_error")
    return dict(zip(names, np.concatenate(errors, 1).mean(1).tolist(), strict=True)) | {"notes_lost": lost / total}


def onset_tokens(tokenizer: Any) -> Tensor:
    """Return the tokens that begin a note."""
    return torch.tensor([number for name, number in tokenizer.vocab.items() if name.startswith(ONSETS)])


def release_notes(tokenizer: Any, ids: Tensor) -> Tensor:
    """Return MIDI-Like tokens, and after a beat a note-off for every note-on.

    MidiTok leaves out notes without a note-off, and ignores note-offs of pitches that do not sound.
    """
    beat = next(token for name, token in tokenizer.vocab.items() if name.startswith("TimeShift_1.0."))
    ons = {token: name for name, token in tokenizer.vocab.items() if name.startswith("NoteOn_")}
    offs = [tokenizer[ons[token].replace("NoteOn", "NoteOff")] for token in ids.tolist() if token in ons]
    return torch.tensor([*ids.tolist(), beat, *offs])
