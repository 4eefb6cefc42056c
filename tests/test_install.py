"""A wheel holds all that is needed, and works from an empty folder without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import composer
from composer.config import paths

ROOT = Path(__file__).resolve().parent.parent


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: nothing is written into the checkout, and nothing but these files can get in."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("composer", "conf", "tests", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--disable-pip-version-check", "--no-input")
    python(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(built), str(source), cwd=source)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "--disable-pip-version-check", "--no-input")
    python(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=target)
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
    pages = {"composer/render/player.html", "composer/corpus/chorales.csv", "composer/py.typed"}
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


@pytest.mark.slow
def test_an_installed_wheel_has_the_command(installed: Path, tmp_path: Path) -> None:
    command = str(installed / "bin" / "composer")
    assert python("-P", command, "--version", cwd=tmp_path, PYTHONPATH=str(installed)) == (
        f"composer {composer.__version__}\n"
    )


@pytest.mark.slow
def test_mosaicmls_package_beside_it_is_named_in_one_line(installed: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(installed, both)
    # As pip leaves it when this package was installed after the other one: its files, and the rest of the other's.
    (both / "composer" / "core").mkdir()
    (both / "composer" / "core" / "event.py").touch()
    (both / "composer" / "cli").mkdir()
    (both / "composer" / "cli" / "__init__.py").touch()
    for command in (["-m", "composer"], [str(both / "bin" / "composer")]):
        environment = os.environ | {"PYTHONPATH": str(both)}
        done = subprocess.run(
            [sys.executable, "-P", *command, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("composer: MosaicML's package composer is installed")
