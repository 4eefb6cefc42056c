"""`composer generate`: compose MIDI files with a trained run."""

from __future__ import annotations

from pathlib import Path

from composer.composing.composer import Composer, Composition, drawn_at
from composer.config import compose as configs
from composer.config.commands import GenerateConfig
from composer.files import user_path
from composer.progress import Counter, say, working
from composer.runs.layout import PRETRAINED, is_pretrained, run_path


def run(config: GenerateConfig) -> list[Path]:
    """Compose as configured, write the pieces and print their paths."""
    with working("reading the network"):
        composer = Composer.load(config.run, config.checkpoint)
    folder = user_path(config.output) if config.output else Path("outputs") / "generate" / configs.run_id()
    paths = []
    length, unit = (config.events, "events") if config.seconds is None else (config.seconds, "seconds")
    counter = Counter("composing", unit, config.n * length)

    def advanced(share: float) -> None:
        counter.advance(share * counter.total)

    if config.continue_from is not None:
        compositions = composer.continued(config, config.seed, user_path(config.continue_from), advanced)
    else:
        compositions = composer.compose(config, config.seed, composer.primed(config.primer), advanced)
    counter.close()
    for number, composition in enumerate(compositions):
        path = folder / f"{composer.config.name}-seed{config.seed}-{number:03d}.mid"
        paths.append(composition.save(path))
        say(f"{path}  {summary_line(composition)}")
    say(drawn_at(composer, config))
    if is_pretrained(run_path(config.run)):
        say(f"{PRETRAINED} is a small run on {composer.origin.piece}")
        say("your own: composer train data=midi data.path=my.mid, then composer generate RUN_DIR")
    return paths


def summary_line(composition: Composition) -> str:
    """Return one line on the length of a piece and the notes that were released."""
    events = composition.piece.events
    count = len(composition.written.events) - len(events)
    seconds = composition.written.seconds()[-1] if len(events) else 0.0
    length = f"{len(events)} events, {seconds:.1f} s"
    notes = "note" if count == 1 else "notes"
    return f"{length}; {count} {notes} held too long, released at the limit" if count else length
