"""The Chinese pages keep in step with the English ones: the same headings, commands and tables."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAIRS = [
    ("README.md", "README.zh-CN.md"),
    *((f"docs/{name}.md", f"docs/zh/{name}.md") for name in ("start", "article", "sweep", "compose")),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# .*")
# A row of figures that a benchmark writes carries a remark in the English page alone.
_REMARK = re.compile(r"^(<!-- .* -->|\*\d.*\*)$")


def parts(page: str) -> dict[str, list[str]]:
    """Return what must be equal in both versions of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = _FENCE.sub("", text)
    lines = [line for line in prose.split("\n") if not _REMARK.match(line)]
    return {
        "levels of headings": re.findall(r"(?m)^(#+) ", "\n".join(lines)),
        "code": [kind + _COMMENT.sub("", code) for kind, code in _FENCE.findall(text)],
        "columns of tables": [str(line.count("|")) for line in lines if line.startswith("|")],
        "list items": [str(len(line) - len(line.lstrip())) for line in lines if re.match(r" *(-|\d\.) ", line)],
        "pictures": re.findall(r"!\[[^\]]*\]\(([^)]*)\)", prose),
    }


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_chinese_page_keeps_step_with_english(english: str, chinese: str) -> None:
    theirs, ours = parts(english), parts(chinese)
    for what, expected in theirs.items():
        assert ours[what] == expected, f"{what} of {chinese}"


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS] + ["docs/zh/index.md"])
def test_chinese_page_is_chinese(page: str) -> None:
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8")))
    assert len(re.findall(r"[一-鿿]", prose)) > len(re.findall(r"[A-Za-z]+", prose)) / 2
    assert "To be written" not in prose


def test_keys_of_chinese_first_page_are_those_of_english() -> None:
    english, chinese = (set(re.findall(r"`([a-z_.]+=[^`]*)`", (ROOT / page).read_text())) for page in PAIRS[1])
    assert chinese == english


def test_figures_of_chinese_article_are_those_of_english() -> None:
    english, chinese = (
        set(re.findall(r"\d*\.\d+", "\n".join(line for line in (ROOT / page).read_text().split("\n") if "|" in line)))
        for page in PAIRS[2]
    )
    assert chinese == english
