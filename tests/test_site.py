"""The documentation site builds without warnings, and its links, search, players and reference of the API are there."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import composer
from composer.errors import ComposerError
from tests.browser import axe_violations, in_browser, wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))

from website.links import faults  # noqa: E402
from website.sources import Site, from_notebook, site_of, write_sources  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(package, reason="pip install 'lstm-composer[docs]'")
    # The processes of pytest-xdist share one build: their folders have the same parent.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "index.html").exists():
            build(folder)
    return folder


def build(folder: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "docs.py"), "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(folder / "index.html") in done.stdout


@pytest.mark.slow
def test_the_site_has_every_page_and_no_link_to_nowhere(site: Path) -> None:
    pages = {page.rpartition(".")[0] for page in site_of(ROOT).pages.values()}
    assert {"models", "zh/index", "changelog", "security", "examples/first_piece"} <= pages
    assert [page for page in pages if not (site / f"{page}.html").is_file()] == []
    assert faults(site) == []


@pytest.mark.slow
def test_the_reference_has_every_exported_name(site: Path) -> None:
    text = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    names = [f"composer.{name}" for name in composer.__all__ if not name.startswith("_")]
    assert [name for name in names if f'id="{name}"' not in text] == []
    assert 'id="composer.testing.check_model"' in text
    assert 'id="composer.config.limits.between"' in text


@pytest.mark.slow
def test_the_gallery_plays_the_prelude_without_training(site: Path) -> None:
    assert '<iframe class="player" src="players/prelude.html"' in (site / "gallery.html").read_text()
    assert "The pretrained run" in (site / "gallery.html").read_text()
    assert (site / "players" / "pretrained.html").stat().st_size > 1_000_000
    player = (site / "players" / "prelude.html").read_text()
    assert "BWV 846" in player
    assert "<svg" in player


@pytest.mark.slow
def test_chinese_pages_say_so_and_their_pairs_are_indexed(site: Path) -> None:
    assert 'lang="zh-CN"' in (site / "zh" / "index.html").read_text()
    assert 'lang="en"' in (site / "index.html").read_text()
    index = (site / "searchindex.js").read_text()
    terms = json.loads(index[index.index("{") : index.rindex("}") + 1])["titleterms"]
    assert "入门" in terms


@in_browser
def test_the_search_works_from_disk_in_both_languages(site: Path, browser: Any) -> None:
    page = browser.new_page()
    expected = {"temperature": "Composing", "入门": "入门", "check_model": "composer.testing.check_model"}
    expected |= {"held-out block": "Glossary", "data.split": "composer.DataConfig.split"}
    for query, title in expected.items():
        page.goto(f"{(site / 'search.html').as_uri()}?q={query}")
        wait_until(page, "document.querySelector('.search-summary')?.innerText.startsWith('Search finished')")
        assert title in page.evaluate("[...document.querySelectorAll('ul.search a')].map(a => a.innerText)")
    page.close()


@in_browser
@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_the_screen(site: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    for path in sorted(path for path in site.rglob("*.html") if "players" not in path.parts):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    page.close()


@in_browser
@pytest.mark.parametrize("name", ["models", "api/tasks", "gallery"])
def test_axe_finds_nothing_on_the_pages_of_the_site(site: Path, browser: Any, name: str) -> None:
    page = browser.new_page()
    page.goto((site / f"{name}.html").as_uri())
    # The player is checked by its own tests; axe cannot look into a frame of another file.
    page.evaluate("document.querySelectorAll('iframe').forEach(frame => frame.remove())")
    assert axe_violations(page) == []
    page.close()


@pytest.fixture
def small(tmp_path: Path) -> Site:
    for name in ("README.md", "conf/train.yaml", "docs/data.md", "docs/zh/index.md", "docs/images/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pages = {"docs/data.md": "data.md", "docs/zh/index.md": "zh/index.md", "CHANGELOG.md": "changelog.md"}
    return Site(tmp_path, pages, None)


@pytest.mark.parametrize(
    ("source", "text", "made"),
    [
        ("docs/zh/index.md", "[data.md](../data.md#splits)", "[](../data.md#splits)"),
        ("docs/zh/index.md", "![A](../images/a.png)", "![A](../images/a.png)"),
        ("docs/zh/index.md", "[the `data`](../data.md)", "[the `data`](../data.md)"),
        ("docs/data.md", "[the\nREADME](../README.md)", "[the\nREADME](index.md)"),
        ("docs/data.md", "see [a config](../conf/train.yaml).", "see a config."),
        ("docs/data.md", "[x](https://example.org) [y](#here)", "[x](https://example.org) [y](#here)"),
        ("docs/data.md", "`[a](b.md)` docs/other.md", "`[a](b.md)` docs/other.md"),
        ("docs/data.md", "```text\n[a](b.md)\n```\n", "```text\n[a](b.md)\n```\n"),
        ("CHANGELOG.md", "said in docs/data.md.", "said in [](data.md)."),
    ],
)
def test_links_are_rewritten_for_the_site(small: Site, source: str, text: str, made: str) -> None:
    assert small.rewrite(source, text) == made


def test_a_link_to_no_page_leads_to_the_repository(small: Site) -> None:
    known = Site(small.root, small.pages, "https://example.org/us/it")
    made = known.rewrite("docs/data.md", "[a](../conf/train.yaml) [b](../conf)")
    assert (
        made == "[a](https://example.org/us/it/blob/HEAD/conf/train.yaml) [b](https://example.org/us/it/tree/HEAD/conf)"
    )


def test_a_link_to_a_missing_file_is_refused(small: Site) -> None:
    with pytest.raises(ComposerError, match=r"docs/data.md: the link gone.md leads to no file"):
        small.rewrite("docs/data.md", "[a](gone.md)")


def test_a_page_that_no_section_lists_is_refused(tmp_path: Path) -> None:
    found = site_of(ROOT)
    less = Site(ROOT, {source: page for source, page in found.pages.items() if page != "glossary.md"}, None)
    with pytest.raises(ComposerError, match=r"nav.toml: there is no page glossary"):
        write_sources(less, tmp_path / "less", "")
    more = Site(ROOT, found.pages | {"LICENSE": "other.md"}, None)
    with pytest.raises(ComposerError, match=r"nav.toml: no section lists the page other"):
        write_sources(more, tmp_path / "more", "")


def test_the_address_of_the_repository_is_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCS_REPOSITORY", raising=False)
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    assert site_of(ROOT).repository == urls.get("Repository")
    monkeypatch.setenv("DOCS_REPOSITORY", "https://example.org/us/it/")
    assert site_of(ROOT).repository == "https://example.org/us/it"


def test_a_notebook_becomes_text_and_code() -> None:
    cells = [{"cell_type": "markdown", "source": ["# A\n", "b"]}, {"cell_type": "code", "source": ["x = 1"]}]
    assert from_notebook(json.dumps({"cells": cells})) == "# A\nb\n\n```python\nx = 1\n```\n"


def test_what_a_site_lacks_or_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1>')
    (tmp_path / "site.css").write_text("@import 'https://example.org/a.css'; a { background: url(b.png) }")
    (tmp_path / "index.html").write_text(
        '<a href="other.html#here">a</a> <a href="https://example.org">b</a> <img src="data:image/png;base64,x">'
        '<a href="gone.html">c</a> <a href="other.html#gone">d</a> <a href="http://example.org">e</a>'
        '<img src="gone.png"> <script src="https://example.org/x.js"></script> <a href="../x.html">f</a>'
    )
    assert faults(tmp_path) == [
        "index.html: ../x.html leaves the site",
        "index.html: gone.html leads to no file",
        "index.html: gone.png leads to no file",
        "index.html: http://example.org is not https",
        "index.html: loads https://example.org/x.js",
        "index.html: other.html#gone leads to no anchor",
        "site.css: loads https://example.org/a.css",
    ]


def test_no_source_of_the_site_names_a_font_or_script_of_others() -> None:
    files = [path for path in (ROOT / "docs" / "site").rglob("*") if path.suffix in (".py", ".css", ".js")]
    assert len(files) == 4
    assert re.findall(r"https?://", "".join(path.read_text() for path in files)) == []
