"""Write `composer/chorales.csv`: which chorales share a tune, and which train, validate and test.

A tune is known by the intervals of its soprano. The parts are drawn tune by tune, from the tune's digest, so that
neither the order of the scores nor another score changes them.
"""

import csv
import hashlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.corpus import chorales
from composer.corpus.duplicates import group
from composer.files import write_text

# Share of the smaller tune's shingles in the larger one, from which two are one: between the pairs that share a phrase
# by chance (below 0.2) and settings of a tune (above 0.4, most of them).
ALIKE = 0.3
VALIDATION, TEST = 0.1, 0.1


def main() -> None:
    """Read every score, group them by tune, and write the manifest."""
    works = list(chorales.works())
    voices = [chorales.voices(work) for work, _ in works]
    sopranos = [chorales.events(four[0]) for four in voices]
    tunes = group(sopranos, ALIKE).of
    digests = [chorales.digest(chorales.events([note for voice in four for note in voice])) for four in voices]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["midi_filename", "work", "numbers", "tune", "split", "sha256"])
    for (work, numbers), tune, digest in zip(works, tunes.tolist(), digests, strict=True):
        first = min(d for d, t in zip(digests, tunes.tolist(), strict=True) if t == tune)
        row = [f"{Path(work).name}.mid", work, " ".join(map(str, numbers)), tune, part(first), digest]
        writer.writerow(row)
    write_text(chorales.MANIFEST, stream.getvalue())
    print(f"{len(works)} scores, {len(set(tunes.tolist()))} tunes")


def part(digest: str) -> str:
    """The part of a tune by the lowest digest of its settings, which is as good as a random number."""
    place = int(hashlib.sha256(digest.encode()).hexdigest()[:8], 16) / 2**32
    return "validation" if place < VALIDATION else "test" if place < VALIDATION + TEST else "train"


if __name__ == "__main__":
    main()
