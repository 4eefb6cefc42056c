"""Composing: sampling as pure functions, and pieces from a real run."""

import dataclasses
import inspect
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

import composer
from composer.commands.generate import run
from composer.commands.train import start
from composer.composing.composer import Composer
from composer.composing.sampling import Sample, choose, cuts, draw, probabilities
from composer.config.compose import compose
from composer.config.sampling import Ending, SamplingConfig
from composer.errors import ComposerError
from composer.music.events import add_releases
from composer.music.notes import notes_of
from composer.nets.build import build_model
from composer.runs import checkpoint as ckpt
from tests.references import compose_window


def sampling(**changes: object) -> SamplingConfig:
    return dataclasses.replace(compose().sampling, **{"events": 40, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    quick = ("model.hidden_size=8", "trainer.max_epochs=1", "trainer.threads=1", "trainer.progress_bar=false")
    start(
        compose(
            *quick, "data.batch_size=90", "sampling.events=20", "sampling_grid.pieces=0", "logging.sample_media=false"
        ),
        folder,
    )
    return folder


def stuck_or_impossible(path: Path) -> list[str]:
    """What is wrong with a MIDI file's notes; empty when nothing is."""
    wrong, sounding = [], set()
    for message in mido.MidiFile(path).tracks[0]:
        if message.time < 0:
            wrong.append(f"negative time {message}")
        if message.type == "note_on" and message.velocity:
            if message.note in sounding:
                wrong.append(f"restarted {message}")
            sounding.add(message.note)
        elif message.type in ("note_on", "note_off"):
            if message.note not in sounding:
                wrong.append(f"silent released {message}")
            sounding.discard(message.note)
    return wrong + [f"stuck {note}" for note in sounding]


def test_probabilities_follow_temperature_top_k_and_top_p() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert probabilities(logits, 1.0, None, None).tolist()[0] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    squares = np.array([0.16, 0.09, 0.04, 0.01])
    assert probabilities(logits, 0.5, None, None).tolist()[0] == pytest.approx(squares / squares.sum())
    assert probabilities(logits, 1.0, 2, None).tolist()[0] == pytest.approx([4 / 7, 3 / 7, 0, 0])
    assert probabilities(logits, 1.0, None, 0.65).tolist()[0] == pytest.approx([4 / 7, 3 / 7, 0, 0])
    assert probabilities(logits, 1.0, None, 0.75).tolist()[0] == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0])
    assert probabilities(logits, 1.0, 1, 0.9).tolist()[0] == [1, 0, 0, 0]


