"""`composer render`: a MIDI file as a score, a piano roll, sound, and a page that plays."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from composer.config.commands import RenderConfig, Synth
from composer.config.data import Pedal
from composer.errors import MissingExtra
from composer.files import display_path, safe_name, user_path, write_atomic, write_json, write_text
from composer.music.midi import read_parts
from composer.music.notes import Performance, from_file
from composer.progress import say, working
from composer.render import audio, pianoroll
from composer.render.listening import metre, player
from composer.render.player import Player, piece_page
from composer.score.engrave import Notation, notate, pages, to_pdf
from composer.score.spelling import key_margin

_PAGE = re.compile(r"score-\d+\.svg")


def run(config: RenderConfig) -> Path:
    """Render as configured and print what was written; skip outputs whose package is not installed, with a line.

    Raises:
        ComposerError: the file cannot be read, or a value does not fit it.
    """
    if config.synth is Synth.fluidsynth:
        audio.require_fluidsynth(config.soundfont)
    path = user_path(config.file)
    performance = _read(config, path, config.title)
    original = None if config.original is None else _read(config, user_path(config.original), None)
    with working("finding beats, bars and voices"):
        notation = notate(performance, meter=config.meter, key=config.key)
    folder = user_path(config.output) if config.output else Path("outputs") / "render" / safe_name(path.stem)

    write_text(folder / "score.musicxml", notation.musicxml)
    _tell("score", folder / "score.musicxml", _about(notation, config.key is None and not performance.markings.keys))
    if left_out := str(performance.left_out):
        say(f"{'left out':<11}{left_out}")
    for left in folder.iterdir():
        if _PAGE.fullmatch(left.name):
            left.unlink()  # of a longer piece
    engraved: list[str] = []
    narrow: list[str] = []
    downloads = {"musicxml": notation.musicxml.encode()}
    with _optional():
        with working("engraving the score"):
            engraved, narrow = pages(notation.musicxml), pages(notation.musicxml, phone=True)
        for number, page in enumerate(engraved, start=1):
            write_text(folder / f"score-{number:03d}.svg", page)
        _tell("pages", folder / "score-001.svg", f"to {len(engraved):03d}" if len(engraved) > 1 else "")
    if engraved:
        with _optional():
            with working("writing the PDF"):
                downloads["pdf"] = to_pdf(engraved)
            _write(folder / "score.pdf", downloads["pdf"])
    with _optional():
        rolls = [performance] if original is None else [original, performance]
        with working("drawing the piano roll"):
            drawn = pianoroll.draw(rolls)
        for suffix, content in drawn.items():
            _write(folder / f"pianoroll.{suffix}", content)
    # As it sounds with the sustain pedal; the score and the marks are as played.
    sounding = _read(config, path, config.title, Pedal.extend)
    if config.synth is not Synth.none:
        with _optional():
            with working("making the sound"):
                samples, origin = _sound(config, path, performance, sounding)
                encoded = audio.encode(samples, config.sound.value)
            _write(folder / f"audio.{config.sound.value}", encoded, origin)
    write_json(folder / "notes.json", {"title": performance.title, "notes": notation.notes})
    _tell("notes", folder / "notes.json", f"{len(notation.notes):,}")
    # The page makes its own sound: a recording would make it ten megabytes a minute longer.
    with working("engraving the original"):
        others = [] if original is None else [player(original, original.title, name="Original")]
    shown = Player(
        title=performance.title,
        notes=_sustained(notation.notes, sounding),
        pages=engraved,
        narrow=narrow,
        files=downloads,
        metre=metre(performance, notation),
        name="This piece" if original is not None else "",
        others=others,
    )
    with working("writing the page"):
        write_text(folder / "player.html", piece_page(shown))
    _tell("player", folder / "player.html", "open it in a browser")
    return folder


def _read(config: RenderConfig, path: Path, title: str | None, pedal: Pedal = Pedal.ignore) -> Performance:
    data = config.data
    return from_file(path, part=data.part, drums=data.drums, clip=data.clip, title=title, pedal=pedal)


def _sound(
    config: RenderConfig, path: Path, performance: Performance, sounding: Performance
) -> tuple[audio.Samples, str]:
    """Return the sound (L, 2) of the configured synthesiser with the sustain pedal, and one line on its origin."""
    pedal = ", with the sustain pedal" if sounding.notes != performance.notes else ""
    missing = audio.missing_fluidsynth(config.soundfont)
    if config.synth is Synth.builtin or (config.synth is Synth.auto and missing):
        reason = f"; {missing}" if config.synth is Synth.auto else ""
        return audio.synthesize(sounding.notes), f"built-in piano{pedal}{reason}"
    _, font = audio.require_fluidsynth(config.soundfont)
    data = config.data
    with tempfile.TemporaryDirectory() as folder:
        # Only what is rendered, with its own times.
        midi = Path(folder) / "parts.mid"
        audio.write_parts(midi, read_parts(path, part=data.part, drums=data.drums, clip=data.clip, pedal=Pedal.extend))
        samples = audio.fluidsynth(midi, sounding.end_seconds + audio.RELEASE_SECONDS, config.soundfont)
    return samples, f"FluidSynth, {font.name}{pedal}"


def _sustained(notes: list[dict[str, Any]], sounding: Performance) -> list[dict[str, Any]]:
    """Return the notes of a player, with `sounding` where the sustain pedal makes them last longer."""
    lasting = {(note.pitch, round(note.onset_seconds, 6)): note.duration_seconds for note in sounding.notes}
    found = []
    for note in notes:
        seconds = round(lasting.get((note["pitch"], note["onset"]), 0.0), 6)
        found.append({**note, "sounding": seconds} if seconds > note["duration"] + 1e-6 else note)
    return found


def _about(notation: Notation, key_estimated: bool) -> str:
    """Return one line on the score and its distance from the performance."""
    piece, arrangement = notation.quantized, notation.arrangement
    meter = piece.measures[-1].meter
    beats = "beats tracked in the onsets" if piece.tracked else "the file's beats"
    changed = f", {arrangement.shortened} shortened for the voices" if arrangement.shortened else ""
    best, own, second, other = key_margin(piece.notes)
    if notation.key == second:
        best, own, second, other = second, other, best, own
    shown = key_estimated and best == notation.key
    estimated = f" (correlation {own:.2f}; {second.name} {other:.2f})" if shown else ""
    return (
        f"{notation.key.name}{estimated}, {meter.numerator}/{meter.denominator}, {len(piece.measures)} bars, "
        f"{len(arrangement.placed):,} notes{changed}; {beats}, onsets moved {piece.mean_error_ms:.1f} ms on average, "
        f"{piece.largest_error_ms:.1f} at most"
    )


@contextmanager
def _optional() -> Iterator[None]:
    """Skip an output whose package is not installed, with a line that says so."""
    try:
        yield
    except MissingExtra as error:
        say(f"left out: {error}", sys.stderr)


def _write(path: Path, content: bytes, more: str = "") -> None:
    write_atomic(path, lambda stream: stream.write(content))
    _tell(path.suffix[1:], path, more)


def _tell(what: str, path: Path, more: str = "") -> None:
    say(f"{what:<11}{display_path(path)}{'  ' if more else ''}{more}")
