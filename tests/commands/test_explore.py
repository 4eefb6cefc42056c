"""`composer explore`: every figure worked by hand on small files, the pages, and that none of it needs torch."""

import dataclasses
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from composer import cli
from composer.commands.explore import run
from composer.config.compose import compose
from composer.data.prepare import load_data
from composer.explore.histograms import Histogram, Panel, bars, draw, equal_bins, equal_ratios, whole_numbers
from composer.explore.measure import Coverage, Exploration, Repeat, explore
from composer.explore.report_text import text

Build = Callable[..., Path]


def notes(*messages: tuple[int, int, int]) -> list[mido.Message]:
    """(ticks, pitch, velocity) each; at 120 beats a minute and 500 ticks a beat a tick is a millisecond."""
    return [mido.Message("note_on", time=time, note=note, velocity=velocity) for time, note, velocity in messages]


def explored(path: Path, *overrides: str) -> Exploration:
    given = ("data=midi", f"data.path={path}", "encoding=article", *overrides)
    config = compose(*given, command="explore")
    return explore(config.data, config.encoding, config.seed)


@pytest.fixture
def piece(midi_file: Build) -> Path:
    """Ten events, four of them simultaneous with the one before."""
    track = notes(
        (0, 60, 90), (0, 64, 80), (100, 60, 0), (0, 64, 0), (100, 62, 90),
        (0, 20, 90), (100, 62, 0), (0, 20, 0), (300, 67, 1), (1100, 67, 0),
    )  # fmt: skip
    return midi_file([track], division=500)


# Histograms


def test_whole_numbers_have_a_bin_each() -> None:
    counts = np.bincount([3, 5, 5, 6, 9])
    assert whole_numbers(counts, 3, 6) == Histogram([2.5, 3.5, 4.5, 5.5, 6.5], [1, 0, 2, 1])


def test_bins_of_one_width_and_of_one_ratio_hold_the_extremes() -> None:
    values = np.array([1.0, 2.0, 5.0, 100.0])
    counts = np.array([1, 5, 1, 2])
    assert equal_bins(values, counts, 3) == Histogram([1.0, 34.0, 67.0, 100.0], [7, 0, 2])
    by_ratio = equal_ratios(values, counts, 2)
    assert by_ratio.edges == pytest.approx([1, 10, 100])
    assert by_ratio.counts == [7, 2]
    assert equal_ratios(np.array([7.0]), np.array([2]), 5) == Histogram([7.0, 7.0], [2])


@given(
    values=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50),
    bins=st.integers(1, 60),
    make=st.sampled_from([equal_bins, equal_ratios]),
)
def test_every_value_is_in_some_bin(values: list[float], bins: int, make: Callable[..., Histogram]) -> None:
    found = make(*np.unique(values, return_counts=True), bins)
    assert sum(found.counts) == len(values)
    assert (found.edges[0], found.edges[-1]) == (min(values), max(values))
    assert len(found.edges) == len(found.counts) + 1
    assert found.edges == sorted(found.edges)


def test_bars_are_as_high_as_their_counts() -> None:
    assert bars([8, 4, 0, 1], "low", "high", rows=1) == [
        "       8 │████████▄▄▄▄▄▄▄▄        ▁▁▁▁▁▁▁▁",
        "         └────────────────────────────────",
        "          low                         high",
    ]
    # In two lines of eighths; a single event among thousands is still seen.
    assert bars([1000, 500, 1], "0", "9", rows=2) == [
        "   1,000 │████████",
        "         │████████████████▁▁▁▁▁▁▁▁",
        "         └────────────────────────",
        "          0                      9",
    ]


