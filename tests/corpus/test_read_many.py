"""What is done with note messages as they are read: the order within a moment, and the sustain pedal."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.commands.train import start
from composer.config.compose import compose
from composer.config.data import Order, Pedal, TimeUnit
from composer.data.prepare import load_data
from composer.music.events import Events, canonical, prelude_piece
from composer.music.midi import read_piece

Build = Callable[..., Path]
# (delta, pitch, velocity)
Rows = list[tuple[float, int, int]]


def events_of(rows: Rows) -> Events:
    delta, pitch, velocity = zip(*rows, strict=True) if rows else ((), (), ())
    return Events(
        np.array(pitch, np.uint8), np.array(velocity, np.uint8), np.array(delta, np.float64), TimeUnit.seconds
    )


def rows_of(events: Events) -> Rows:
    columns = (events.delta_time, events.pitch, events.velocity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def on(time: int, note: int, velocity: int = 64, channel: int = 0) -> Any:
    return mido.Message("note_on", time=time, note=note, velocity=velocity, channel=channel)


def off(time: int, note: int, channel: int = 0) -> Any:
    return mido.Message("note_off", time=time, note=note, channel=channel)


def pedal(time: int, value: int, channel: int = 0, control: int = 64) -> Any:
    return mido.Message("control_change", time=time, control=control, value=value, channel=channel)


def read(path: Path, extend: bool = True, **changes: Any) -> Rows:
    """(milliseconds, pitch, velocity) of the events of a file of `midi_file` with a division of 500."""
    piece = read_piece(path, pedal=Pedal.extend if extend else Pedal.ignore, **changes)
    return [(round(delta * 1000), pitch, velocity) for delta, pitch, velocity in rows_of(piece.events)]


# Order


def test_releases_come_first_then_strikes_each_by_pitch() -> None:
    events = events_of([
        (0.5, 64, 9), (0.0, 60, 9),
        (1.0, 67, 9), (0.0, 64, 0), (0.0, 62, 9), (0.0, 60, 0),
        (1.0, 67, 0), (0.0, 62, 0),
    ])  # fmt: skip
    assert rows_of(canonical(events)) == [
        (0.5, 60, 9), (0.0, 64, 9),
        (1.0, 60, 0), (0.0, 64, 0), (0.0, 62, 9), (0.0, 67, 9),
        (1.0, 62, 0), (0.0, 67, 0),
    ]  # fmt: skip


def test_a_note_without_length_is_released_after_its_strike() -> None:
    events = events_of([(0.0, 70, 9), (1.0, 60, 9), (0.0, 60, 0), (0.0, 70, 0), (0.0, 70, 8)])
    assert rows_of(canonical(events)) == [(0.0, 70, 9), (1.0, 70, 0), (0.0, 60, 9), (0.0, 70, 8), (0.0, 60, 0)]
    # Struck while it sounds and released once: that is the release of the note before.
    events = events_of([(0.0, 60, 9), (1.0, 60, 8), (0.0, 60, 0)])
    assert rows_of(canonical(events)) == [(0.0, 60, 9), (1.0, 60, 0), (0.0, 60, 8)]


messages = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.5]), st.integers(60, 63), st.sampled_from([0, 0, 5, 9])), max_size=30
)


@given(rows=messages)
def test_canonical_moves_events_within_their_moment_alone(rows: Rows) -> None:
    events = events_of(rows)
    found = canonical(events)
    assert found.delta_time.tolist() == events.delta_time.tolist()
    moments = np.cumsum(events.delta_time > 0)
    for moment in set(moments.tolist()):
        chosen = moments == moment
        before = sorted(zip(events.pitch[chosen].tolist(), events.velocity[chosen].tolist(), strict=True))
        assert sorted(zip(found.pitch[chosen].tolist(), found.velocity[chosen].tolist(), strict=True)) == before
    # Doing it again changes nothing.
    assert rows_of(canonical(found)) == rows_of(found)


@given(data=st.data(), rows=messages)
def test_canonical_forgets_the_order_of_the_file(data: st.DataObject, rows: Rows) -> None:
    # NoteArrays of one moment differ in their pitch, so that nothing but the file tells an order.
    distinct, seen, moment = [], set(), 0
    for delta, pitch, velocity in rows:
        moment += delta > 0
        if (moment, pitch) not in seen:
            seen.add((moment, pitch))
            distinct.append((moment, pitch, velocity))
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for moment, pitch, velocity in distinct:
        groups[moment].append((pitch, velocity))

    def laid(shuffle: bool) -> Rows:
        rows = []
        for number in sorted(groups):
            members = data.draw(st.permutations(groups[number])) if shuffle else groups[number]
            rows += [(0.5 if k == 0 else 0.0, *member) for k, member in enumerate(members)]
        return rows

    assert rows_of(canonical(events_of(laid(True)))) == rows_of(canonical(events_of(laid(False))))


def test_the_prelude_is_canonical_already() -> None:
    events = prelude_piece(TimeUnit.seconds).events
    assert rows_of(canonical(events)) == rows_of(events)


def test_a_file_is_read_in_the_order_that_is_asked_for(midi_file: Build) -> None:
    path = midi_file([[on(0, 64), on(0, 60), on(500, 62), off(0, 64), off(0, 60), off(500, 62)]], division=500)
    plain = [(0, 64, 64), (0, 60, 64), (500, 62, 64), (0, 64, 0), (0, 60, 0), (500, 62, 0)]
    assert read(path) == plain
    assert read(path, order=Order.canonical) == [
        (0, 60, 64), (0, 64, 64), (500, 60, 0), (0, 64, 0), (0, 62, 64), (500, 62, 0)
    ]  # fmt: skip
    config = compose("data=midi", f"data.path={path}", "data.order=canonical", "data.window_size=1")
    piece = load_data(config.data, config.encoding, 0).pieces[0]
    assert piece.events.pitch.tolist() == [60, 64, 60, 64, 62, 62]


# Pedal


def test_a_released_note_lasts_until_the_pedal_comes_up(midi_file: Build) -> None:
    track = [pedal(0, 127), on(100, 60), off(100, 60), on(100, 64), pedal(100, 0), off(100, 64)]
    path = midi_file([track], division=500)
    assert read(path, extend=False) == [(100, 60, 64), (100, 60, 0), (100, 64, 64), (200, 64, 0)]
    # 60 is released at 400, where the pedal comes up; 64 by its own key at 500.
    assert read(path) == [(100, 60, 64), (200, 64, 64), (100, 60, 0), (100, 64, 0)]


def test_the_pedal_is_down_from_64(midi_file: Build) -> None:
    def released_at(value: int) -> int:
        path = midi_file([[on(0, 60), pedal(50, value), off(50, 60), pedal(100, 0), on(100, 61)]], division=500)
        return read(path)[1][0]

    assert [released_at(value) for value in (0, 63, 64, 127)] == [100, 100, 200, 200]
    # From 127 to 64 is still down.
    path = midi_file([[on(0, 60), pedal(0, 127), off(100, 60), pedal(100, 64), pedal(100, 63)]], division=500)
    assert read(path) == [(0, 60, 64), (300, 60, 0)]
    # Another controller is not the sustain pedal.
    path = midi_file([[on(0, 60), pedal(0, 127, control=66), off(100, 60)]], division=500)
    assert read(path) == [(0, 60, 64), (100, 60, 0)]


def test_a_note_that_is_struck_again_is_released_first(midi_file: Build) -> None:
    track = [pedal(0, 100), on(0, 60), off(100, 60), on(100, 60, 80), off(100, 60), pedal(100, 0)]
    assert read(midi_file([track], division=500)) == [(0, 60, 64), (200, 60, 0), (0, 60, 80), (200, 60, 0)]


def test_a_pedal_that_stays_down_ends_with_the_last_track(midi_file: Build) -> None:
    end = mido.MetaMessage("end_of_track", time=300)
    track = [on(0, 64), on(0, 60), pedal(0, 127), off(100, 64), off(100, 60), end]
    assert read(midi_file([track], division=500)) == [(0, 64, 64), (0, 60, 64), (500, 60, 0), (0, 64, 0)]


def test_a_pedal_holds_its_channel_whichever_track_it_is_in(midi_file: Build) -> None:
    pedals = [pedal(0, 127, channel=1), pedal(400, 0, channel=1)]
    tracks = [pedals, [on(0, 60, channel=1), off(100, 60, channel=1)], [on(0, 50, channel=2), off(100, 50, channel=2)]]
    path = midi_file(tracks, division=500)
    assert read(path, part="track:1") == [(0, 60, 64), (400, 60, 0)]
    assert read(path, part="track:2") == [(0, 50, 64), (100, 50, 0)]
    assert read(path, part="all") == [(0, 60, 64), (0, 50, 64), (100, 50, 0), (300, 60, 0)]


def lengths(events: Events) -> dict[int, list[float]]:
    """The length of each pitch's notes in the order of their strikes; to the next release."""
    now, found, open_notes = 0.0, defaultdict(list), defaultdict(list)
    for delta, pitch, velocity in rows_of(events):
        now += delta
        if velocity:
            open_notes[pitch].append((len(found[pitch]), now))
            found[pitch].append(float("inf"))
        elif open_notes[pitch]:
            number, begun = open_notes[pitch].pop(0)
            found[pitch][number] = now - begun
    return found


