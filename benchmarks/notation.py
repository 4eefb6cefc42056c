"""Benchmark of MIDI to notation: corpus pieces written to MIDI and back, compared with their own scores.

    python benchmarks/notation.py                  ten pieces: composer's score and music21's MIDI import
    python benchmarks/notation.py --one-part       the same notes in a single part, as composed music has them
    python benchmarks/notation.py bwv66.6 --show   chosen pieces, with the first faults of each

Each piece of music21's corpus (https://www.music21.org) is written to MIDI by music21, without repeats and grace notes,
and with a time signature for every short bar, as notation programs write it. Both scores that are made from the file go
through MusicXML, and the same code reads all three. Places are relative to the first note, so that silence before it
does not count. Nothing of the corpus is kept.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from composer.music.notes import from_file
from composer.score.engrave import notate

PIECES = (
    "schumann_robert/opus48no2",
    "bwv66.6",
    "bwv7.7",
    "mozart/k545/movement1_exposition",
    "joplin/maple_leaf_rag",
    "chopin/mazurka06-2",
    "haydn/opus1no1/movement1",
    "mozart/k155/movement2",
    "beethoven/opus18no1/movement3.krn",
    "schumann_clara/polonaise_op1n1",
)
# Places and durations are compared in this part of a quarter note: thirds, sixths and 32nds are whole numbers of it.
_UNITS = 96


@dataclass(frozen=True, slots=True)
class Score:
    """Features of a score that are compared; places and durations in 1/96 quarter note.

    Attributes:
        notes: (onset, pitch, duration, name, staff) of each note, ties joined; onsets from the first note.
        ties: (onset, pitch) of each notehead that is tied to the next.
        rests: visible rests, except those that fill a bar.
        bars: number of bars.
    """

    notes: tuple[tuple[int, int, int, str, int], ...]
    ties: tuple[tuple[int, int], ...]
    rests: int
    bars: int


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of a score, counted in notes, ties and rests.

    Attributes:
        values: notes of the source that are missing or have another value.
        extra: notes that the source does not have, by onset and pitch.
        names: notes with another name than in the source.
        ties: ties that only one of the two scores has.
        rests: difference of the numbers of rests.
        staves: notes on another staff than most notes of their source staff.
    """

    values: int
    extra: int
    names: int
    ties: int
    rests: int
    staves: int

    @property
    def total(self) -> int:
        """All faults."""
        return self.values + self.extra + self.names + self.ties + self.rests + self.staves


def read(score: Any) -> Score:
    """Read a music21 score with measures; grace notes are ignored."""
    notes: list[tuple[int, int, int, str, int]] = []
    ties: list[tuple[int, int]] = []
    rests = 0
    for staff, part in enumerate(score.parts):
        segments = []
        for item in part.recurse().notesAndRests:
            length = item.duration.quarterLength
            if item.duration.isGrace or not length:
                continue
            if item.isRest:
                bar = item.getContextByClass("Measure")
                whole = bar is not None and length >= bar.duration.quarterLength
                rests += not whole and not item.style.hideObjectOnPrint
                continue
            onset = _units(item.getOffsetInHierarchy(part))
            for member in getattr(item, "notes", (item,)):
                tie = member.tie or item.tie
                kind = None if tie is None else tie.type
                segments.append((onset, member.pitch.midi, _units(length), member.pitch.nameWithOctave, kind))
        open_ties: dict[tuple[int, int], list[tuple[int, int, str]]] = {}  # (end, pitch): onset, duration, name
        for onset, pitch, duration, name, kind in sorted(segments, key=lambda segment: segment[:3]):
            begun = (onset, 0, name)
            if kind in ("stop", "continue") and open_ties.get((onset, pitch)):
                begun = open_ties[onset, pitch].pop()
            held = (begun[0], begun[1] + duration, begun[2])
            if kind in ("start", "continue"):
                ties.append((onset, pitch))
                open_ties.setdefault((onset + duration, pitch), []).append(held)
            else:
                notes.append((held[0], pitch, held[1], held[2], staff))
        # Ties that lead nowhere, as some corpus files have them.
        notes += [
            (*held[:1], pitch, *held[1:], staff) for (_, pitch), all_held in open_ties.items() for held in all_held
        ]
    first = min((note[0] for note in notes), default=0)
    return Score(
        tuple(sorted((onset - first, *rest) for onset, *rest in notes)),  # type: ignore[misc]
        tuple(sorted((onset - first, pitch) for onset, pitch in ties)),
        rests,
        len(score.parts[0].getElementsByClass("Measure")),
    )


