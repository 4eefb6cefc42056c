"""A headless Chromium for tests of pages, where Playwright and Chromium are installed."""

import shutil
from collections.abc import Callable
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


def wait_until(page: Any, condition: str) -> None:
    """Asks again and again; Playwright's own way needs `eval`, which the page's policy forbids."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)