def test_draw_inverts_the_cumulative_distribution() -> None:
    p = torch.tensor([[0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    drawn = [int(draw(p, torch.tensor([u], dtype=torch.float64))) for u in (0.0, 0.2, 0.25, 0.7, 0.75, 1 - 1e-16)]
    assert drawn == [0, 0, 2, 2, 3, 3]


def test_drawn_frequencies_are_the_probabilities() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(20_000, -1)
    uniform = torch.rand(20_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    events = choose(lambda k, event: logits, cuts(sampling()), uniform, Sample())
    for k in range(3):
        shares = torch.bincount(events[:, k], minlength=3) / 20_000
        # Four standard errors of a share of one half.
        assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=4 * (0.25 / 20_000) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "model.inputs=drop_velocity model.num_layers=2",
        "model.heads=chained",
        "model.embedding_size=3 model.inputs=drop_note",
        "model=gru model.num_layers=2 model.heads=chained",
        "model=gru model.embedding_size=3 model.inputs=shuffle_time",
        "model=transformer",
        "model=transformer model.heads=chained model.embedding_size=3 model.inputs=drop_time",
    ],
)
def test_the_window_slides_as_in_the_article(overrides: str) -> None:
    torch.manual_seed(0)
    config = compose("model.hidden_size=8", *overrides.split(), "model.hidden_size=8").model
    model = build_model(config, (5, 4, 3)).double().eval()
    primer = torch.randint(0, 3, (1, 6, 3))
    composed = compose_window(model, primer, sampling(), [torch.Generator().manual_seed(7)], 10)[0]

    # The slow way: read the last events anew, and draw one channel after the other.
    generator, notes = torch.Generator().manual_seed(7), primer[0].tolist()
    for _ in range(10):
        uniform = torch.rand(3, dtype=torch.float64, generator=generator)
        event = [0, 0, 0]
        for k in range(3):
            with torch.no_grad():
                hidden = model.encode(torch.tensor([notes[-6:]]))[:, -1]
                logits = model.heads(hidden, torch.tensor([event]))[k]
            event[k] = int(draw(probabilities(logits, 1.0, None, None), uniform[k, None]))
        notes.append(event)
    assert composed.tolist() == notes[6:]


@pytest.mark.slow
def test_a_chained_event_is_drawn_channel_by_channel() -> None:
    def channel(k: int, known: torch.Tensor) -> torch.Tensor:
        # The velocity is the note's class, the time the sum of both, for certain.
        certain = 1e9 * torch.nn.functional.one_hot(known[:, :k].sum(1), 5)
        return certain if k else torch.zeros(1, 5)

    for u in (0.1, 0.3, 0.5):
        event = choose(channel, cuts(sampling()), torch.full((1, 3), u, dtype=torch.float64), Sample())[0].tolist()
        assert event == [int(u * 5), int(u * 5), 2 * int(u * 5)]


def test_a_loaded_run_composes_the_same_piece_for_the_same_seed(trained: Path) -> None:
    player = composer.load(trained).composer
    one, same = player.generate(events=50, seed=3), player.generate(events=50, seed=3)
    other = player.generate(events=50, seed=4)
    assert np.array_equal(one.classes, same.classes)
    assert not np.array_equal(one.classes, other.classes)
    assert len(one.piece.events) == 50
    assert len(one.classes) == 80


def test_a_checkpoint_file_alone_is_enough(trained: Path, tmp_path: Path) -> None:
    moved = tmp_path / "some.ckpt"
    moved.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    expected = composer.load(trained).generate(events=20)
    assert np.array_equal(composer.load(moved).generate(events=20).classes, expected.classes)


def test_generate_writes_valid_files_that_a_seed_fixes(trained: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        overrides = (f"run={trained}", "n=3", "seed=5", "events=120", f"output={tmp_path / name}")
        paths = run(compose(*overrides, command="generate"))
        assert [path.name for path in paths] == [f"train-seed5-00{k}.mid" for k in range(3)]
        contents.append([path.read_bytes() for path in paths])
        assert [stuck_or_impossible(path) for path in paths] == [[], [], []]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 3


def test_files_have_the_tempo_division_and_program_of_the_source(trained: Path) -> None:
    file = mido.MidiFile(trained / "samples" / "train-seed0-000.mid")
    assert file.ticks_per_beat == 480
    assert [m.tempo for m in file.tracks[0] if m.type == "set_tempo"] == [833_333]
    assert [m.program for m in file.tracks[0] if m.type == "program_change"] == [0]


def test_a_notebook_gives_primers_as_files_offsets_or_classes(trained: Path, tmp_path: Path) -> None:
    player = composer.load(trained).composer
    file = mido.MidiFile()
    file.add_track().extend(mido.Message("note_on", note=60, velocity=v, time=240) for v in (64, 0) * 20)
    file.save(tmp_path / "long.mid")
    for primer in (tmp_path / "long.mid", str(tmp_path / "long.mid")):
        assert player.generate(events=2, primer=primer).classes[0, 0] == 60
    for offset in (0, 7):
        classes = player.generate(events=2, primer=f"{tmp_path / 'long.mid'}:{offset}").classes
        events = player.vocabulary.encode(player._read(tmp_path / "long.mid").events)
        assert np.array_equal(classes[:30], events[offset : offset + 30])
    with pytest.raises(ComposerError, match=r"long\.mid has \d+ events; a primer of 30 begins at 0 to "):
        player.primer(f"{tmp_path / 'long.mid'}:999")
    with pytest.raises(ComposerError, match=r"gone\.mid: not found"):
        player.primer(f"{tmp_path / 'gone.mid'}:3")
    assert np.array_equal(player.generate(events=2, primer=0).classes, player.generate(events=2).classes)
    with pytest.raises(ComposerError, match="beyond the vocabulary's sizes"):
        player.generate(events=2, primer=torch.full((30, 3), 200))
    with pytest.raises(ComposerError, match=r"^temperature=0: must be"):
        player.generate(temperature=0)


def test_length_in_seconds_is_kept(trained: Path) -> None:
    piece = composer.load(trained).generate(seconds=7.5).piece
    assert 0 < piece.seconds()[-1] <= 7.5


def test_default_primer_is_the_first_30_events(trained: Path) -> None:
    player = composer.load(trained).composer
    piece = player.generate(events=5, include_primer=True)
    assert len(piece.piece.events) == 35
    # The prelude begins C4 E4 G4 C5 E5, each struck before the first is released.
    struck = piece.piece.events.pitch[piece.piece.events.velocity > 0][:5]
    assert struck.tolist() == [60, 64, 67, 72, 76]


@pytest.mark.slow
def test_primer_offset_or_file_is_refused_when_too_short(trained: Path, tmp_path: Path) -> None:
    output = f"output={tmp_path / 'out'}"
    with pytest.raises(ComposerError, match="^primer=-3: must be a MIDI file, an offset from 0 on, or none$"):
        Composer.load(trained).primer("-3")
    pieces = []
    for primer in ((), ("primer=0",), ("primer=200",)):
        config = compose(f"run={trained}", "events=30", "include_primer=true", output, *primer, command="generate")
        pieces.append(run(config)[0].read_bytes())
    assert pieces[0] == pieces[1]
    assert pieces[0] != pieces[2]
    file = mido.MidiFile()
    file.add_track().extend(mido.Message("note_on", note=60, velocity=v, time=240) for v in (64, 0) * 20)
    file.save(tmp_path / "long.mid")
    run(compose(f"run={trained}", "events=5", output, f"primer={tmp_path / 'long.mid'}", command="generate"))
    del file.tracks[0][20:]
    file.save(tmp_path / "short.mid")
    short = compose(f"run={trained}", output, f"primer={tmp_path / 'short.mid'}", command="generate")
    with pytest.raises(ComposerError, match=r"short\.mid has 20 events; a primer needs 30"):
        run(short)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda values: values["composer"]["vocabulary"].pop("time_edges"), "vocabulary is damaged"),
        (lambda values: values["state_dict"].pop("model.linear.bias"), r"linear\.bias should be \(\d+,\) and is None"),
        (lambda values: values["composer"]["origin"].update(division=0), "timing is impossible"),
        (lambda values: values["composer"].update(config="a: [1"), "does not fit this version"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_gets_one_line(
    trained: Path, tmp_path: Path, damage: object, message: str
) -> None:
    values = ckpt.load(trained / "checkpoints" / "best.ckpt")
    damage(values)  # type: ignore[operator]
    ckpt.save(tmp_path / "bad.ckpt", values)
    with pytest.raises(ComposerError, match=message) as error:
        Composer.load(tmp_path / "bad.ckpt")
    assert "\n" not in str(error.value)


def test_a_run_without_a_best_checkpoint_says_what_to_do(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(ComposerError, match="checkpoint=last"):
        Composer.load(tmp_path)
    assert Composer.load(tmp_path, checkpoint="last").generate(events=3).classes.shape == (33, 3)


def messages_of(path: Path) -> list[tuple[float, int, int]]:
    """Every message of a file as seconds from the start, pitch, velocity."""
    found, now = [], 0.0
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on":
            found.append((round(now, 4), message.note, message.velocity))
    return found


@pytest.mark.slow
def test_same_seed_gives_same_bytes_for_any_number_of_pieces(trained: Path, tmp_path: Path) -> None:
    for mode in ("window", "stateful"):
        contents = {}
        for n in (1, 3, 70):
            overrides = (f"run={trained}", f"n={n}", f"mode={mode}", "events=40", "playable=true", "polyphony=4")
            paths = run(compose(*overrides, f"output={tmp_path / mode / str(n)}", command="generate"))
            contents[n] = [path.read_bytes() for path in paths]
        assert contents[1] == contents[70][:1]
        assert contents[3] == contents[70][:3]
        assert len(set(contents[70])) == 70


def test_a_primer_of_none_begins_with_nothing(trained: Path) -> None:
    player = composer.load(trained).composer
    piece = player.generate(events=40, primer="none", include_primer=True, playable=True)
    assert piece.classes.shape == (40, 3)
    # A piece that begins in silence begins with a strike.
    assert piece.piece.events.velocity[0] > 0
    assert len(player.generate(events=40, primer="none", mode="stateful").classes) == 40


@pytest.mark.slow
def test_a_continued_file_is_kept_and_goes_on(trained: Path, tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=96)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=750_000))
    track.append(mido.Message("program_change", program=40))
    # 41 messages, the last note not released yet.
    for k in range(41):
        track.append(mido.Message("note_on", note=60 + k // 2 % 5, velocity=(64 + k) if k % 2 == 0 else 0, time=24 + k))
    file.save(tmp_path / "mine.mid")
    overrides = (f"run={trained}", "n=2", f"continue_from={tmp_path / 'mine.mid'}", "events=33", "playable=true")
    paths = run(compose(*overrides, "ending=close", f"output={tmp_path / 'out'}", command="generate"))
    original = messages_of(tmp_path / "mine.mid")
    for path in paths:
        continued = messages_of(path)
        assert continued[:41] == original
        assert len(continued) > 60
        assert stuck_or_impossible(path) == []
        written = mido.MidiFile(path)
        assert written.ticks_per_beat == 96
        assert [m.program for m in written.tracks[0] if m.type == "program_change"] == [40]
    assert paths[0].read_bytes() != paths[1].read_bytes()
    in_python = composer.load(trained).generate(
        events=33, continue_from=tmp_path / "mine.mid", playable=True, ending="close"
    )
    in_python.save(tmp_path / "same.mid")
    assert (tmp_path / "same.mid").read_bytes() == paths[0].read_bytes()


def test_a_file_shorter_than_the_window_can_be_continued(trained: Path, tmp_path: Path) -> None:
    file = mido.MidiFile()
    file.add_track().extend(mido.Message("note_on", note=60, velocity=v, time=240) for v in (64, 0))
    file.save(tmp_path / "short.mid")
    piece = composer.load(trained).generate(events=10, continue_from=tmp_path / "short.mid")
    assert len(piece.piece.events) == 12


def test_a_closed_ending_is_composed_and_not_added(trained: Path, tmp_path: Path) -> None:
    player = composer.load(trained).composer
    for k, length in enumerate(({"events": 61}, {"seconds": 6.0})):
        piece = player.generate(**length, ending="close", playable=True, seed=k)  # type: ignore[arg-type]
        path = piece.save(tmp_path / "closed.mid")
        assert len(messages_of(path)) == len(piece.piece.events)
        assert piece.piece.seconds()[-1] <= length.get("seconds", 1e9)


def test_a_key_left_out_in_python_is_that_of_the_command(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, player = compose("run=x", command="generate"), composer.load(trained)
    used = []
    monkeypatch.setattr(Composer, "compose", lambda self, sampling, seed, primer: used.append(sampling) or [None])
    player.generate()
    player.generate(temperature=0.9, ending="close", note_top_k=3)
    keys = [field.name for field in dataclasses.fields(SamplingConfig)]
    assert dataclasses.asdict(used[0]) == {key: getattr(command, key) for key in keys}
    changed = {"temperature": 0.9, "ending": Ending.close, "note_top_k": 3}
    assert dataclasses.asdict(used[1]) == dataclasses.asdict(used[0]) | changed


def test_signature_of_generate_names_every_key_without_values() -> None:
    parameters = inspect.signature(Composer.generate).parameters
    keys = {field.name for field in dataclasses.fields(SamplingConfig)} - {"n"}
    assert set(parameters) == keys | {"self", "seed", "primer", "continue_from"}
    assert {repr(parameters[key].default) for key in keys} == {"<conf>"}
    command = compose("run=x", command="generate")
    for key in ("seed", "primer", "continue_from"):
        assert parameters[key].default == getattr(command, key)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "statefull"}, r"^mode=statefull: must be one of window, stateful"),
        ({"velocity_topk": 3}, r"^velocity_topk: no argument of generate; did you mean velocity_top_k\?$"),
        ({"events": "many"}, r"^events=many: must be from 1 to 1000000$"),
        ({"n": 2}, r"^n: no argument of generate"),
        ({"time_top_p": 0}, r"^time_top_p=0: must be null, or above 0 up to 1"),
        ({"scale": "H"}, r"^scale=H: must be null, a key such as"),
        ({"pitch_low": 80, "pitch_high": 70}, r"^pitch_high=70: must be null, or from 80 to 127"),
        ({"continue_from": "x.mid", "primer": 3}, r"^continue_from: used without primer"),
    ],
)
def test_a_notebooks_mistakes_are_named(trained: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ComposerError, match=message):
        composer.load(trained).generate(**arguments)  # type: ignore[arg-type]


def test_note_held_too_long_is_released_and_nothing_else() -> None:
    # 60 is forgotten, 64 is let go in time, 67 too late; 60 is struck again, and ends with the piece.
    rows = [(60, 80, 0.0), (64, 80, 0.5), (64, 0, 1.0), (67, 80, 0.5), (67, 0, 3.0), (60, 70, 0.5)]
    assert list(add_releases(rows, 2.5)) == [
        *rows[:4],
        (60, 0, 0.5),
        (67, 0, 2.0),
        (67, 0, 0.5),
        (60, 70, 0.5),
    ]
    # A release that comes just in time is not doubled.
    assert list(add_releases(rows, 6.0)) == rows
    # What is kept holds as long as it likes; then it ends.
    assert list(add_releases(rows, 1.0, kept=5)) == [*rows[:5], (60, 0, 0.0), rows[5]]


def test_written_notes_are_no_longer_than_training_notes(trained: Path, tmp_path: Path) -> None:
    player = Composer.load(trained)
    longest = player.origin.longest_note_seconds
    # The last chord of the piece.
    assert longest == pytest.approx(10 / 3, abs=1e-3)
    composition = player.generate(events=300)
    held = notes_of(composition.written).duration_seconds
    assert notes_of(composition.piece).duration_seconds.max() > longest + 1
    assert longest - 1e-6 < held.max() < longest + 1e-6
    assert not stuck_or_impossible(composition.save(tmp_path / "piece.mid"))
    assert len(composition.piece.events) == 300
    # With a rule on length nothing is added: what the network draws keeps to it.
    ruled = player.generate(events=300, max_note_seconds=3)
    assert ruled.written is ruled.piece
    assert notes_of(ruled.piece).duration_seconds.max() < 3 + 1e-6


def test_checkpoint_without_longest_note_composes_as_before(trained: Path, tmp_path: Path) -> None:
    values = ckpt.load(trained / "checkpoints" / "best.ckpt")
    del values["composer"]["origin"]["longest_note_seconds"]
    ckpt.save(tmp_path / "old.ckpt", values)
    composition = Composer.load(tmp_path / "old.ckpt").generate(events=300)
    assert composition.written is composition.piece
    assert (composition.classes == Composer.load(trained).generate(events=300).classes).all()