def _units(quarters: Any) -> int:
    return round(float(quarters) * _UNITS)


def compare(source: Score, other: Score) -> Faults:
    """Count the faults of another score of a piece."""
    values = Counter(note[:3] for note in source.notes) - Counter(note[:3] for note in other.notes)
    struck, found = (Counter(note[:2] for note in score.notes) for score in (source, other))
    named, same_name = (Counter(note[:2] + note[3:4] for note in score.notes) for score in (source, other))
    names = sum((struck & found).values()) - sum((named & same_name).values())
    tied, others = Counter(source.ties), Counter(other.ties)
    ties = sum((tied - others).values()) + sum((others - tied).values())
    return Faults(
        values=sum(values.values()),
        extra=sum((found - struck).values()),
        names=names,
        ties=ties,
        rests=abs(source.rests - other.rests),
        staves=_misplaced(source, other),
    )


def _misplaced(source: Score, other: Score) -> int:
    """Notes of each staff of the source that are not on the staff of `other` where most of them are."""
    where: dict[tuple[int, int], list[int]] = {}
    for onset, pitch, _, _, staff in other.notes:
        where.setdefault((onset, pitch), []).append(staff)
    counts: dict[int, Counter[int]] = {}
    together = 0
    for onset, pitch, _, _, staff in source.notes:
        staves = where.get((onset, pitch), [])
        if staves:
            together += 1
            # A unison may be on several staves: the one that holds most of this staff so far.
            seen = counts.setdefault(staff, Counter())
            best = max(staves, key=lambda candidate: seen[candidate])
            staves.remove(best)
            seen[best] += 1
    return together - sum(max(seen.values()) for seen in counts.values())


def prepare(score: Any) -> Any:
    """Return a copy of a music21 score that its MIDI file can hold: no repeats, no grace notes, short bars marked."""
    from music21 import expressions, meter, note, repeat, spanner

    score = copy.deepcopy(score)
    removed: list[Any] = []
    for item in score.recurse():
        sounds = isinstance(item, note.NotRest)
        if (sounds and item.duration.isGrace) or isinstance(item, repeat.RepeatMark | spanner.RepeatBracket):
            removed.append(item)
        elif sounds:
            item.expressions = [e for e in item.expressions if not isinstance(e, expressions.Ornament)]
    for item in removed:
        if item.activeSite is not None:
            item.activeSite.remove(item)
    for part in score.parts:
        for measure in part.getElementsByClass("Measure"):
            measure.leftBarline = measure.rightBarline = None
            measure.paddingLeft = measure.paddingRight = 0
    _mark_short_bars(score.parts, meter)
    return score


