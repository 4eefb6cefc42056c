"""Wheel and source distribution hold all that is needed, and work from an empty folder without the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import composer
from composer.config import paths

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
FOLDERS = ("composer", "conf", "scripts", "tests", "docs", "benchmarks", "requirements", ".github")
FILES = (
    "pyproject.toml",
    "lstm_composer.py",
    "README.md",
    "README.zh-CN.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    ".gitignore",
)


def python(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source distribution and of the wheel that was built from it.

    They are built from a copy, so that nothing is written into the checkout. Files that a checkout in use has, and that
    must not get in, are added to the copy.
    """
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "outputs/train/run/README.md",
        "build/lib/composer/cli.py",
        "dist/old.whl",
        ".venv/lib/README.md",
        "composer/__pycache__/cli.cpython-311.pyc",
        "notes.txt",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    python("-m", "build", "--no-isolation", "--outdir", str(folder), str(source), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("lstm_composer-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    python(*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=target)
    return target


def test_the_tests_run_against_the_checkout() -> None:
    """An editable install has a copy of conf/ in site-packages from the day it was made: it must not be used."""
    assert Path(composer.__file__).parent == ROOT / "composer"
    assert paths.CONF_DIR == ROOT / "conf"
    assert not (ROOT / "composer" / "conf").exists()


@pytest.mark.slow
def test_wheel_holds_every_module_and_config_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
        configs_alike = {
            name: archive.read(name) == (ROOT / name.removeprefix("composer/")).read_bytes()
            for name in files
            if name.startswith("composer/conf/")
        }
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "composer").rglob("*.py")}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "composer/render/page").iterdir()}
    pages |= {
        "composer/corpus/chorales.csv",
        "composer/corpus/jsb_chorales.csv",
        "composer/py.typed",
        "lstm_composer.py",
    }
    pages |= {
        path.relative_to(ROOT).as_posix()
        for folder in ("pretrained", "project")
        for path in (ROOT / "composer" / folder).rglob("*")
        if path.is_file()
    }
    yaml = {f"composer/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert "composer/conf/train.yaml" in yaml
    code = {name for name in files if ".dist-info/" not in name}
    assert code == modules | yaml | pages
    assert all(configs_alike.values())
    (info,) = {name.split("/")[0] for name in files - code}
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= files


@pytest.mark.slow
def test_installed_wheel_trains_and_composes(installed: Path, tmp_path: Path) -> None:
    # -P: the current folder is not searched; PYTHONPATH comes before the editable install of the checkout.
    environment = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import composer, composer.config.compose as c; print(composer.__file__, c.CONF_DIR, sep='\\n')"
    module, conf = python("-P", "-c", where, cwd=tmp_path, **environment).splitlines()
    assert Path(module) == installed / "composer" / "__init__.py"
    assert Path(conf) == installed / "composer" / "conf"

    overrides = [
        "trainer.max_epochs=1",
        "model.hidden_size=4",
        "sampling.events=20",
        "sampling_grid.pieces=0",
        "logging.sample_media=false",
        "trainer.progress_bar=false",
    ]
    python("-P", "-m", "composer.cli", "train", *overrides, "trainer.threads=1", cwd=tmp_path, **environment)
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    found = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    assert {"config.yaml", "manifest.json", "summary.json", "metrics.csv", "checkpoints/best.ckpt"} <= found
    assert "samples/train-seed0-000.mid" in found
    assert '"git": null' in (run / "manifest.json").read_text()

    generated = python("-P", "-m", "composer.cli", "generate", f"run={run}", "events=20", cwd=tmp_path, **environment)
    assert (tmp_path / generated.split("  ")[0]).read_bytes().startswith(b"MThd")
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}

    package = {path: path.stat().st_mtime_ns for path in (installed / "composer").rglob("*")}
    generated = python("-P", "-m", "composer.cli", "generate", "events=20", cwd=tmp_path, **environment)
    assert (tmp_path / generated.split("  ")[0]).name == "pretrained-seed0-000.mid"
    assert "composer train data=midi" in generated
    made = python("-P", "-m", "composer.cli", "new", "lab", cwd=tmp_path, **environment)
    assert made.startswith("lab: a project with the plugin lab\n")
    assert {path: path.stat().st_mtime_ns for path in (installed / "composer").rglob("*")} == package


