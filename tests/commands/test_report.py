"""`composer report`: the page of a run and of a sweep, from runs that were trained for it."""

import html
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import mido
import pytest

from composer import cli
from composer.commands.report import _as_written, newest
from composer.composing.composer import Composer, Composition
from composer.composing.setting import Setting, write_setting
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.evaluation.reference import ReferenceMusic
from composer.files import read_json, write_json
from composer.music.events import prelude_piece
from composer.music.midi import read_piece, write_midi
from composer.runs.layout import METRICS, SUMMARY

PASSAGE = {"start": 0.0, "end": 1.0, "source": "a piece", "source_start": 65.2, "transposition": 0}
SMALL = [
    "trainer.max_epochs=2",
    "model.hidden_size=16",
    "trainer.threads=1",
    "sampling.events=20",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run below `outputs/train`."""
    folder = tmp_path_factory.mktemp("gallery")
    assert cli.run("train", [*SMALL, f"hydra.run.dir={folder}/outputs/train/one"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def players(page: str) -> list[tuple[str, dict[str, Any]]]:
    """Label and data of each player in the page."""
    found = re.findall(
        r'<article class="player" aria-label="([^"]*)".*?<script type="application/json">(.*?)</script>',
        page,
        re.DOTALL,
    )
    return [(label, json.loads(data)) for label, data in found]


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.slow
def test_the_newest_run_gets_a_page_that_plays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_setting(folder / "outputs/train/one", Setting(0.8, 0.9))
    assert cli.run("report", ["events=40", "temperatures=[0.5,0.8,1.0]"]) == 0
    assert capsys.readouterr().out == "page         outputs/train/one/report.html\n"
    page = (folder / "outputs/train/one/report.html").read_text()
    assert headings(page) == [
        "What it composes",
        "Beside the original",
        "Figures",
        "Curves",
        "Copying and quality",
        "What was trained",
        "Config",
    ]
    own, low, high = players(page)
    assert own[0] == "Temperature 0.8, top_p 0.9 (the run&#x27;s own)"
    assert [low[0], high[0]] == ["Temperature 0.5, top_p 0.9", "Temperature 1, top_p 0.9"]
    assert low[1]["notes"] != high[1]["notes"]
    # The training piece is a version of the first player.
    (original,) = own[1]["others"]
    assert (original["name"], len(original["notes"]) > 250) == ("Original", True)
    # The network is in the page.
    assert '<script type="application/json" id="network">' in page
    # What is played is what the network composes with that seed and temperature, cut as the run's own.
    piece = Composer.load(folder / "outputs/train/one").generate(events=40, temperature=0.5, seed=0).piece
    assert len(low[1]["notes"]) == int((piece.events.velocity > 0).sum())
    assert "data:image/png;base64," in page
    # Each accuracy stands beside the name of its split, and every key of the config is there.
    summary = json.loads((folder / "outputs/train/one" / SUMMARY).read_text())
    row = re.search(
        r"<td>val \(shuffled\)</td><td class=\"number\">[\d.]+</td><td class=\"number\">([\d.]+)</td>", page
    )
    assert row is not None
    assert float(row[1]) == pytest.approx(summary["accuracy/val"], abs=5e-4)
    assert "<td>regularizer.weight</td><td>1e-06</td>" in page


@pytest.mark.slow
def test_the_figures_of_the_pieces_are_in_words_and_per_cent(folder: Path) -> None:
    run = folder / "outputs/train/one"
    summary = read_json(run / SUMMARY)
    summary["quality"] |= {
        "composed": {"on_grid": 0.315, "polyphony": 3.0, "silence": 0.051},
        "training": {"on_grid": 0.89, "polyphony": 2.0, "silence": 0.05},
        "held_out": {"on_grid": 0.8, "polyphony": 1.5, "silence": 0.04},
        "distance": 1.24,
        "distance_among": 0.5,
        "distance_to": "held_out",
        "distance_by_figure": {"silence": 0.2, "on_grid": 3.6},
        "noise": "its notes are a surprise",
    }
    write_json(run / SUMMARY, summary)
    assert cli.run("report", [str(run), "events=30"]) == 0
    page = html.unescape((run / "report.html").read_text())
    assert "Distance of the composed pieces to held-out music: 1.2 (of held-out excerpts to each other: 0.5)." in page
    assert "Farthest: times between onsets that are multiples of 1/12 beat, 3.6; time when nothing sounds, 0.2." in page
    assert "What it composes is noise: its notes are a surprise." in page
    row = page[page.index("<td>times between onsets that are multiples of 1/12 beat (%)</td>") :]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row)[1:4] == ["32", "89", "80"]


@pytest.mark.slow
def test_a_record_without_the_newer_figures_has_a_page(folder: Path) -> None:
    run = folder / "outputs/train/one"
    summary = read_json(run / SUMMARY)
    old = {"composed": {"polyphony": 9.0}, "training": {"polyphony": 2.0}, "held_out": None, "collapse": None}
    summary["quality"] = old
    write_json(run / SUMMARY, summary)
    assert cli.run("report", [str(run), "events=30"]) == 0
    page = html.unescape((run / "report.html").read_text())
    assert "notes sounding at once, while any does (notes)" in page
    assert "istance to" not in page


@pytest.mark.slow
def test_the_same_run_gives_the_same_page(folder: Path) -> None:
    for name in ("a.html", "b.html"):
        assert cli.run("report", ["outputs/train/one", "events=30", f"output={name}"]) == 0
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()


@pytest.mark.slow
def test_pieces_of_the_training_are_shown_evenly(folder: Path) -> None:
    run = folder / "outputs/train/one"
    sample = next((run / "samples").glob("*.mid"))
    for epoch in range(1, 12):
        shutil.copy(sample, run / "samples" / f"epoch-{epoch:04d}.mid")
    assert cli.run("report", ["events=30"]) == 0
    labels = [label for label, _ in players((run / "report.html").read_text()) if label.startswith("Epoch")]
    assert labels == [f"Epoch {epoch}" for epoch in (1, 3, 5, 7, 9, 11)]


def test_a_run_that_did_not_end_still_has_a_page(folder: Path) -> None:
    run = folder / "outputs/train/one"
    (run / SUMMARY).unlink()
    shutil.rmtree(run / "checkpoints")
    assert cli.run("report", ["outputs/train/one"]) == 0
    page = (run / "report.html").read_text()
    assert "in training, or stopped" in page
    assert "run is not complete" in page
    assert players(page) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder; composer report takes a run's or a sweep's"),
        (["temperatures=[0]"], "temperatures=0.0: must be finite and above 0"),
        (["events=9999"], "events=9999: must be from 1 to 5000, which a page can hold"),
        (["tests"], "tests: holds no runs; composer train -m ablation=l1 makes a sweep to compare"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tests").mkdir()
    assert cli.run("report", arguments) == 1
    assert capsys.readouterr().err == f"composer report: {said}\n"


def test_without_any_run_the_way_to_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run("report", []) == 1
    assert capsys.readouterr().err.startswith(
        "composer report: outputs: contains no run yet; start one with composer train"
    )


def test_the_newest_is_the_one_whose_record_was_written_last(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "c", "a")):
        record = tmp_path / "train" / name / METRICS
        record.parent.mkdir(parents=True)
        record.write_text("")
        os.utime(record, (1000 - age, 1000 - age))
    assert newest(tmp_path) == tmp_path / "train" / "b"


@pytest.mark.slow
def test_the_arms_of_a_sweep_play_after_the_same_primer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arms = ["regularizer=none,l1", "seed=0", "hydra.sweep.dir=outputs/sweep/one"]
    assert cli.run("train", ["-m", *SMALL, *arms]) == 0
    primers = []
    generate = Composer.generate

    def spied(self: Composer, **arguments: Any) -> Composition:
        primers.append(arguments["primer"].classes.tolist())
        return generate(self, **arguments)

    monkeypatch.setattr(Composer, "generate", spied)
    piece = prelude_piece(TimeUnit.seconds)
    monkeypatch.setattr(ReferenceMusic, "passages", lambda reference, piece: [PASSAGE])
    assert cli.run("report", ["outputs/sweep/one", "events=30"]) == 0
    # The arms have the same classes: one primer, the beginning of the piece, whatever each has trained on.
    assert len(primers) == 2
    assert primers[0] == primers[1]
    assert [note for note, *_ in primers[0]] == piece.events.pitch[:30].tolist()
    page = (tmp_path / "outputs/sweep/one/report.html").read_text()
    assert [data["passages"][0]["source"] for _, data in players(page)] == [PASSAGE["source"]] * 2
    assert page.count("1 copied passage<") == 2
    assert headings(page) == [
        "What was trained",
        "What the numbers support",
        "The arms side by side",
        "Figures",
        "Tables",
    ]
    assert "<h1>Regularizer: none against l1, one seed each</h1>" in page
    assert "95 % interval" not in page
    assert [label for label, _ in players(page)] == ["regularizer=none", "regularizer=l1"]
    assert page.count("data:image/png;base64,") >= 3


@pytest.mark.slow
def test_what_stands_in_the_training_music_is_coloured(folder: Path) -> None:
    run = folder / "outputs/train/one"
    write_midi(run / "samples" / "epoch-0002.mid", prelude_piece(TimeUnit.seconds))
    assert cli.run("report", [str(run), "events=40", "temperatures=[1.0]"]) == 0
    data = dict(players((run / "report.html").read_text()))["Epoch 2"]
    first, second = data["passages"][:2]
    assert (first["start"], first["transposition"]) == (0, 0)
    assert first["source"] == "J. S. Bach: Prelude in C major, BWV 846"
    assert (first["from"], second["from"] is not None) == (0, True)
    coloured = [note for note in data["notes"] if first["start"] <= note["onset"] < first["end"]]
    assert len(coloured) > 200
    assert second["start"] >= first["end"]


def test_the_original_is_shown_part_by_part(tmp_path: Path) -> None:
    """A unison of two parts is two notes in the score, though it is one event of the merged music."""
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    for length in (480, 960):
        track = file.add_track()
        track.append(mido.Message("note_on", note=60, velocity=64))
        track.append(mido.Message("note_on", note=60, velocity=0, time=length))
    file.save(tmp_path / "two-hands.mid")
    data = compose("data=midi", f"data.path={tmp_path}").data
    piece = read_piece(tmp_path / "two-hands.mid", part="all")
    shown = _as_written(data, piece)
    assert shown is not None
    assert [(note.part, note.duration_beats) for note in shown.notes] == [(0, 1.0), (1, 2.0)]
    assert shown.title == "Two Hands"
    assert len(piece.events) == 2
    assert _as_written(compose().data, piece) is None
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "two-hands.mid", tmp_path / "again")
    assert _as_written(data, piece) is None