def _mark_short_bars(parts: Any, meter: Any) -> None:
    """Leave time signatures in the first part only, where they change; a bar that is too short has one of its own."""
    signature, written = meter.TimeSignature("4/4"), ""
    for number, part in enumerate(parts):
        for measure in part.getElementsByClass("Measure"):
            signature = measure.timeSignature or signature
            measure.timeSignature = None
            actual = measure.duration.quarterLength
            text = signature.ratioString
            if 0 < actual < signature.barDuration.quarterLength:
                # In 32nds, with the lowest denominator from 4 on.
                beats = round(actual * 8)
                above, below = next((beats // (32 // d), d) for d in (4, 8, 16, 32) if beats % (32 // d) == 0)
                text = f"{above}/{below}"
            if number == 0 and text != written:
                measure.insert(0, meter.TimeSignature(text))
                written = text


def one_part(midi: Path) -> None:
    """Write all notes of a MIDI file into one track and channel."""
    import mido

    file = mido.MidiFile(midi)
    merged = mido.merge_tracks(file.tracks)
    for message in merged:
        if not message.is_meta:
            message.channel = 0
    file.tracks[:] = [mido.MidiTrack(m for m in merged if m.type != "program_change")]
    file.save(midi)


def scores(name: str, folder: Path, *, single: bool) -> tuple[Score, Score, Score]:
    """Return a corpus piece as it is written, as composer writes its MIDI file, and as music21 imports that file."""
    from music21 import converter, corpus

    source = prepare(corpus.parse(name))
    midi, xml = folder / "piece.mid", folder / "piece.musicxml"
    source.write("midi", midi)
    if single:
        one_part(midi)
    ours = converter.parseData(notate(from_file(midi)).musicxml, format="musicxml")
    # Through MusicXML, since that is where music21 makes bars, ties and beams.
    imported: Any = converter.parse(midi, forceSource=True)
    imported.write("musicxml", xml)
    return read(source), read(ours), read(converter.parse(xml, forceSource=True))


def row(name: str, source: Score, other: Score, faults: Faults) -> str:
    """One line of the table: faults per bar, then ties and rests as `source>found`."""
    return (
        f"{name:<34}{source.bars:>5}{len(source.notes):>6}{faults.total / source.bars:>8.2f}"
        f"{faults.values:>8}{faults.extra:>6}{faults.names:>6}{faults.staves:>7}"
        f"{f'{len(source.ties)}>{len(other.ties)}':>10}{faults.ties:>6}{f'{source.rests}>{other.rests}':>10}"
    )


def main() -> None:
    """Print a table of faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pieces", nargs="*", default=PIECES)
    parser.add_argument("--one-part", action="store_true", help="write all notes into one part first")
    parser.add_argument("--show", action="store_true", help="print the first faults of each score")
    options = parser.parse_args()
    try:
        import music21  # noqa: F401
    except ImportError:
        print("benchmarks/notation.py needs music21: pip install music21")
        return
    warnings.simplefilter("ignore")
    print(
        f"{'piece':<34}{'bars':>5}{'notes':>6}{'/bar':>8}{'values':>8}{'extra':>6}{'names':>6}{'staves':>7}"
        f"{'ties':>10}{'off':>6}{'rests':>10}"
    )
    totals: dict[str, list[int]] = {"composer": [], "music21": []}
    bars = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.pieces:
            source, *found = scores(name, Path(folder), single=options.one_part)
            bars += source.bars
            for label, other in zip(totals, found, strict=True):
                faults = compare(source, other)
                totals[label].append(faults.total)
                print(row(name if label == "composer" else "  music21's import", source, other, faults), flush=True)
                if options.show:
                    show(source, other)
    for label, counts in totals.items():
        print(f"{label}: {sum(counts)} faults in {bars} bars, {sum(counts) / bars:.2f} per bar")


def show(source: Score, other: Score, most: int = 12) -> None:
    """Print the first differences, places in quarter notes from the first note."""
    pairs: Sequence[tuple[str, Counter[Any], Counter[Any]]] = (
        ("value", Counter(n[:3] for n in source.notes), Counter(n[:3] for n in other.notes)),
        ("name", Counter((n[0], n[1], n[3]) for n in source.notes), Counter((n[0], n[1], n[3]) for n in other.notes)),
        ("tie", Counter(source.ties), Counter(other.ties)),
    )
    for what, one, two in pairs:
        for sign, rest in (("source", one - two), ("found", two - one)):
            places = [(entry[0] / _UNITS, *entry[1:]) for entry in sorted(rest.elements())[:most]]
            if places:
                print(f"    {what} only in {sign}: {places}")


if __name__ == "__main__":
    main()
