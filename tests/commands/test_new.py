"""`composer new`: its project trains, sweeps, composes and passes its own test; a mistake is one line."""

import csv
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from composer import cli
from composer.commands import new
from composer.errors import ComposerError

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("folder", "module"),
    [
        ("my-lab", "my_lab"),
        ("My Lab 2.0", "my_lab_2_0"),
        ("_private_", "private"),
        ("2026 study", "project_2026_study"),
        # A keyword, modules of Python and of the environment, folders of the project, experiments of ours.
        ("class", "class_project"),
        ("random", "random_project"),
        ("Torch", "torch_project"),
        ("composer", "composer_project"),
        ("conf", "conf_project"),
        ("best", "best_project"),
        ("l1", "l1_project"),
    ],
)
def test_module_is_named_after_the_folder_and_free(folder: str, module: str) -> None:
    assert new.module_name(folder) == module


@pytest.mark.parametrize(("folder", "words"), [("...", "a letter from a to z"), ("x" * 50, "at most 40 characters")])
def test_folder_without_a_usable_name_is_refused(folder: str, words: str) -> None:
    with pytest.raises(ComposerError, match=words):
        new.module_name(folder)


@pytest.mark.parametrize("name", ["a", "my_lab", "project_with_a_name_as_long_as_the_limit_allows"])
def test_rendered_project_is_formatted_and_complete(name: str, tmp_path: Path) -> None:
    for path, text in new.rendered(name).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        assert "$" not in text
        assert "NAME" not in text
    about = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert about["project"]["entry-points"]["composer.plugins"] == {name: name}
    for group in ("experiment", "ablation"):
        assert yaml.safe_load((tmp_path / "conf" / group / f"{name}.yaml").read_text())["plugins"] == [name]
    assert len((tmp_path / "README.md").read_text().splitlines()) <= 14
    rules = ("--select", "E,F,I,UP,B,D,PT,W", "--config", 'lint.pydocstyle.convention = "google"', "--no-cache")
    python(tmp_path, "ruff", "check", *rules, ".")
    python(tmp_path, "ruff", "format", "--check", "--no-cache", ".")


def test_new_prints_files_and_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run("new", ["work/my-lab"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("work/my-lab: a project with the plugin my_lab\n")
    files = {path.relative_to("work/my-lab").as_posix() for path in Path("work").rglob("*") if path.is_file()}
    assert files == {path.replace("NAME", "my_lab") for path in new.FILES.values()}
    assert all(f"\n  {file} " in out for file in files)
    assert "\n  cd work/my-lab\n  composer train --config-dir conf experiment=my_lab\n" in out
    assert max(map(len, out.splitlines())) <= 100


def test_new_in_the_current_folder_keeps_its_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert cli.run("new", ["."]) == 0
    assert "  cd " not in capsys.readouterr().out
    assert (tmp_path / "here" / "here.py").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ([], 2, "name the folder: composer new FOLDER"),
        (["a", "b"], 2, "b: one folder at a time: composer new FOLDER"),
        (["--force", "a"], 2, "--force: there is no such flag; composer new FOLDER"),
        (["full"], 1, "full: is not empty (it holds notes.txt); choose a new folder"),
        (["full/notes.txt"], 1, "full/notes.txt: a file, not a folder; choose another name"),
        (["full/notes.txt/lab"], 1, "full/notes.txt: a file, not a folder; choose another name"),
        (["..."], 1, "...: no module can be named after it; choose a name with a letter from a to z"),
    ],
)
def test_what_new_cannot_make_is_one_line(
    arguments: list[str],
    status: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert cli.run("new", arguments) == status
    assert capsys.readouterr() == ("", f"composer new: {line}\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "notes.txt"]


def test_help_of_new_says_what_it_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("new", ["--help"]) == 0
    assert capsys.readouterr().out == f"{new.USAGE}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    python(folder, "composer.cli", "new", "my-lab")
    return folder / "my-lab"


SMALL = ("trainer.max_epochs=1", "trainer.progress_bar=false", "sampling_grid.pieces=0", "logging.sample_media=false")


@pytest.mark.slow
def test_new_project_trains_and_composes_at_once(project: Path) -> None:
    train = ("train", "--config-dir", "conf", "experiment=my_lab", *SMALL, "hydra.run.dir=run")
    assert "regularizer my_lab_lasso 0.0001" in python(project, "composer.cli", *train, "regularizer.groups=columns")
    python(project, "composer.cli", "generate", "run", "plugins=my_lab", "events=20", "output=pieces")
    assert len(list((project / "pieces").glob("*.mid"))) == 1


@pytest.mark.slow
def test_new_project_sweeps_and_compares(project: Path) -> None:
    sweep = ("train", "-m", "--config-dir", "conf", "ablation=my_lab", "seed=0", "hydra.sweep.dir=sweep")
    printed = python(project, "composer.cli", *sweep, *SMALL)
    assert "regularizer=my_lab_lasso against regularizer=none" in printed
    rows = list(csv.DictReader((project / "sweep" / "compare" / "runs.csv").read_text().splitlines()))
    assert len(rows) == 2


@pytest.mark.slow
def test_tests_of_a_new_project_pass(project: Path) -> None:
    assert "3 passed" in python(project, "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_new_project_is_a_plugin_when_installed(project: Path, tmp_path: Path) -> None:
    pip = ("pip", "install", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    python(project, *pip, "--target", str(tmp_path / "installed"), ".")
    path = os.pathsep.join([str(ROOT), str(tmp_path / "installed")])
    command = [sys.executable, "-m", "composer.cli", "train", "regularizer=my_lab_lasso", "--cfg", "job"]
    environment = ENVIRONMENT | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert "groups: rows" in done.stdout, done.stderr
