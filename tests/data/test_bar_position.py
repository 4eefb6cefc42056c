"""The place in the bar as a further input: by slow references, through training, scoring and composing."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from composer.commands.evaluate import evaluate
from composer.commands.train import start
from composer.composing import onnx_file as onnxfile
from composer.composing.composer import Composer, Composition
from composer.composing.live import composed
from composer.composing.sampling import draw, probabilities
from composer.config.commands import ContextConfig, LiveConfig
from composer.config.compose import compose
from composer.config.data import TimeUnit, TransformConfig
from composer.data.bar_position import bar_classes, piece_classes, with_bars
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import load_data
from composer.data.streams import Streamed
from composer.data.tokens import ArrayTokens
from composer.data.vocabulary import fit
from composer.data.windows import Supervised
from composer.errors import ComposerError
from composer.music.events import Events, Piece, Timing, excerpt_of, in_unit
from composer.music.markings import Markings
from composer.music.midi import write_midi
from composer.music.pieces import ReadPieces
from composer.music.rhythm import BAR_CLASSES
from composer.nets.build import build_model
from composer.runs.checkpoint import Origin

# Of each kind of network, and of each way to read events.
KINDS = [
    "model=lstm",
    "model=lstm model.embedding_size=3 model.num_layers=2 model.inputs=drop_velocity",
    "model=gru model.heads=chained model.inputs=drop_note",
    "model=gru model.embedding_size=3",
    "model=transformer model.heads=chained",
    "model=transformer model.embedding_size=3",
]
WALTZ = Markings(((0.0, 400_000), (7.0, 600_000)), ((0.0, 1, 4), (1.0, 3, 4)))


def waltz(unit: TimeUnit = TimeUnit.beats, events: int = 60) -> Piece:
    """A piece in 3/4 with an upbeat of a beat, of quavers, triplets and semiquavers."""
    rng = np.random.default_rng(0)
    waits = rng.choice([0.0, 0.25, 0.5, 1 / 3, 2 / 3, 1.0], events)
    waits[0] = 0.5
    pitch, velocity = rng.integers(60, 66, events), rng.choice([0, 40, 80], events)
    found = Events(pitch.astype(np.uint8), velocity.astype(np.uint8), waits, TimeUnit.beats)
    return in_unit(Piece("waltz.mid", found, Timing(480, 400_000), markings=WALTZ), unit)


def waltzer(overrides: str = "", first: int = 4, piece: Piece | None = None) -> Composer:
    """A network with random weights that composes after the events `first` to `first + 6` of a piece."""
    piece = piece or waltz()
    torch.manual_seed(0)
    config = compose(*overrides.split(), "model.hidden_size=8", "model.bar_position=true", "data.window_size=6")
    encoding = compose().encoding.resolved(piece.events.time_unit)
    vocabulary = fit(encoding, piece.events.delta_time)
    model = build_model(config.model, vocabulary.sizes).double()
    with torch.no_grad():
        # So that the place in the bar decides what is drawn.
        for parameter in model.parameters():
            parameter.mul_(6)
    primer = torch.from_numpy(vocabulary.encode(piece.events[first : first + 6]))
    origin = Origin(primer, piece.name, piece.timing, 0, "", place=excerpt_of(piece, first, 6))
    return Composer(model, vocabulary, origin, config)


def read_again(player: Composer, places: np.ndarray, classes: np.ndarray, *, stateful: bool = False) -> list[list[int]]:
    """Draw the events after the first 6 of `classes` (N, 3) the slow way: read all that is known for every event."""
    state = np.random.SeedSequence([0, 0, 5]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    found = []
    tokens = torch.from_numpy(np.column_stack([classes, places])).long()
    for end in range(6, len(tokens)):
        if (end - 6) % 64 == 0:
            uniform = torch.rand(64, 3, dtype=torch.float64, generator=generator)
        event = [0, 0, 0]
        for k in range(3):
            with torch.no_grad():
                hidden = player.model.encode(tokens[None, 0 if stateful else end - 6 : end])[:, -1]
                logits = player.model.heads(hidden, torch.tensor([event]))[k]
            event[k] = int(draw(probabilities(logits, 1.0, None, None), uniform[(end - 6) % 64, k, None]))
        found.append(event)
    return found


def written_places(composition: Composition) -> np.ndarray:
    """The classes (N,) of a written piece's places, by its time signatures: an upbeat, then the metre for good."""
    piece = composition.piece
    return bar_classes(piece.markings.bar_offsets(piece.beats() + 0.005, 1e4))