@pytest.mark.slow
def test_an_installed_wheel_has_its_commands(installed: Path, tmp_path: Path) -> None:
    bin = installed / "bin"
    for command in ([str(bin / "composer")], [str(bin / "lstm-composer")], ["-m", "composer"]):
        assert python("-P", *command, "--version", cwd=tmp_path, PYTHONPATH=str(installed)) == (
            f"composer {composer.__version__}\n"
        )


@pytest.mark.slow
def test_package_data_is_found_through_importlib(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files; "
        "print([files('composer').joinpath(name).is_file() for name in "
        "('py.typed', 'conf/train.yaml', 'render/page/page.html', 'corpus/chorales.csv')])"
    )
    assert python("-P", "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)) == "[True, True, True, True]\n"


@pytest.mark.slow
def test_sdist_holds_the_sources_and_no_outputs(built: Path) -> None:
    (path,) = built.glob("lstm_composer-*.tar.gz")
    with tarfile.open(path) as archive:
        top = path.name.removesuffix(".tar.gz")
        found = {member.name.removeprefix(f"{top}/"): member.size for member in archive if member.isfile()}
    sources = {
        file.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert set(found) == sources | set(FILES) | {"PKG-INFO"}
    # Figures of the docs and the lock file are the largest; no music, no runs.
    assert max(found.values()) < 1_000_000
    found = {name: size for name, size in found.items() if not name.startswith("composer/pretrained/")}
    assert not {Path(name).suffix for name in found} & {".mid", ".ckpt", ".wav", ".pyc", ".npz"}


def both(installed: Path, folder: Path, replaced: tuple[str, ...]) -> Path:
    """Copy an installation, with files of MosaicML's package as pip leaves them when it is installed too."""
    shutil.copytree(installed, folder)
    for name in ("core/event.py", "cli/__init__.py", *replaced):
        (folder / "composer" / name).parent.mkdir(exist_ok=True)
        (folder / "composer" / name).write_text("import a_dependency_of_mosaicml\n")
    return folder


def refusal(*arguments: str, cwd: Path, path: Path) -> str:
    """Return the one line with which a command ends."""
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-P", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.slow
def test_mosaicml_installed_before_is_named_in_one_line(installed: Path, tmp_path: Path) -> None:
    folder = both(installed, tmp_path / "both", ())
    for command in (["-m", "composer"], [str(folder / "bin" / "composer")], [str(folder / "bin" / "lstm-composer")]):
        line = refusal(*command, "--version", cwd=tmp_path, path=folder)
        assert line.startswith("composer: MosaicML's package composer is installed")


@pytest.mark.slow
def test_mosaicml_installed_afterwards_is_named_too(installed: Path, tmp_path: Path) -> None:
    # It replaces the command `composer` as well; in an editable install only the files, of a folder that comes first.
    folder = both(installed, tmp_path / "both", ("__init__.py", "__main__.py"))
    for command in ("lstm-composer", "composer"):
        line = refusal(str(folder / "bin" / command), "--version", cwd=tmp_path, path=folder)
        assert line.startswith("composer: MosaicML's package composer is installed")
        assert str(folder / "composer") in line


@pytest.mark.slow
def test_files_removed_with_mosaicml_are_named(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "removed"
    shutil.copytree(installed, folder)
    for name in ("__init__.py", "__main__.py", "py.typed"):
        (folder / "composer" / name).unlink()
    # -S: without the editable install of the checkout.
    line = refusal("-S", str(folder / "bin" / "lstm-composer"), "--version", cwd=tmp_path, path=folder)
    assert line.startswith(f"composer: files of lstm-composer are missing ({folder / 'composer'})")
    assert line.endswith("pip uninstall lstm-composer, then install it again")


def test_every_extra_that_is_named_exists() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "composer").rglob("*.py")]
    text = "\n".join(page.read_text() for page in pages)
    named = {name for names in re.findall(r"pip install '[^'\[]*\[([^\]]+)\]'", text) for name in names.split(",")}
    # Chosen when the message is printed, or a placeholder of the README.
    chosen = {name for name in named if name.startswith("{")} | {"NAME"}
    assert named - chosen <= extras
    assert {"score", "audio", "onnx", "live", "music21", "safetensors", "wandb"} <= named
    # No other name of the distribution, and the README lists every extra.
    assert set(re.findall(r"pip install '([^'\[]*)\[", text)) == {"lstm-composer", "."}
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{extra}`" in readme for extra in extras)


def test_classifiers_name_the_pythons_that_are_allowed() -> None:
    versions = {found[1] for c in PROJECT["project"]["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", c))}
    assert versions == {"3.11", "3.12", "3.13"}
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
