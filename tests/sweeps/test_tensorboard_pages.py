"""What TensorBoard's pages show of a sweep, in a real browser; skipped where there is none.

Screenshots are left in `build/tensorboard`.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    # Playwright leaves its driver's pipes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
# Without the last three Chromium looks for its maker's servers.
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
ARTEFACTS = Path(__file__).resolve().parents[2] / "build" / "tensorboard"
QUICK = [
    "model.hidden_size=8",
    "trainer.max_epochs=4",
    "sampling.events=5",
    "sampling_grid.pieces=0",
    "logging.histogram_every_epochs=2",
]
QUICK += ["logging.sample_every_epochs=2", "logging.sample_events=40"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of two seeds."""
    folder = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "composer.cli", "train", "-m", "ablation=l1", "seed=0,1", *QUICK]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (made,) = folder.glob("outputs/l1/sweep-*")
    return made


@contextmanager
def tensorboard(folder: Path, runs: int) -> Iterator[str]:
    """A TensorBoard that has read so many runs; its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0", "--bind_all"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if " at http://" in line)
            address = f"http://localhost:{line.split(' at http://')[1].split('/')[0].rsplit(':', 1)[1]}"
            deadline = time.monotonic() + 60
            while len(fetch(f"{address}/data/runs")) < runs and time.monotonic() < deadline:
                time.sleep(0.2)
            yield address
        finally:
            process.kill()


def fetch(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def pages(sweep: Path) -> Iterator[Any]:
    """Opens a tab of TensorBoard on the sweep, and keeps a picture of it."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    with tensorboard(sweep, 9) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        def page(tab: str) -> Any:
            opened = browser.new_page(viewport={"width": 1500, "height": 1100})
            errors: list[str] = []
            opened.on("pageerror", lambda error: errors.append(str(error)))
            opened.goto(f"{address}/#{tab}")
            opened.wait_for_load_state("networkidle")
            opened.wait_for_timeout(3000)
            opened.screenshot(path=ARTEFACTS / f"{tab}.png")
            assert errors == []
            return opened

        yield page
        browser.close()


def test_scalars_name_the_runs_by_what_differs(pages: Any) -> None:
    page = pages("scalars")
    for name in ("regularizer-none_seed-0", "regularizer-l1_seed-1", "arms/regularizer-l1/val"):
        assert page.get_by_text(name, exact=True).first.is_visible()
    assert page.get_by_text("accuracy", exact=True).first.is_visible()


def test_custom_scalars_show_both_arms_in_one_chart(pages: Any) -> None:
    page = pages("custom_scalars")
    assert page.get_by_text("arms: mean over the seeds").first.is_visible()
    # Two arms, train and validation, in nine charts of means and two with bands; the four single runs in four charts.
    assert page.get_by_text("Matches (4)").count() == 9 + 2 + 4
    assert page.get_by_text("Matches (0)").count() == 0
    assert page.get_by_text("arms: mean and one standard deviation").first.is_visible()


def test_hparams_show_only_differing_keys_and_metrics(pages: Any, sweep: Path) -> None:
    page = pages("hparams")

    def column(name: str) -> float:
        # The name stands in the list on the left too.
        return max(item.bounding_box()["x"] for item in page.get_by_text(name, exact=True).all() if item.is_visible())

    columns = [column(name) for name in ("regularizer", "seed", "accuracy/test")]
    assert columns == sorted(columns)
    assert page.get_by_text("regularizer.weight").count() == page.get_by_text("augmentation").count() == 0
    sweep_id = sweep.name.removeprefix("sweep-")[:4]
    for name in ("none s0", "none s1", "l1 s0", "l1 s1"):
        cell = page.get_by_text(f"{name} {sweep_id}", exact=True).first
        assert cell.is_visible()
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), "not cut"
    assert page.get_by_text("hp_metric").count() == 0


def test_histograms_show_the_weights(pages: Any) -> None:
    assert pages("histograms").get_by_text("weights/linear.weight").first.is_visible()


def test_images_show_the_figures_of_the_comparison(pages: Any) -> None:
    page = pages("images")
    assert page.get_by_text("figures/curves").first.is_visible()
    assert page.locator("img").count() >= 1


def test_samples_are_seen_and_heard(pages: Any) -> None:
    page = pages("images")
    if not page.get_by_text("sample/score").first.is_visible():
        page.get_by_text("sample", exact=True).first.click()
    for tag in ("sample/piano_roll", "sample/score"):
        page.get_by_text(tag).first.wait_for()
    page = pages("audio")
    sounds = page.locator("audio")
    assert sounds.count() == 4
    for number in range(4):
        # Loaded and decoded, so that it can be played.
        sounds.nth(number).evaluate("sound => sound.readyState || new Promise(r => sound.onloadedmetadata = r)")
        assert sounds.nth(number).evaluate("sound => sound.duration") > 0


def test_a_hundred_runs_load_in_seconds(sweep: Path, tmp_path: Path) -> None:
    run = sweep / "regularizer-l1_seed-0"
    for number in range(100):
        (tmp_path / f"run-{number:03d}").mkdir()
        for file in run.glob("events.out.*"):
            shutil.copy(file, tmp_path / f"run-{number:03d}")
    started = time.monotonic()
    with tensorboard(tmp_path, 100) as address:
        assert len(fetch(f"{address}/data/runs")) == 100
    # Start-up of TensorBoard itself included; a generous limit for a busy machine.
    assert time.monotonic() - started < 60
