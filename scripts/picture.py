"""The picture of a run's page in the README: `python scripts/picture.py REPORT.html docs/images/report.png`.

Needs Chromium and the package playwright.
"""

import shutil
import sys
from pathlib import Path

SECONDS = 4.3  # into the piece, so that something sounds
WIDTH, HEIGHT = 1000, 760


def main(page: Path, picture: Path) -> None:
    """Open a page of `composer report`, go into its first piece and take a picture of that player."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("scripts/picture.py: needs Chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(page.absolute().as_uri())
        heading = tab.get_by_role("heading", name="What it composes")
        heading.scroll_into_view_if_needed()
        player = tab.locator("article.player").first
        player.locator("svg g.note").first.wait_for()
        seek = player.locator("input.seek")
        seek.evaluate(
            "(bar, to) => { bar.value = to; bar.dispatchEvent(new Event('input', {bubbles: true})); }", SECONDS
        )
        heading.evaluate("element => window.scrollTo(0, element.getBoundingClientRect().top + window.scrollY - 12)")
        tab.wait_for_timeout(1000)
        tab.screenshot(path=str(picture))
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python scripts/picture.py REPORT.html PICTURE.png")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
