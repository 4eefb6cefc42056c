"""A headless Chromium for tests of pages, where Playwright and Chromium are installed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def in_browser(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs the fixture `browser`."""
    for mark in (
        pytest.mark.slow,
        pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
        # Playwright leaves its driver's pipes to the garbage collector.
        pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    ):
        test = mark(test)
    return test


def axe_violations(page: Any) -> list[str]:
    """What axe-core finds on a page: the rule, how often, and the first element. Skips where it is not installed."""
    axe = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']} {len(one['nodes'])}: {one['nodes'][0]['html'][:200]}" for one in found]


def wait_until(page: Any, condition: str) -> None:
    """Asks again and again; Playwright's own way needs `eval`, which the page's policy forbids."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)
