"""Compare the notes that composer reads from MIDI files with those of symusic and pretty_midi.

    pip install symusic pretty_midi
    python scripts/compare_readers.py FOLDER [FOLDER ...]

All parts and drums are read. For each file the notes by pitch, and the onsets in seconds, are compared: alike means the
same number of notes of each pitch, with onsets within 2 ms. The differences are listed by what they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.config.data import TimeUnit
from composer.errors import MidiError
from composer.music.midi import MIDI_SUFFIXES, read_piece

# Onsets in seconds by pitch, rising.
Notes = dict[int, list[float]]
NEAR_SECONDS = 0.002


def by_composer(path: Path) -> Notes:
    """Return the notes that composer reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = read_piece(path, part="all", drums=True, time_unit=TimeUnit.seconds).events
    found, now = defaultdict(list), 0.0
    for pitch, velocity, delta in zip(
        events.pitch.tolist(), events.velocity.tolist(), events.delta_time.tolist(), strict=True
    ):
        now += delta
        if velocity:
            found[pitch].append(now)
    return dict(found)


def by_symusic(path: Path) -> Notes:
    """Return the notes that symusic reads."""
    import symusic

    score: Any = symusic.Score(str(path)).to("second")  # type: ignore[attr-defined]
    return _gathered((note.pitch, note.start) for track in score.tracks for note in track.notes)


def by_pretty_midi(path: Path) -> Notes:
    """Return the notes that pretty_midi reads."""
    import pretty_midi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = pretty_midi.PrettyMIDI(str(path))
    return _gathered((note.pitch, note.start) for instrument in file.instruments for note in instrument.notes)


def _gathered(notes: Any) -> Notes:
    found = defaultdict(list)
    for pitch, start in notes:
        found[int(pitch)].append(float(start))
    return {pitch: sorted(starts) for pitch, starts in found.items()}


def difference(ours: Notes, theirs: Notes) -> str:
    """Return what differs between two readings of a file; empty where nothing does."""
    counts = {pitch: len(theirs.get(pitch, [])) - len(ours.get(pitch, [])) for pitch in {**ours, **theirs}}
    more, fewer = sum(max(n, 0) for n in counts.values()), sum(max(-n, 0) for n in counts.values())
    if more and fewer:
        return "other notes"
    if more:
        # Two parts that strike one pitch at one moment are one note of the instrument that plays them all.
        repeated = sum(_repeated(theirs.get(pitch, [])) for pitch in counts)
        return "they: two notes of a pitch at one moment" if more <= repeated else "they: more notes"
    if fewer:
        return "they: fewer notes"
    far = max((abs(a - b) for p in ours for a, b in zip(ours[p], theirs[p], strict=True)), default=0.0)
    return "other onsets" if far > NEAR_SECONDS else ""


def _repeated(starts: list[float]) -> int:
    return sum(later - earlier < 1e-6 for earlier, later in zip(starts, starts[1:], strict=False))


def _read(reader: Callable[[Path], Notes], path: Path) -> Notes | str:
    """Return the notes, or why there are none."""
    try:
        return reader(path)
    except MidiError as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception as error:  # the others raise many kinds
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def main() -> None:
    """Compare the files of the folders that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", action="store_true", help="list the files that differ")
    given = parser.parse_args()
    readers = {"symusic": by_symusic, "pretty_midi": by_pretty_midi}
    missing = [name for name in readers if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"compare_readers: needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    paths = sorted(p for folder in given.folders for p in folder.rglob("*") if p.suffix.lower() in MIDI_SUFFIXES)
    for name, reader in readers.items():
        tally: Counter[str] = Counter()
        for path in paths:
            ours, theirs = _read(by_composer, path), _read(reader, path)
            if isinstance(ours, str) and isinstance(theirs, str):
                kind = "neither reads it"
            elif isinstance(ours, str):
                empty = ours.startswith("no notes") and not theirs
                kind = "alike" if empty else "composer alone refuses it"
            elif isinstance(theirs, str):
                kind = f"{name} alone refuses it"
            else:
                kind = difference(ours, theirs) or "alike"
            tally[kind] += 1
            if given.files and kind != "alike":
                print(f"{name}: {path}: {kind}" + (f" ({ours})" if isinstance(ours, str) else ""))
        print(f"{name}: {len(paths)} files: " + ", ".join(f"{count} {kind}" for kind, count in tally.most_common()))


if __name__ == "__main__":
    main()