@given(data=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["on", "off", "down", "up"]), st.integers(60, 62))))
def test_with_the_pedal_no_event_is_lost_and_no_note_is_shorter(
    data: list[tuple[int, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pedal") / "piece.mid"
    file = mido.MidiFile(ticks_per_beat=500)
    make = {"on": on, "off": off, "down": lambda t, n: pedal(t, 127), "up": lambda t, n: pedal(t, 0)}
    file.tracks.append(mido.MidiTrack([on(0, 60), *(make[kind](time * 100, note) for time, kind, note in data)]))
    file.save(path)
    before = read_piece(path).events
    after = read_piece(path, pedal=Pedal.extend).events
    assert sorted(zip(before.pitch, before.velocity, strict=True)) == sorted(
        zip(after.pitch, after.velocity, strict=True)
    )
    one, other = lengths(before), lengths(after)
    for pitch, durations in one.items():
        assert len(other[pitch]) == len(durations)
        assert all(b >= a - 1e-9 or a == float("inf") for a, b in zip(durations, other[pitch], strict=True))


def test_a_performance_keeps_its_notes_and_shortens_none(shared_data: Path) -> None:
    path = shared_data / "Maestro_1.mid"
    before, after = read_piece(path).events, read_piece(path, pedal=Pedal.extend).events
    assert (before.velocity > 0).sum() == (after.velocity > 0).sum() == 2367
    one, other = lengths(before), lengths(after)
    pairs = [(a, b) for pitch in one for a, b in zip(one[pitch], other[pitch], strict=True)]
    assert len(pairs) == 2367
    assert all(b >= a - 1e-9 for a, b in pairs)
    assert sum(b > a + 1e-9 for a, b in pairs) > 1000
    # The strikes are where they were.
    onsets = [np.cumsum(events.delta_time)[events.velocity > 0] for events in (before, after)]
    assert np.allclose(*onsets)


# In a run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_a_run_with_all_three_trains_and_composes(tmp_path: Path) -> None:
    config = compose(
        *["encoding.velocity_bins=8", "data.order=canonical", "model.hidden_size=8", "trainer.max_epochs=1"],
        *[
            "trainer.threads=1",
            "trainer.progress_bar=false",
            "sampling.events=40",
            "sampling_grid.pieces=0",
            "logging.sample_media=false",
            "data.batch_size=256",
        ],
    )
    start(config, tmp_path / "run")
    (sample,) = (tmp_path / "run" / "samples").glob("*.mid")
    (music,) = {*[load_data(config.data, config.encoding, 0).vocabulary]}
    struck = read_piece(sample).events.velocity
    assert set(struck[struck > 0].tolist()) <= set(music.velocity_values)
    assert music.sizes[:2] == (128, 9)