# Places


@given(
    st.lists(st.tuples(st.integers(2, 7), st.sampled_from([2, 4, 8]), st.integers(1, 3)), min_size=1, max_size=4),
    st.lists(st.integers(0, 48 * 60), min_size=1, max_size=30),
)
def test_bar_offsets_are_those_of_walked_bar_lines(meters: list[tuple[int, int, int]], places: list[int]) -> None:
    lines, signatures = [0.0], []
    for numerator, denominator, bars in meters:
        signatures.append((lines[-1], numerator, denominator))
        # At least 14 beats, so that none is shorter than a bar of another.
        for _ in range(bars + 13):
            lines.append(lines[-1] + numerator * 4 / denominator)
    while lines[-1] < 60:
        lines.append(lines[-1] + meters[-1][0] * 4 / meters[-1][1])
    beats = np.array(places) / 48
    expected = [place - max(line for line in lines if line <= place) for place in beats.tolist()]
    found = Markings(meters=tuple(signatures)).bar_offsets(beats, max(60.0, lines[-1]))
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("meters", "places", "offsets"),
    [
        # No time signature: MIDI's 4/4.
        ((), [0, 3.5, 4, 9], [0, 3.5, 0, 1]),
        # An upbeat of a quaver; a bar that a repeat divides, and a last bar that the upbeat completes.
        (
            ((0.0, 1, 8), (0.5, 3, 8), (11.0, 2, 8), (12.0, 1, 8), (12.5, 3, 8), (186.5, 2, 8)),
            [0, 0.25, 0.5, 1.75, 11, 11.5, 12, 12.25, 12.5, 13.75, 186.5, 187.25],
            [1, 1.25, 0, 1.25, 0, 0.5, 1, 1.25, 0, 1.25, 0, 0.75],
        ),
        # An upbeat that is written in the metre itself.
        (((0.0, 3, 4), (1.0, 3, 4)), [0, 0.5, 1, 3, 4], [2, 2.5, 0, 2, 0]),
        # A bar of another metre is no part of a bar.
        (((0.0, 4, 4), (8.0, 3, 4), (11.0, 4, 4)), [7, 8, 10, 11, 15.5], [3, 0, 2, 0, 0.5]),
    ],
)
def test_upbeats_and_divided_bars_keep_their_places(
    meters: tuple[tuple[float, int, int], ...], places: list[float], offsets: list[float]
) -> None:
    markings = Markings(meters=meters)
    assert markings.bar_offsets(np.array(places, float), 188.0).tolist() == pytest.approx(offsets)
    for place, offset in zip(places, offsets, strict=True):
        assert markings.bar_offset(place, 188.0) == pytest.approx(offset)


def test_music_after_a_place_begins_with_the_rest_of_its_bar() -> None:
    elise = Markings(meters=((0.0, 1, 8), (0.5, 3, 8), (11.0, 2, 8), (12.0, 1, 8), (12.5, 3, 8)))
    for place, offset in ((0.25, 1.25), (0.5, 0.0), (1.0, 0.5), (11.5, 0.5), (12.25, 1.25)):
        assert elise.bar_after(place, 100.0) == (pytest.approx(offset), 1.5)
        meters = elise.after(place, 100.0)[0].meters
        assert [start for start, _, _ in meters] == ([0.0, 1.5 - offset] if offset else [0.0])


