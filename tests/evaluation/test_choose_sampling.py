"""The setting that a run chooses at its end: what is tried, which is nearest, where it is kept, what overrides it."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import composer
from composer import cli
from composer.commands.train import resume, start
from composer.composing.composer import Composer, drawn_at
from composer.composing.setting import Setting, read_setting, write_setting
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.evaluation.choose_sampling import Trial, choose, nearest, settings
from composer.reporting.run_tables import drawn
from composer.runs import checkpoint as ckpt

QUICK = (
    *("model.hidden_size=8", "data.window_size=10", "data.batch_size=64", "trainer.max_epochs=2", "trainer.threads=1"),
    *("trainer.progress_bar=false", "sampling.events=60", "logging.sample_every_epochs=null"),
    "logging.sample_media=false",
)


def quick(*overrides: str) -> Any:
    return compose(*QUICK, *overrides)


def trial(temperature: float, top_p: float, distance: float | None, copied: float | None = 0.0) -> Trial:
    return Trial(Setting(temperature, top_p), distance, copied)


# What is tried, and which is taken


@pytest.mark.slow
def test_only_what_is_null_is_tried() -> None:
    grid = dataclasses.replace(compose().sampling_grid, temperatures=[0.9, 1.0], top_p=[1.0, 0.8])
    tried = {
        (): [(0.9, 1.0), (0.9, 0.8), (1.0, 1.0), (1.0, 0.8)],
        ("sampling.temperature=0.7",): [(0.7, 1.0), (0.7, 0.8)],
        ("sampling.top_p=0.95",): [(0.9, 0.95), (1.0, 0.95)],
        ("sampling=article",): [],
        ("sampling=bold",): [],
        ("sampling.method=greedy",): [],
    }
    for overrides, expected in tried.items():
        assert settings(compose(*overrides).sampling, grid) == [Setting(*values) for values in expected]
    assert settings(compose().sampling, dataclasses.replace(grid, pieces=0)) == []


def test_nearest_setting_is_chosen_and_ties_go_to_the_article() -> None:
    assert nearest([trial(0.8, 1.0, 0.3), trial(1.0, 0.9, 0.1), trial(1.0, 1.0, 0.2)], None) == trial(1.0, 0.9, 0.1)
    equal = [trial(0.8, 1.0, 0.1), trial(1.0, 0.9, 0.1), trial(1.0, 1.0, 0.1)]
    assert nearest(equal, None) == equal[2]
    assert nearest([trial(0.8, 1.0, None), trial(1.0, 1.0, 0.4)], None) == trial(1.0, 1.0, 0.4)
    assert nearest([trial(0.8, 1.0, None)], 0.5) is None


def test_setting_that_copies_too_much_is_not_chosen() -> None:
    copies, keeps = trial(0.8, 0.9, 0.1, copied=0.7), trial(1.0, 1.0, 0.3, copied=0.45)
    assert nearest([copies, keeps], 0.4) == keeps
    assert nearest([copies, keeps], 0.65) == copies
    # Where all copy too much, the least.
    assert nearest([copies, keeps], 0.1) == keeps
    # Without held-out music there is no limit.
    assert nearest([copies, keeps], None) == copies


class Fixed:
    """A reference that says one distance after the other."""

    held_out_split = "test"

    def __init__(self, distances: list[float | None]) -> None:
        self.distances, self.lengths = iter(distances), []

    def copying(self, pieces: Any) -> Any:
        self.lengths += [len(piece.events) >= 20 for piece in pieces]
        return SimpleNamespace(composed={"interval_8": 0.2}, held_out={"interval_8": 0.3})

    def distance(self, pieces: Any) -> float | None:
        return next(self.distances)


def test_each_setting_composes_and_the_nearest_is_chosen(trained: Path) -> None:
    player = Composer.load(trained)
    sampling = dataclasses.replace(player.config.sampling, events=20)
    grid = dataclasses.replace(player.config.sampling_grid, pieces=3, temperatures=[0.8, 1.0], top_p=[1.0, 0.9])
    reference = Fixed([0.4, 0.2, 0.1, 0.3])
    choice = choose(player, sampling, grid, reference)  # type: ignore[arg-type]
    assert choice is not None
    assert choice.setting == Setting(1.0, 1.0)
    assert [one.distance for one in choice.trials] == [0.4, 0.2, 0.1, 0.3]
    assert reference.lengths == [True] * 12
    assert (choice.held_out, choice.copied) == ("test", 0.3)
    assert choose(player, sampling, grid, Fixed([None] * 4)) is None  # type: ignore[arg-type]


def test_grid_pieces_equal_those_composed_with_the_setting(trained: Path) -> None:
    player = Composer.load(trained)
    short = dataclasses.replace(player.config.sampling, n=2, events=30)
    each = [Setting(0.7, 1.0), Setting(1.0, 0.9)]
    made = player.compose_each(short, each, 5)
    for pieces, setting in zip(made, each, strict=True):
        asked = dataclasses.replace(short, temperature=setting.temperature, top_p=setting.top_p)
        expected = player.compose(asked, 5)
        assert [piece.classes.tolist() for piece in pieces] == [piece.classes.tolist() for piece in expected]


# Where it is kept, and what overrides it


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    start(quick(), folder)
    return folder


def test_a_run_says_keeps_and_uses_what_it_chose(trained: Path) -> None:
    node = json.loads((trained / "summary.json").read_text())["sampling"]
    rows = [(row["temperature"], row["top_p"]) for row in node["grid"]]
    assert rows == [(t, p) for t in (0.8, 0.9, 1.0) for p in (1.0, 0.95, 0.9)]
    assert node["held_out"] == "test"
    chosen = Setting.from_plain(node)
    (best,) = [row for row in node["grid"] if Setting.from_plain(row) == chosen]
    assert best["distance"] == min(row["distance"] for row in node["grid"])
    assert read_setting(trained) == chosen
    player = composer.load(trained).composer
    assert player.setting == chosen
    (sample,) = (trained / "samples").glob("*.mid")
    again = trained / "again.mid"
    player.generate(events=60, temperature=chosen.temperature, top_p=chosen.top_p).save(again)
    assert again.read_bytes() == sample.read_bytes()


def test_a_checkpoint_alone_composes_as_its_run(trained: Path, tmp_path: Path) -> None:
    write_setting(trained, Setting(0.6, 0.7))
    alone = tmp_path / "some.ckpt"
    shutil.copy(trained / "checkpoints" / "best.ckpt", alone)
    chosen = Setting.from_plain(json.loads((trained / "summary.json").read_text())["sampling"])
    assert composer.load(alone).setting == chosen
    # A person may change the file of the run directory.
    assert composer.load(trained).setting == Setting(0.6, 0.7)
    write_setting(trained, chosen)


def test_older_checkpoint_composes_at_temperature_1_uncut(trained: Path, tmp_path: Path) -> None:
    values = ckpt.load(trained / "checkpoints" / "best.ckpt")
    values["composer"].pop("sampling", None)
    ckpt.save(tmp_path / "old.ckpt", values)
    player = composer.load(tmp_path / "old.ckpt")
    assert player.setting == Setting(1.0, 1.0)
    explicit = player.generate(events=30, temperature=1.0, top_p=1.0).classes
    assert np.array_equal(player.generate(events=30).classes, explicit)


def test_arguments_override_the_runs_setting_each_for_itself(trained: Path) -> None:
    player = composer.load(trained).composer
    player.setting = Setting(0.5, 0.6)

    def classes(**arguments: float) -> list[list[int]]:
        return player.generate(events=40, **arguments).classes.tolist()  # type: ignore[arg-type]

    assert classes() == classes(temperature=0.5, top_p=0.6)
    assert classes(temperature=1.0) == classes(temperature=1.0, top_p=0.6)
    assert classes(top_p=1.0) == classes(temperature=0.5, top_p=1.0)
    assert classes() != classes(temperature=1.0, top_p=1.0)


@pytest.mark.slow
def test_the_command_says_what_it_draws_with(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_setting(trained, Setting(0.7, 0.95))
    lines = {
        (): "sampled at temperature 0.7, top_p 0.95 (temperature and top_p of the run)",
        ("sampling=article",): "sampled at temperature 1, no cut",
        ("temperature=0.9",): "sampled at temperature 0.9, top_p 0.95 (top_p of the run)",
        ("top_p=1",): "sampled at temperature 0.7, no cut (temperature of the run)",
    }
    for number, (overrides, line) in enumerate(lines.items()):
        assert cli.run("generate", [str(trained), "events=10", f"output=out{number}", *overrides]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == line
    write_setting(trained, Setting.from_plain(json.loads((trained / "summary.json").read_text())["sampling"]))


@pytest.mark.parametrize("text", ["{", '{"temperature": 0, "top_p": 1}', '{"temperature": 1}', '{"top_p": "x"}'])
def test_a_damaged_setting_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "sampling.json").write_text(text)
    with pytest.raises(ComposerError, match=r"^.*sampling\.json: damaged [^\n]*$"):
        read_setting(tmp_path)


def test_a_method_that_draws_nothing_is_named(trained: Path) -> None:
    config = compose("run=x", "method=beam", command="generate")
    assert drawn_at(composer.load(trained), config).startswith("method=beam, temperature ")
    assert config.method == "beam"


@pytest.mark.slow
def test_a_preset_is_kept_as_the_config_and_nothing_is_tried(tmp_path: Path) -> None:
    summary = start(quick("sampling=bold", "trainer.max_epochs=1"), tmp_path / "run")
    bold = Setting.of(compose("sampling=bold").sampling)
    assert summary["sampling"] == bold.to_plain()
    assert not (tmp_path / "run" / "sampling.json").exists()
    assert composer.load(tmp_path / "run").setting == bold
    assert drawn(summary["sampling"]) == []


@pytest.mark.slow
def test_a_resumed_run_chooses_again_or_takes_what_is_given(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    resume(str(run), ["sampling.temperature=0.5", "sampling.top_p=1"])
    assert not (run / "sampling.json").exists()
    assert composer.load(run).setting == composer.load(run / "checkpoints" / "best.ckpt").setting == Setting(0.5, 1.0)
    resume(str(run), ["sampling.temperature=null", "sampling_grid.temperatures=[0.9]"])
    assert json.loads((run / "sampling.json").read_text()) == {"temperature": 0.9, "top_p": 1.0}


@pytest.mark.slow
def test_validation_music_decides_where_it_is_kept_apart(tmp_path: Path) -> None:
    summary = start(quick("data.split=blocked", "trainer.max_epochs=1"), tmp_path / "run")
    assert summary["sampling"]["held_out"] == "val"
    assert summary["quality"]["split"] == "test"


def test_the_line_at_the_end_names_the_nearest_and_the_articles() -> None:
    rows = [trial(1.0, 1.0, 0.31, 0.2).to_plain(), trial(0.9, 0.95, 0.18, 0.412).to_plain()]
    node = {**Setting(0.9, 0.95).to_plain(), "held_out": "test", "copied_held_out": 0.5, "grid": rows}
    assert drawn(node) == [
        "sampled at   temperature 0.9, top_p 0.95, of 2 settings the one whose trial pieces are nearest to held-out "
        "music, test: distance 0.18, 41% copied (temperature 1, no cut: distance 0.31, 20% copied)"
    ]
    assert "nearest to training music" in drawn(node | {"held_out": None})[0]


def test_an_exported_network_composes_as_its_run(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "shared.safetensors"
    assert cli.run("export", [f"run={trained}", f"output={path}"]) == 0
    assert composer.load(path).setting == composer.load(trained).setting
