"""Print figures of how readable the scores of MIDI files are: ties, rests, accidentals and notes a bar, and the key.

    python scripts/score_figures.py FILE...

A tie is counted where it begins; an accidental where it is written. Onsets are those of the performance, moved to the
grid of the score; see docs/render.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from composer.errors import ComposerError
from composer.files import display_path, user_path
from composer.music.notes import from_file
from composer.score.engrave import notate
from composer.score.spelling import key_margin


def figures(path: Path) -> str:
    """Return the row of a file.

    Raises:
        ComposerError: the file cannot be read.
    """
    notation = notate(from_file(path))
    piece, text = notation.quantized, notation.musicxml
    bars = len(piece.measures)
    counts = [text.count(tag) / bars for tag in ('<tie type="start"', "<rest", "<accidental>", "<note id")]
    best, own, second, other = key_margin(piece.notes)
    key = f"{notation.key.name}; profiles {best.name} {own:.2f}, {second.name} {other:.2f}"
    cells = "".join(f"{count:>8.2f}" for count in counts)
    moved = f"{piece.mean_error_ms:>8.1f}{piece.largest_error_ms:>8.1f}"
    return f"{path.name[:20]:<20}{bars:>6}{cells}{moved}{len(piece.pedal):>7}  {key}"


def main() -> int:
    """Print the table; return the exit status."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    heads = "".join(f"{head:>8}" for head in ("ties", "rests", "accid.", "notes", "moved", "most ms"))
    print(f"{'file':<20}{'bars':>6}{heads}{'pedals':>7}  key")
    for name in sys.argv[1:]:
        try:
            print(figures(user_path(name)))
        except ComposerError as error:
            print(f"{display_path(user_path(name))}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