def test_a_short_last_bar_ends_with_its_own_signature() -> None:
    closing = Markings(meters=((0.0, 3, 8), (186.0, 2, 8)))
    assert closing.rest_of_bar(186.25, 186.25) == pytest.approx(0.75)
    # Where the usual metre goes on in a piece that is continued.
    assert closing.extended(186.25).meters[-1] == (187.0, 3, 8)


def test_places_are_twelfths_of_a_beat_from_the_bar_line() -> None:
    piece = waltz()
    places = piece.beats()
    expected = [int(12 * (WALTZ.bar_offset(place + 0.005, float(places[-1])))) for place in places.tolist()]
    assert piece_classes(piece).tolist() == expected
    # The first event stands in the middle of the upbeat, the third beat of the bar.
    assert expected[0] == 30
    assert max(expected) < 36


def test_places_of_seconds_are_those_of_beats() -> None:
    assert piece_classes(waltz(TimeUnit.seconds)).tolist() == piece_classes(waltz()).tolist()


def test_an_event_just_before_a_step_is_on_it() -> None:
    waits = np.array([0.996, 0.99, 0.0, 30.0])
    events = Events(np.full(4, 60, np.uint8), np.full(4, 64, np.uint8), waits, TimeUnit.beats)
    piece = Piece("x", events, markings=Markings(meters=((0.0, 12, 4),)))
    # 0.996 and 1.986 beats, and beyond 8 beats the last class.
    assert piece_classes(piece).tolist() == [12, 23, 23, BAR_CLASSES - 1]


# What does not have places


def test_files_without_beats_are_refused() -> None:
    # 25 frames a second of 40 ticks.
    piece = dataclasses.replace(waltz(), timing=Timing(-25 * 256 + 40))
    with pytest.raises(ComposerError, match=r"model.bar_position=true: waltz.mid .* set model.bar_position=false"):
        with_bars(ArrayTokens(np.zeros((60, 3), np.uint8)), ReadPieces([piece]))


def test_files_without_a_time_signature_are_named() -> None:
    piece = dataclasses.replace(waltz(), markings=Markings())
    with pytest.warns(UserWarning, match="no file has a time signature; bars of 4/4 are assumed"):
        with_bars(ArrayTokens(np.zeros((60, 3), np.uint8)), ReadPieces([piece]))


