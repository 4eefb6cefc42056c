"""Write `composer/corpus/jsb_chorales.csv`: which score in music21 has the chords of each of the JSB chorales.

    python scripts/match_jsb_chorales.py jsb-chorales-quarter.json

The argument has the piano rolls of Boulanger-Lewandowski et al. 2012 as JSON, as in the public repository
czhuang/JSB-Chorales-dataset: lists of frames, each a list of MIDI pitches, under `train`, `valid` and `test`.

Two pieces are compared by the successions of three frames, transposed so that each begins on the same pitch, that both
have, as a share of all that they have (Dice's coefficient). Of all pairs the most similar are matched first; every
piece and every score once.
"""

import csv
import io
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from music21 import corpus

from composer.corpus import chorales, jsb_chorales
from composer.errors import ComposerError
from composer.files import write_text

# The first frame and the distance of frames, in ticks of 480 a quarter note, that are tried.
GRIDS = ((0, 480), (240, 480), (0, 960), (480, 960), (0, 240), (120, 240))
FRAMES = 3
# The least similarity of a match: below it no pair shares more than a cadence.
LEAST = 0.25
PARTS = {"train": "train", "valid": "validation", "test": "test"}

Roll = list[frozenset[int]]
# Three frames, each as semitones from the lowest pitch of the first.
Triple = tuple[tuple[int, ...], ...]
# A part and a number in it; a score and its first frame and step.
Place = tuple[str, int]
Key = tuple[str, tuple[int, int]]
Match = tuple[Key, float]


def main() -> None:
    """Match, and write the manifest."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    published = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rolls = {
        (part, number): [frozenset(int(pitch) for pitch in frame) for frame in piece]
        for part, pieces in published.items()
        for number, piece in enumerate(pieces)
    }
    scores = read_scores()
    keys = {(work, grid): jsb_chorales.frames(notes, *grid) for work, notes in scores.items() for grid in GRIDS}
    found = sorted(match(rolls, keys).items())
    lines: list[list[Any]] = [row(place, key, share, rolls, keys) for place, (key, share) in found]
    lines.sort(key=lambda line: (list(PARTS.values()).index(line[2]), line[3]))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["midi_filename", "work", "split", "number", "start", "step", "transpose", "shared", "sha256"])
    writer.writerows(lines)
    write_text(jsb_chorales.MANIFEST, stream.getvalue())
    counts = Counter(line[2] for line in lines)
    print(", ".join(f"{part} {counts[PARTS[part]]} of {len(pieces)}" for part, pieces in published.items()))


def read_scores() -> dict[str, list[chorales.Note]]:
    """Return the notes of every score of Bach's in music21 with four voices."""
    found = {}
    names = sorted({Path(path).stem for path in corpus.getComposer("bach") if Path(path).suffix in (".mxl", ".xml")})
    for name in names:
        try:
            found[f"bach/{name}"] = [note for voice in chorales.voices(f"bach/{name}") for note in voice]
        except ComposerError as error:
            print(f"left out: {error}")
    return found


def triples(roll: Roll) -> frozenset[Triple]:
    """Return the successions of three sounding frames, in semitones from the lowest pitch of the first."""
    sounding = [sorted(frame) for frame in roll if frame]
    runs = (sounding[k : k + FRAMES] for k in range(len(sounding) - FRAMES + 1))
    return frozenset(tuple(tuple(pitch - run[0][0] for pitch in frame) for frame in run) for run in runs)


def match(rolls: dict[Place, Roll], scores: dict[Key, Roll]) -> dict[Place, Match]:
    """Return for each published piece its score and their similarity."""
    asked = {place: triples(roll) for place, roll in rolls.items()}
    known = {key: triples(roll) for key, roll in scores.items()}
    holders = defaultdict(list)
    for key, found in known.items():
        for triple in found:
            holders[triple].append(key)
    pairs = []
    for place, found in asked.items():
        shared = Counter(key for triple in found for key in holders.get(triple, ()))
        pairs += [(2 * count / (len(found) + len(known[key])), place, key) for key, count in shared.items()]
    matched: dict[Place, Match] = {}
    used = set()
    for share, place, key in sorted(pairs, reverse=True):
        if share < LEAST:
            break
        if place not in matched and key[0] not in used:
            matched[place] = (key, share)
            used.add(key[0])
    return matched


def lowest(roll: Roll) -> dict[frozenset[Triple], int]:
    """Return the lowest pitch of the first frame of each succession of three, by the succession."""
    sounding = [frame for frame in roll if frame]
    runs = [sounding[k : k + FRAMES] for k in range(len(sounding) - FRAMES + 1)]
    return {triples(run): min(run[0]) for run in runs}


def row(place: Place, key: Key, share: float, rolls: dict[Place, Roll], scores: dict[Key, Roll]) -> list[Any]:
    """Return a row of the manifest."""
    (part, number), (work, grid) = place, key
    transpose = shift(scores[key], rolls[place])
    events = chorales.events(jsb_chorales.rolled(scores[key], transpose))
    name = f"{PARTS[part]}-{number:03}-{Path(work).name}.mid"
    return [name, work, PARTS[part], number, *grid, transpose, f"{share:.3f}", chorales.digest(events)]


def shift(score: Roll, published: Roll) -> int:
    """Return the semitones by which most triples of frames that both have were transposed."""
    ours, theirs = lowest(score), lowest(published)
    return Counter(theirs[triple] - ours[triple] for triple in ours.keys() & theirs.keys()).most_common(1)[0][0]


if __name__ == "__main__":
    main()
