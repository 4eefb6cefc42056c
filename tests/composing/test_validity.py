"""What is written can be read: pieces of an untrained, a trained and an overfitted network.

What pretty_midi and music21 read is compared where they are installed, as they are in the locked environment.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import mido
import numpy as np
import pytest

from composer.commands.train import start
from composer.composing.composer import Composer, Composition
from composer.config.compose import compose
from composer.music.midi import audible_messages

Notes = list[tuple[int, int, int, int]]

QUICK = (
    "model.hidden_size=16",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=20",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
)
RUNS = {
    "untrained": ("trainer.max_epochs=1", "optimizer.lr=1e-9"),
    "trained": ("trainer.max_epochs=6", "optimizer.lr=0.01"),
    # One tenth is trained on, over and over, without dropout or penalty.
    "overfitted": (
        "trainer.max_epochs=60",
        "optimizer.lr=0.02",
        "data.val_fraction=0.9",
        "data.split=blocked",
        "model.dropout=0",
        "regularizer=none",
    ),
}


@pytest.fixture(scope="module", params=list(RUNS))
def player(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Composer:
    folder = tmp_path_factory.mktemp("runs") / request.param
    start(compose(*QUICK, *RUNS[request.param]), folder)
    return Composer.load(folder, "last")


def notes_of(path: Path) -> Notes:
    """Ticks of strike and release, pitch and velocity of every note; fails on what is not playable."""
    found, tick = [], 0
    sounding: dict[int, tuple[int, int]] = {}
    for message in mido.MidiFile(path).tracks[0]:
        assert message.time >= 0
        tick += message.time
        if message.type != "note_on":
            continue
        if message.velocity:
            assert message.note not in sounding
            sounding[message.note] = (tick, message.velocity)
        else:
            begin, velocity = sounding.pop(message.note)
            assert tick > begin
            found.append((begin, tick, message.note, velocity))
    assert not sounding
    return sorted(found)


def read_by_pretty_midi(path: Path) -> Notes:
    import pretty_midi

    file = pretty_midi.PrettyMIDI(str(path))
    notes = [note for instrument in file.instruments for note in instrument.notes]
    ticks = [(file.time_to_tick(note.start), file.time_to_tick(note.end)) for note in notes]
    return sorted((*pair, note.pitch, note.velocity) for pair, note in zip(ticks, notes, strict=True))


def read_by_music21(path: Path) -> Notes:
    """Its notes before it writes a score of them: that divides notes at bars and gathers chords."""
    from music21 import converter, midi

    assert converter.parse(path, format="midi", forceSource=True).flatten().notes
    file = midi.MidiFile()
    file.open(path)
    file.read()
    file.close()
    (track,) = file.tracks
    notes = midi.translate.getNotesFromEvents(midi.translate.getTimeForEvents(track))
    return sorted((note.onTime, note.offTime, note.event.pitch, note.event.velocity) for note in notes)


def strikes_of(composition: Composition) -> list[tuple[int, int, int]]:
    """Tick, pitch and velocity of the notes that were composed; of a pitch's strikes at one tick the last is heard."""
    piece = composition.written
    ticks = np.rint(np.cumsum(piece.events.delta_time) * piece.timing.ticks(piece.events.time_unit)).astype(int)
    struck = piece.events.velocity > 0
    columns = (ticks[struck], piece.events.pitch[struck], piece.events.velocity[struck])
    heard = {(tick, pitch): velocity for tick, pitch, velocity in zip(*(c.tolist() for c in columns), strict=True)}
    return sorted((*place, velocity) for place, velocity in heard.items())


def pieces(player: Composer, folder: Path, each: int) -> Iterator[tuple[Composition, Path]]:
    """Pieces by every way of drawing, some wild."""
    ways = (
        ("mode=window", "temperature=1.5", "primer=none"),
        ("mode=stateful", "include_primer=true"),
        ("mode=stateful", "temperature=3", "primer=none", "playable=true"),
        ("mode=stateful", "playable=true", "polyphony=4", "max_note_seconds=2", "ending=close"),
    )
    for number, way in enumerate(ways):
        config = compose("run=none", *way, f"n={each}", "events=100", command="generate")
        for k, piece in enumerate(player.compose(config, number, player.primer(config.primer))):
            yield piece, piece.save(folder / f"{number}-{k}.mid")


@pytest.mark.slow
def test_composed_pieces_read_the_same_everywhere(
    player: Composer, tmp_path: Path, repetitions: Callable[[int, int], int]
) -> None:
    pretty = importlib.util.find_spec("pretty_midi") is not None
    music21 = importlib.util.find_spec("music21") is not None
    count = 0
    # At night 4 ways of 84 pieces by 3 networks: 1008.
    each = repetitions(12, 84)
    for composition, path in pieces(player, tmp_path, each):
        notes = notes_of(path)
        assert sorted((begin, pitch, velocity) for begin, _, pitch, velocity in notes) == strikes_of(composition)
        if pretty:
            assert read_by_pretty_midi(path) == notes, path
        if music21 and count % 12 == 0:
            assert read_by_music21(path) == notes, path
        count += 1
    assert count == 4 * each


def test_a_note_of_no_length_lasts_a_tick() -> None:
    assert audible_messages([(5, 60, 64), (5, 60, 0)]) == [(5, 60, 64), (6, 60, 0)]
    # Before a strike of the next tick, whichever came first in the file.
    messages = [(5, 60, 64), (5, 60, 0), (5, 62, 64), (6, 62, 0), (6, 60, 70), (8, 60, 0)]
    expected = [(5, 60, 64), (5, 62, 64), (6, 60, 0), (6, 62, 0), (6, 60, 70), (8, 60, 0)]
    assert audible_messages(messages) == expected
    # Struck once more at the same tick: the note of no length goes.
    assert audible_messages([(5, 60, 64), (5, 60, 0), (5, 60, 70), (9, 60, 0)]) == [(5, 60, 70), (9, 60, 0)]
    twice = [(5, 60, 1), (5, 60, 0), (5, 60, 2), (5, 60, 0), (5, 60, 3), (5, 60, 0)]
    assert audible_messages(twice) == [(5, 60, 3), (6, 60, 0)]


def test_audible_messages_stay_playable() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        ticks = np.sort(generator.integers(0, 12, 40)).tolist()
        sounding: dict[int, bool] = defaultdict(bool)
        messages = []
        for tick, pitch in zip(ticks, generator.integers(60, 63, 40).tolist(), strict=True):
            sounding[pitch] = not sounding[pitch]
            messages.append((tick, pitch, 64 if sounding[pitch] else 0))
        messages += [(12, pitch, 0) for pitch, on in sounding.items() if on]
        began: dict[int, int] = {}
        last = 0
        for tick, pitch, velocity in audible_messages(messages):
            assert tick >= last
            last = tick
            if velocity:
                assert pitch not in began
                began[pitch] = tick
            else:
                assert tick > began.pop(pitch)
        assert not began