@given(counts=st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_bars_fit_80_columns_and_show_what_occurs(counts: list[int]) -> None:
    lines = bars(counts, "1,234.5", "1,234,567.8")
    assert len(lines) == 7
    assert max(len(line) for line in lines) <= 80
    bottom = lines[-3].partition("│")[2]
    # Where anything occurs there is some character, and nothing elsewhere.
    assert bool(bottom.strip()) == any(counts)
    assert all(0 <= ord(c) - 0x2581 < 8 for line in lines[:5] for c in line.partition("│")[2] if c != " ")


# Figures


def test_the_figures_of_a_small_piece(piece: Path) -> None:
    found = explored(piece, "data.window_size=2")
    assert (found.pieces, found.events, found.strikes) == (1, 10, 5)
    assert found.length == pytest.approx(1.7)
    note, velocity, time = (found.channels[name] for name in ("note", "velocity", "time"))
    assert (note.low, note.high, note.distinct, note.commonest) == (20, 67, 5, (20, 2))
    assert note.histogram is not None
    assert len(note.histogram.counts) == 48
    assert (velocity.zeros, velocity.low, velocity.high, velocity.distinct) == (5, 1, 90, 3)
    assert velocity.commonest == (90, 3)
    assert (time.zeros, time.distinct) == (5, 3)
    assert [time.low, time.high, *(time.commonest or ())] == pytest.approx([100, 1100, 100, 3])
    # 20 lies below the article's pitches: nothing can be trained on, so the classes are of all events.
    assert found.coverage["note"] == Coverage(89, 4, 24, 112, 2, 0)
    assert found.coverage["velocity"] == Coverage(128, 4, 0, 127, 0, 0)
    assert [line.partition(": ")[2].split(";")[0] for line in found.unusable] == [
        "its pitches 20..67 leave the encoding's range 24..112"
    ]
    assert found.fitted_to == "all events"
    assert found.split == {"split": "shuffled", "error": "no piece can be trained on"}
    assert found.leak == []


def test_the_time_classes_and_their_error_worked_by_hand(piece: Path) -> None:
    found = explored(piece, "encoding.time_bins=2", "data.window_size=2")
    # Intervals of 500 ms from 100: 100 three times and 300, nothing, and the largest alone.
    rows = [(row.number, row.events) for row in found.time_classes]
    assert rows == [(0, 5), (1, 4), (2, 0), (3, 1)]
    one, two = found.time_classes[1], found.time_classes[2]
    assert [one.lower, one.upper, one.mean, one.decoded, one.error_mean, one.error_max] == pytest.approx(
        [100, 600, 150, 150, 75, 150]
    )
    assert (two.lower, two.upper, two.decoded) == pytest.approx((600, 1100, 850))
    assert (two.mean, two.error_mean, two.error_max) == (None, None, None)
    assert found.time_classes[3].upper is None
    assert (found.time_error_mean, found.time_error_max) == pytest.approx((60, 150))


def test_the_encoding_is_the_one_that_training_would_have(midi_file: Build) -> None:
    # A long rest in the held-out middle, beyond what the classes were fitted to.
    track = notes(*((100 + 10 * (k % 3) if k != 50 else 4000, 60 + k % 5, 64 * (k % 2 == 0)) for k in range(100)))
    path = midi_file([track], division=500)
    overrides = ["data.window_size=5", "data.split=blocked"]
    found = explored(path, *overrides)
    config = compose("data=midi", f"data.path={path}", "encoding=article", *overrides)
    music = load_data(config.data, config.encoding, config.seed)
    assert found.fitted_to == "the training events"
    assert [row.decoded for row in found.time_classes] == pytest.approx(
        [value * 1000 for value in music.vocabulary.time_values]
    )
    time = found.coverage["time"]
    assert (time.low, time.high) == pytest.approx((100, 120))
    assert (time.below, time.above) == (0, 1)
    assert found.time_error_max == pytest.approx(4000 - 120)
    assert found.sha256 == music.sha256
    assert found.split == {
        "split": "blocked",
        "groups": 1,
        "copies": 0,
        "near_copies": 0,
        "named_copies": 0,
        "alike": [],
        "windows_train": len(music.splits.train),
        "windows_val": len(music.splits.val),
        "windows_test": len(music.splits.test),
        "leak_rate": music.leak.by_index,
        "leak_rate_content": music.leak.by_content,
        "leak_rate_transposed": music.leak.by_transposition,
    }
    assert "times beyond those of the training events" in text(found)


def test_repeats_are_counted_within_each_piece(midi_file: Build, tmp_path: Path) -> None:
    # a b c a b c d, and the first three a fifth higher: 10 events; the other piece repeats nothing.
    first = notes(*((100, pitch, 64) for pitch in (60, 62, 65, 60, 62, 65, 70, 67, 69, 72)))
    midi_file([first], name="two/a.mid", division=500)
    midi_file([notes((100, 60, 64), (100, 62, 64), (100, 61, 64))], name="two/b.mid", division=500)
    found = explored(tmp_path / "two", "data.window_size=2", "data.test_fraction=0")
    # Of 9 + 2 pairs ab and bc occur twice; up to transposition ab, bc also at 67, and so do ca (-5) and no other.
    assert found.repeats[0].events == 2
    assert found.repeats[0] == Repeat(2, 11, 4 / 11, 6 / 11)
    # Of 7 runs of four none, so that longer ones are ignored.
    assert [row.events for row in found.repeats] == [2, 4]
    assert (found.repeats[1].runs, found.repeats[1].exact, found.repeats[1].transposed) == (7, 0.0, 0.0)


def test_a_piece_without_positive_times_or_strikes_is_reported(midi_file: Build) -> None:
    found = explored(midi_file([notes(*((0, 60, 64) for _ in range(40)))]), "data.window_size=5")
    assert found.channels["time"].histogram is None
    assert "none above 0; 40 simultaneous (0)" in text(found)


@pytest.mark.parametrize("split", ["shuffled", "by_piece"])
def test_a_large_corpus_has_the_figures_of_a_small_one(
    midi_file: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    rng = np.random.default_rng(0)
    for k in range(6):
        pitches = rng.integers(20 if k == 5 else 40, 80, 60)
        track = notes(*((int(rng.integers(0, 9)) * 50, int(p), 64 * (j % 2 == 0)) for j, p in enumerate(pitches)))
        midi_file([track], name=f"songs/{k}.mid", division=500)
    (tmp_path / "songs" / "bad.mid").write_bytes(b"no music")
    overrides = [f"data.split={split}", "data.window_size=5", f"data.cache={tmp_path}"]
    small, direct = (explored(tmp_path / "songs", *overrides, f"data.store={store}") for store in ("auto", "off"))
    assert direct == small
    assert (small.pieces, len(small.unusable), len(small.skipped)) == (6, 1, 1)
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 100)
    monkeypatch.setattr("composer.explore.measure._MAX_REPEAT_EVENTS", 130)
    large = explored(tmp_path / "songs", *overrides)
    assert large.repeats_of == 2
    assert "of 2 of the 6 pieces, drawn by the seed" in text(large)
    if split == "by_piece":
        assert [row.decoded for row in large.time_classes] == pytest.approx([row.decoded for row in small.time_classes])
        assert (large.split, large.coverage) == (small.split, small.coverage)
    assert (large.channels, large.unusable, large.skipped) == (small.channels, small.unusable, small.skipped)


# The report


def test_the_report_fits_80_columns(piece: Path, tmp_path: Path) -> None:
    folder = piece.rename(tmp_path / ("a long name " * 12 + ".mid"))
    for overrides in ([], ["encoding=full", "data.window_size=2", "encoding.time_unit=beats"]):
        lines = text(explored(folder, *overrides)).splitlines()
        assert max(map(len, lines)) <= 80
    config = compose(command="explore")
    lines = text(explore(config.data, config.encoding, config.seed)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "windows    810 train, 91 val, 107 test (data.split=shuffled)" in lines
    assert "leak       100.0% of the val targets also occur in a training window" in lines


@pytest.mark.parametrize(
    ("split", "meaning"),
    [
        ("shuffled", "gaps in training passages are filled"),
        ("blocked", "passages that training has not seen"),
    ],
)
def test_the_report_says_what_the_leak_means(split: str, meaning: str) -> None:
    config = compose(f"data.split={split}", command="explore")
    assert meaning in " ".join(explore(config.data, config.encoding, 0).leak)


# What is written


@pytest.mark.slow
def test_the_folder_holds_figures_pages_and_events(piece: Path, tmp_path: Path) -> None:
    config = compose("data=midi", f"data.path={piece}", "encoding=full", "data.window_size=2", command="explore")
    folder = run(dataclasses.replace(config, output=str(tmp_path / "out")))
    pages = {f"{channel}.{form}" for channel in ("note", "velocity", "time") for form in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == pages | {"explore.json", "events.out.tfevents.000000"}
    for name in pages:
        content = (folder / name).read_bytes()
        if name.endswith("png"):
            assert content.startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(content).tag.endswith("svg")

    figures = json.loads((folder / "explore.json").read_text())
    assert figures == json.loads(json.dumps(dataclasses.asdict(explore(config.data, config.encoding, 0))))
    assert set(figures["split"]) >= {"windows_train", "leak_rate", "leak_rate_transposed"}

    accumulator = EventAccumulator(str(folder), {TENSORS: 0}).Reload()
    assert set(accumulator.Tags()["tensors"]) == {"note", "velocity", "time", "time/logarithmic"}
    assert set(accumulator.Tags()["images"]) == {"note", "velocity", "time"}
    metadata = accumulator.SummaryMetadata("velocity")
    assert metadata.plugin_data.plugin_name == "histograms"
    (event,) = accumulator.Tensors("velocity")
    rows = np.frombuffer(event.tensor_proto.tensor_content).reshape(-1, 3)
    assert rows[0].tolist() == [0.5, 1.5, 1.0]
    assert rows[:, 2].sum() == 5


@pytest.mark.slow
def test_the_same_music_gives_the_same_pages() -> None:
    panel = Panel(Histogram([0.5, 1.5, 2.5], [3, 4]), "values", marks=[1.0], marks_label="here")
    for form in ("png", "svg"):
        # The font of a page lacks some letters, and a dollar does not begin a formula.
        one, two = (draw("$a name$, and 曲", [panel, panel], form) for _ in range(2))
        assert one == two


@pytest.mark.parametrize("log", [False, True])
def test_a_single_value_can_be_drawn(log: bool) -> None:
    assert draw("one", [Panel(Histogram([7.0, 7.0], [2]), "values", log=log)], "png")


TORCHLESS = """
import sys
from composer import cli
status = cli.run("explore", ["data=midi", "data.path=" + sys.argv[1], "data.window_size=2", "encoding=full"])
print(status, sorted({"torch", "pytorch_lightning"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_explore_needs_no_torch(piece: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS, str(piece)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    # What a slow machine waits for.
    assert [line for line in done.stderr.splitlines() if not line.endswith(" ...")] == []
    assert "fontManager" not in done.stdout
    (folder,) = (tmp_path / "outputs" / "explore").iterdir()
    assert done.stdout.splitlines()[-2] == f"written to outputs/explore/{folder.name}"


def test_a_folder_that_cannot_be_written_is_one_line(
    piece: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert cli.run("explore", ["data=midi", f"data.path={piece}", "output=file/below"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "composer explore: file: a file, not a folder; choose another name"
