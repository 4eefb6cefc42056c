"""Sphinx's configuration of the site; `make docs` builds it (scripts/docs.py)."""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.search import languages
from sphinx.search.en import SearchEnglish

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

project = "composer"
author = "The composer developers"
project_copyright = author
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
# Anchors of headings as GitHub makes them, so that a link with an anchor works in both places.
myst_heading_anchors = 4
# A block without a language is no Python.
highlight_language = "text"

# Docstrings write code in single backticks.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"composer {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "static/icon.svg"
html_extra_path = os.environ.get("DOCS_EXTRA", "").split()
html_copy_source = False
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_show_sphinx = False
html_domain_indices = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

_HAN = "\u3400-\u9fff"


class Search(SearchEnglish):
    """The search in English, with pairs of Chinese characters as words: Chinese is written without spaces."""

    js_splitter_code = f"""
function splitQuery(query) {{
  const words = [];
  for (const part of query.match(/[{_HAN}]+|[^{_HAN}]+/g) || []) {{
    if (!/[{_HAN}]/.test(part)) words.push(...part.split(/[^\\p{{Letter}}\\p{{Number}}_]+/u).filter(Boolean));
    else if (part.length === 1) words.push(part);
    else for (let i = 0; i + 1 < part.length; i++) words.push(part.slice(i, i + 2));
  }}
  return words;
}}
"""

    def split(self, input: str) -> list[str]:
        """Return the words of a text, and of a run of Chinese each character and each pair."""
        words = []
        for part in re.findall(rf"[{_HAN}]+|[^\W{_HAN}]+", input):
            chinese = re.match(rf"[{_HAN}]", part) is not None
            words += [*part, *map("".join, zip(part, part[1:], strict=False))] if chinese else [part]
        return words


def _name_the_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if page.startswith("zh/"):
        context["language"] = "zh-CN"


_unread: dict[str, list[str]] = {}


def _keep(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    _unread[name] = list(lines)


def _read_as_prose(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Undo Napoleon for attributes: it takes the text before the first colon for the type."""
    if what in ("attribute", "property"):
        lines[:] = GoogleDocstring(_unread[name], app.config, app, "method", name, thing, options).lines()


def setup(app: Sphinx) -> None:
    """Add the search and the language of the Chinese pages."""
    languages["en"] = Search
    app.connect("autodoc-process-docstring", _keep, priority=100)
    app.connect("autodoc-process-docstring", _read_as_prose, priority=900)
    app.connect("html-page-context", _name_the_language)
