"""Make the gallery: train a few runs, let each compose, and show them on one page that plays (`make gallery`).

    python scripts/gallery.py [--output build/gallery] [--only NAME ...]

Each entry of the gallery is one run with a line on what it shows. A switch plays its piece or the training music, and a
link leads to the page of the run, which composes on. An entry whose run is there already is not trained again; one that
needs music21 is left out, with a line, where that is not installed. All of it takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from composer.commands.report import as_shown
from composer.composing.composer import Composer
from composer.files import read_json, write_atomic, write_text
from composer.music.events import Piece
from composer.music.notes import Performance, from_piece
from composer.render.listening import player
from composer.render.pianoroll import draw
from composer.render.player import Image, Section, gallery_page
from composer.runs.layout import SUMMARY

EVENTS = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of the gallery.

    Attributes:
        name: of its folder.
        title: its heading.
        text: what it shows.
        overrides: of `composer train`.
        needs: a package without which it is left out.
    """

    name: str
    title: str
    text: str
    overrides: tuple[str, ...]
    needs: str | None = None


ENTRIES = (
    Entry(
        "best",
        "The prelude, with the best recipe",
        "experiment=best on the embedded piece: a GRU with embeddings that reads the place in the bar, trained on "
        "every step (docs/models.md).",
        ("experiment=best",),
    ),
    Entry(
        "article",
        "The prelude, as the article has it",
        "experiment=article on the same piece: one-hot channels, an LSTM, three heads, L1 in the loss. It is shown "
        "compared with the best recipe: the same music, another training.",
        ("experiment=article",),
    ),
    Entry(
        "own",
        "A recipe of one's own",
        "Four keys on the command line: a small LSTM with two layers, chained heads and embeddings, without L1.",
        (
            *("model.num_layers=2", "model.hidden_size=96", "model.embedding_size=24", "model.heads=chained"),
            *("regularizer=none", "loss.supervision=every", "trainer.max_epochs=30", "name=own"),
        ),
    ),
    Entry(
        "chorales",
        "Bach's chorales",
        "experiment=chorales, cut short to one epoch of a small network; the pieces of validation and test are "
        "held out whole.",
        (
            *("experiment=chorales", "model.hidden_size=96", "model.embedding_size=32", "scheduler=none"),
            "trainer.max_epochs=1",
        ),
        needs="music21",
    ),
)


def train(entry: Entry, folder: Path) -> None:
    """Train the run of an entry, unless it is complete; an interrupted one goes on.

    Raises:
        subprocess.CalledProcessError: the training failed; it has said why.
    """
    if (folder / SUMMARY).is_file() and read_json(folder / SUMMARY).get("status") == "completed":
        return
    begun = (folder / "checkpoints" / "last.ckpt").is_file()
    arguments = [f"resume={folder}"] if begun else [*entry.overrides, f"hydra.run.dir={folder}"]
    subprocess.run(
        [sys.executable, "-m", "composer.cli", "train", *arguments, "trainer.threads=1"], check=True, cwd=ROOT
    )


def picture(composed: Piece, original: Piece | Performance | None) -> bytes:
    """Return the piano roll of a composed piece below the training music, as PNG."""
    rolls = [from_piece(composed, title="composed")]
    if original is not None:
        performance = from_piece(original) if isinstance(original, Piece) else original
        end = rolls[0].end_seconds
        notes = tuple(note for note in performance.notes if note.onset_seconds < end)
        rolls.insert(0, replace(performance, title="training music", notes=notes))
    return draw(rolls, ("png",))["png"]


def section(entry: Entry, folder: Path, output: Path) -> Section:
    """Compose with a run and return its part of the page; write its picture and the page of the run."""
    composer = Composer.load(folder)
    composed = composer.generate(events=EVENTS, seed=0)
    original = as_shown(composer)
    image = picture(composed.written, original)
    write_atomic(output / f"{entry.name}.png", lambda stream: stream.write(image))
    subprocess.run(
        [sys.executable, "-m", "composer.cli", "report", str(folder), f"output={output / entry.name}.html"],
        check=True, cwd=ROOT,
    )  # fmt: skip
    summary = read_json(folder / SUMMARY)
    joint = summary.get("accuracy_joint/val")
    measured = "" if joint is None else f"; all three channels right: {joint:.3f} of val ({summary['split']} split)"
    subtitle = f"{composer.setting}{measured}"
    others = [] if original is None else [player(original, "Training music", name="Training music")]
    shown = player(composed.written, entry.title, subtitle, name="Composed", others=others)
    uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    link = ("The page of this run, which composes on", f"{entry.name}.html")
    images = [Image(uri=uri, text="Piano rolls of the training music and of the composed piece")]
    return Section(heading=entry.title, text=entry.text, images=images, players=[shown], link=link)


def main() -> int:
    """Make the gallery; return the exit status."""
    parser = argparse.ArgumentParser(description="Train a few runs and show what they compose on one page.")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "gallery", help="folder of the page and the runs"
    )
    parser.add_argument("--only", nargs="+", choices=[entry.name for entry in ENTRIES], help="these entries alone")
    asked = parser.parse_args()
    output = asked.output.resolve()
    sections = []
    for entry in ENTRIES:
        if asked.only and entry.name not in asked.only:
            continue
        if entry.needs and importlib.util.find_spec(entry.needs) is None:
            print(
                f"left out: {entry.name} needs {entry.needs}: pip install 'lstm-composer[{entry.needs}]'",
                file=sys.stderr,
            )
            continue
        folder = output / "runs" / entry.name
        try:
            train(entry, folder)
        except subprocess.CalledProcessError as error:
            return error.returncode
        sections.append(section(entry, folder, output))
    write_text(output / "index.html", gallery_page("What composer composes", sections))
    print(f"gallery      {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
