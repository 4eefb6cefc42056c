"""What several test files share."""

import copy
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import settings
from omegaconf import DictConfig

from composer import progress, registry
from composer.config import compose as composing
from composer.config import paths
from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig
from tests.browser import CHROMIUM

# The same examples every time, and no limit on how long one may take on a busy machine.
settings.register_profile("composer", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("composer")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="all repetitions, and the tests marked nightly")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make test-nightly` runs."""
    if not config.getoption("--nightly"):
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def repetitions(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Chooses between a number of repetitions for every run of the tests and one for `make test-nightly`."""
    return lambda usual, nightly: nightly if pytestconfig.getoption("--nightly") else usual


@pytest.fixture(scope="session", autouse=True)
def _no_waits() -> None:
    """On a busy machine a command says what it is doing, whose lines are compared here."""
    progress.PATIENCE = 1e6


@pytest.fixture(scope="session", autouse=True)
def _shared_configs() -> Iterator[None]:
    """Hydra takes 0.3 s for a config: tests of one process that compose the same one share it, each its own copy."""
    compose_node, known = composing.compose_node, dict[tuple[str, ...], DictConfig]()

    def cached(overrides: Iterable[str], command: str, conf: Path = composing.CONF_DIR) -> DictConfig:
        overrides = list(overrides)
        if conf != paths.CONF_DIR:  # a test's own, which it may change
            return compose_node(overrides, command, conf)
        key = (command, *overrides)
        if key not in known:
            known[key] = compose_node(overrides, command, conf)
        return copy.deepcopy(known[key])

    composing.compose_node = cached
    yield
    composing.compose_node = compose_node


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stores of tests lie in a folder of their own, for the processes that tests start too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real MIDI files beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


@pytest.fixture(scope="session")
def data_config() -> Callable[..., DataConfig]:
    """Makes the default `data` group with changes."""
    default = compose().data
    values = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}
    return lambda **changes: registry.keys("data", changes.get("source", "prelude"))(**(values | changes))


@pytest.fixture(scope="session")
def encoding_config() -> Callable[..., EncodingConfig]:
    """Makes the article's `encoding` group with changes."""
    default = compose("encoding=article").encoding
    return lambda **changes: dataclasses.replace(default, **changes)


@pytest.fixture
def midi_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes tracks of mido messages as a MIDI file and gives its path."""

    def build(
        tracks: Sequence[Sequence[Any]], *, name: str = "piece.mid", file_type: int = 1, division: int = 480
    ) -> Path:
        file = mido.MidiFile(type=file_type, ticks_per_beat=division)
        file.tracks.extend(mido.MidiTrack(track) for track in tracks)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save(path)
        return path

    return build


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for tests marked with `tests.browser.in_browser`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()
