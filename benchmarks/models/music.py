"""The music of the benchmark that is made from other files: a second piece, and the folds of three performances."""

from __future__ import annotations

import warnings
from pathlib import Path

from composer.corpus import chorales
from composer.music.events import Piece
from composer.music.midi import write_midi

# Named before anything was trained on it, and nothing is tuned on it: two violins and passages that return, as in
# krebs.mid.
SONATA = ("mozart/k155/movement3", ("Violin I", "Violin II"))
PERFORMANCES = ("Maestro_1", "Maestro_2", "Maestro_3")


def second_piece(folder: Path) -> Path:
    """Return the two violins of the third movement of Mozart's string quartet K. 155, from music21, as a MIDI file."""
    from music21 import corpus

    path = folder / "k155-3.mid"
    if path.exists():
        return path
    work, names = SONATA
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = corpus.parse(work).stripTies()
    notes = [note for part in score.parts if part.partName in names for note in chorales.part_notes(part)]
    folder.mkdir(parents=True, exist_ok=True)
    write_midi(path, Piece(work, chorales.events(notes), chorales.TIMING))
    return path


def folds(folder: Path, music: Path) -> list[Path]:
    """Return a folder for each performance as the test, with the next one as validation, the third as training."""
    made = []
    for number in range(len(PERFORMANCES)):
        place = folder / f"fold{number + 1}"
        place.mkdir(parents=True, exist_ok=True)
        rows = ["midi_filename,split"]
        for k, name in enumerate(PERFORMANCES):
            file = place / f"{name}.mid"
            if not file.exists():
                file.write_bytes((music / f"{name}.mid").read_bytes())
            part = {0: "test", 1: "validation"}.get((k - number) % len(PERFORMANCES), "train")
            rows.append(f"{name}.mid,{part}")
        (place / "split.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        made.append(place)
    return made