def test_large_corpora_are_refused(
    midi_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = [mido.Message("note_on", note=60 + k % 5, velocity=64, time=40) for k in range(200)]
    for name in ("a.mid", "b.mid"):
        midi_file([notes], name=f"many/{name}")
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 100)
    changes = ("data=midi", f"data.path={tmp_path / 'many'}", f"data.cache={tmp_path / 'cache'}", "encoding=score")
    config = compose(*changes, "model.bar_position=true", "data.group_similarity=null")
    with pytest.raises(ComposerError, match="400 events are too many; choose fewer files with data.path, or set"):
        start(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("inputs", ["drop_time", "shuffle_time"])
def test_inputs_without_the_time_are_refused(inputs: str) -> None:
    words = rf"model.bar_position=true: must be false with model.inputs={inputs}, since places"
    with pytest.raises(ComposerError, match=words):
        compose("model.bar_position=true", f"model.inputs={inputs}")


def test_onnx_is_refused(tmp_path: Path) -> None:
    player = waltzer()
    with pytest.raises(ComposerError, match="no network with model.bar_position=true; write .safetensors"):
        onnxfile.write(tmp_path / "x.onnx", player.model, player.plain())


# Batches


def batches(*overrides: str, bar_position: bool) -> list[Any]:
    config = compose("encoding=score", *overrides)
    music = load_data(config.data, config.encoding, 0)
    module = MusicDataModule(
        music, config.data, 0, config.loss.supervision, config.augmentation, bar_position=bar_position
    )
    return [*list(module.train_dataloader())[:4], *module.val_dataloader(), *module.test_dataloader()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", ["", "loss.supervision=every augmentation=all", "loss.supervision=stream data.batch_size=4"]
)
def test_batches_have_the_place_as_a_fourth_column(overrides: str) -> None:
    plain, placed = (batches(*overrides.split(), bar_position=value) for value in (False, True))
    for one, other in zip(plain, placed, strict=True):
        if isinstance(one, Supervised | Streamed):
            assert torch.equal(one.mask, other.mask)
            one, other = one.windows, other.windows
        assert torch.equal(one, other[..., :3])
        assert other.dtype == torch.uint8
        # The embedded piece has 4/4 throughout.
        assert int(other[..., 3].max()) < 48
        assert len(other[..., 3].unique()) > 8


def test_stretched_windows_keep_their_places(tmp_path: Path) -> None:
    write_midi(tmp_path / "waltz.mid", waltz(events=500))
    config = compose("data=midi", f"data.path={tmp_path / 'waltz.mid'}", "encoding=score")
    music = load_data(config.data, config.encoding, 0)
    stretch = TransformConfig(name="all", transpose=0, stretch=2.0, velocity=1.0)
    modules = [MusicDataModule(music, config.data, 0, augmentation=each, bar_position=True) for each in (None, stretch)]
    plain, stretched = (torch.cat(list(module.train_dataloader())) for module in modules)
    assert not torch.equal(plain[..., 2], stretched[..., 2])
    assert torch.equal(plain[..., 3], stretched[..., 3])


# Networks


@pytest.mark.slow
@pytest.mark.parametrize("overrides", KINDS)
def test_the_place_is_read_and_never_predicted(overrides: str) -> None:
    model = waltzer(overrides).model
    rng = np.random.default_rng(1)
    tokens = torch.from_numpy(rng.integers(0, 3, (5, 7, 4)))
    other = tokens.clone()
    other[:, :-1, 3] += 12
    with torch.no_grad():
        logits = model(tokens[:, :-1], tokens[:, -1])
        assert [part.shape[-1] for part in logits] == list(model.sizes)
        for one, two in zip(logits, model(other[:, :-1], tokens[:, -1]), strict=True):
            assert not torch.equal(one, two)
        # Whether the target's place is given or not.
        for one, two in zip(logits, model(tokens[:, :-1], tokens[:, -1, :3]), strict=True):
            assert torch.equal(one, two)


# Composing


@pytest.mark.slow
@pytest.mark.parametrize("unit", list(TimeUnit))
@pytest.mark.parametrize("overrides", KINDS)
def test_composing_reads_the_places_of_the_written_piece(overrides: str, unit: TimeUnit) -> None:
    # From the event before the first bar line of the waltz, and in the middle of a bar.
    for first in (0, 7):
        player = waltzer(overrides, first, waltz(unit))
        composition = player.generate(events=80)
        composed_places = written_places(composition)
        primer_places = piece_classes(waltz())[first : first + 6]
        places = np.concatenate([primer_places, composed_places])
        expected = read_again(player, places, composition.classes)
        assert composition.classes[6:].tolist() == expected
        # Other places would draw another piece.
        assert read_again(player, (places + 6) % 36, composition.classes) != expected


def test_a_running_state_reads_the_places_too() -> None:
    player = waltzer("model=gru")
    composition = player.generate(events=80, mode="stateful")
    places = np.concatenate([piece_classes(waltz())[4:10], written_places(composition)])
    assert composition.classes[6:].tolist() == read_again(player, places, composition.classes, stateful=True)


def test_the_primer_in_the_piece_changes_nothing_that_is_drawn() -> None:
    player = waltzer()
    one, other = player.generate(events=40), player.generate(events=40, include_primer=True)
    assert np.array_equal(one.classes, other.classes)
    # The first event's own wait counts from the piece's start.
    assert written_places(other).tolist()[6:] == written_places(one).tolist()


def test_a_continued_file_goes_on_in_its_bar(midi_file: Callable[..., Path]) -> None:
    messages: list[Any] = [mido.MetaMessage("time_signature", numerator=3, denominator=4, time=0)]
    messages += [mido.Message("note_on", note=60 + k % 5, velocity=40 + 40 * (k % 2), time=240) for k in range(11)]
    path = midi_file([messages])
    player = waltzer()
    composition = player.generate(events=40, continue_from=path)
    places = written_places(composition)
    begun = len(places) - 40
    tail = slice(begun - 6, None)
    expected = read_again(player, places[tail], composition.classes[tail])
    assert composition.classes[begun:].tolist() == expected


def test_a_primer_of_unknown_place_ends_on_a_bar_line() -> None:
    player = waltzer()
    composition = player.generate(events=40, primer=player.origin.primer)
    times = np.asarray(player.vocabulary.time_values)[player.origin.primer.numpy()[:, 2]]
    later = times.sum() - np.cumsum(times)
    places = np.floor(12 * ((0.005 - later) % 3)).astype(int)
    places = np.concatenate([places, written_places(composition)])
    assert composition.classes[6:].tolist() == read_again(player, places, composition.classes)
    assert len(player.generate(events=40, primer="none").piece.events) == 40


@pytest.mark.slow
@pytest.mark.parametrize("overrides", KINDS)
@pytest.mark.parametrize("mode", ["window", "stateful"])
def test_a_piece_does_not_depend_on_those_composed_with_it(overrides: str, mode: str) -> None:
    if mode == "stateful" and "transformer" in overrides:
        pytest.skip("has no running state")
    player = waltzer(overrides)
    player.model.float()
    sampling = compose(f"sampling.mode={mode}", "sampling.events=70").sampling
    few, many = (player.compose(dataclasses.replace(sampling, n=n), 0) for n in (2, 9))
    for one, other in zip(few, many[:2], strict=True):
        assert np.array_equal(one.classes, other.classes)


def test_a_beam_of_one_takes_the_likeliest_events() -> None:
    player = waltzer()
    greedy = player.generate(events=30, method="greedy")
    assert np.array_equal(player.generate(events=30, method="beam", beams=1).classes, greedy.classes)
    wide = player.generate(events=30, method="beam", beams=4)
    assert not np.array_equal(wide.classes, greedy.classes)


@pytest.mark.slow
def test_live_plays_what_is_composed() -> None:
    player = waltzer()
    config = compose_live(events=30)
    pitches = [pitch for pitch, _, _ in composed(player, config)]
    assert pitches == player.generate(events=30).piece.events.pitch.tolist()


def compose_live(**changes: Any) -> LiveConfig:
    values = dataclasses.asdict(compose().sampling) | changes
    return LiveConfig(**values, run="", checkpoint="best", seed=0, primer=None, port=None)


# A run


@pytest.mark.slow
def test_a_run_trains_composes_and_is_scored(tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=1", "trainer.threads=1", "trainer.progress_bar=false", "model.hidden_size=8")
    config = compose(
        "encoding=score",
        "model.bar_position=true",
        *quick,
        "sampling.events=20",
        "sampling_grid.pieces=0",
        "logging.sample_media=false",
        "data.batch_size=90",
    )
    summary = start(config, tmp_path / "run")
    player = Composer.load(tmp_path / "run")
    assert player.model.bar_position
    found = evaluate(player, context=ContextConfig(windows=50, longest=None))
    assert summary["status"] == "completed"
    # The same windows by two ways: the run's summary, and composer evaluate.
    assert found["loss/test"] == pytest.approx(summary["best"]["loss/test"], rel=1e-5)
    assert found["accuracy/test"] == pytest.approx(summary["best"]["accuracy/test"])
    probed = found["context"]["test"]
    assert probed["lengths"][-1] == 30
    assert probed["stateful"]["loss"] > 0


def test_places_follow_each_other_piece_by_piece() -> None:
    tokens = np.zeros((120, 3), np.uint8)
    found = with_bars(ArrayTokens(tokens), ReadPieces([waltz(), waltz()]))[:]
    assert found.dtype == np.uint8
    assert found[:60, 3].tolist() == found[60:, 3].tolist() == piece_classes(waltz()).tolist()
    assert not found[:, :3].any()
