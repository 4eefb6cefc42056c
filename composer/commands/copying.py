"""`composer copying`: passages of a MIDI file that occur in the training music of a run. Needs no torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from composer.config.commands import CopyingConfig
from composer.config.data import split_title
from composer.config.run_file import read_config
from composer.corpus.corpus import read_corpus
from composer.data.prepare import split_corpus
from composer.errors import ComposerError
from composer.evaluation.copying import LEAST, ORDERS
from composer.evaluation.judgements import Copying
from composer.evaluation.reference import ReferenceMusic
from composer.files import display_path, read_json, safe_name, user_path, write_json, write_text
from composer.music.midi import read_piece
from composer.progress import say, working
from composer.render.listening import player
from composer.render.player import piece_page
from composer.runs.layout import CONFIG, MANIFEST, run_path

_MAX_LINES = 20
_KINDS = {"pitch": "at the same pitch", "interval": "transposed or not"}


def run(config: CopyingConfig) -> Path:
    """Measure as configured, print it, and write `copying.json` and a page that plays the file; their folder.

    Raises:
        ComposerError: the file, the run or its data cannot be read.
    """
    path = user_path(config.file)
    data = config.data
    piece = read_piece(path, part=data.part, drums=data.drums, clip=data.clip)
    if left_out := str(piece.left_out):
        say(f"left out {left_out}")
    with working("reading the training music of the run"):
        reference, pieces = of_run(run_path(config.run))
    with working("measuring how much is copied"):
        copying, passages = reference.copying([piece]), reference.passages(piece)
    folder = user_path(config.output) if config.output else Path("outputs") / "copying" / safe_name(path.stem)
    found = {"file": config.file, "run": config.run, **copying.to_plain(), "passages": passages}
    write_json(folder / "copying.json", found)
    with working("engraving the score of the page"):
        page = player(piece, path.stem, f"compared with the training data of {config.run}", passages)
    write_text(folder / "player.html", piece_page(page))
    say("\n".join(_report(copying, passages, split_title(str(copying.split), "", pieces))))
    say(f"written to {display_path(folder)}: copying.json, player.html (open it in a browser)")
    return folder


def of_run(folder: Path) -> tuple[ReferenceMusic, int]:
    """Return the reference music of a run directory, and the number of pieces of its data.

    Raises:
        ComposerError: there is no such run, or its data cannot be read.
    """
    if not folder.is_dir():
        raise ComposerError(f"run={folder}: no such run directory")
    config = read_config(folder / CONFIG)
    corpus = read_corpus(config.data, config.encoding)
    trained = read_json(folder / MANIFEST).get("data", {})
    if isinstance(trained, dict) and trained.get("sha256") not in (None, corpus.sha256):
        warnings.warn(f"{config.data.named}: has changed since the training", stacklevel=2)
    splits, _ = split_corpus(corpus, config.data, config.seed)
    return ReferenceMusic(corpus.pieces, splits, config.data, config.seed), len(corpus.pieces)


def _report(copying: Copying, passages: list[dict[str, Any]], split: str) -> list[str]:
    mine, human = copying.composed, copying.held_out
    every = copying.training_pieces == copying.training_pieces_in_all
    some = "" if every else f", a sample of {copying.training_pieces_in_all:,}"
    lines = [
        f"compared with {copying.training_events:,} events of "
        f"{_count(copying.training_pieces, 'piece')} of the training set{some}",
        f"{'share of runs that occur there too':<38}{'file':>8}" + (f"  held-out music, {split}" if human else ""),
    ]
    for n in ORDERS:
        for kind, title in _KINDS.items():
            cells = [figures.get(f"{kind}_{n}") for figures in (mine, human or {})]
            shares = [f"{'-':>8}" if cell is None else f"{cell:>8.1%}" for cell in cells]
            lines.append(f"{f'{n} notes, {title}':<38}" + "".join(shares if human else shares[:1]))
    for key, title in (("longest_notes", "longest, notes"), ("longest_seconds", "longest, seconds"), ("notes", "of")):
        lines.append(f"{title:<38}" + "".join(f"{figures[key]:>8.1f}" for figures in (mine, human) if figures))
    lines += [
        "",
        f"{_count(len(passages), 'passage')} of at least {LEAST} notes" + ":" * bool(passages),
        *(_line(passage) for passage in passages[:_MAX_LINES]),
    ]
    return lines + [f"and {len(passages) - _MAX_LINES} more"] * (len(passages) > _MAX_LINES)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def _line(passage: dict[str, Any]) -> str:
    shift = passage["transposition"]
    moved = f", {abs(shift)} semitones {'higher' if shift > 0 else 'lower'}" if shift else ""
    return (
        f"  at {passage['start']:.1f} s: {passage['notes']} notes, {passage['seconds']:.1f} s, like "
        f"{passage['source_start']:.1f} s of {passage['source']}{moved}"
    )
