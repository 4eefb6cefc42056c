"""Text from outside in tables, pages, terminals and papers."""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
from pathlib import Path

import mido
import pytest

from composer import cli
from composer.compare.latex import tex_escape
from composer.compare.table_formats import markdown_text
from composer.evaluation.scores import pieces_csv
from composer.files import csv_cell, printable
from composer.render.player import Player, player_page

ROOT = Path(__file__).parent.parent
HOSTILE = "</script><img src=x onerror=alert(1)><!--|`_&%$#{}~^\\ \x1b[2J\u202e\n\udcff"


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", -0.5, None, "model.dropout=0.5", "a=b", "-inf", ""])
def test_numbers_and_plain_texts_stay(value: object) -> None:
    assert csv_cell(value) == value


def test_the_pieces_of_an_evaluation_are_no_formulas() -> None:
    table = pieces_csv({"test": {0: {"piece": "=HYPERLINK(1)", "loss": -0.5}}})  # type: ignore[dict-item]
    assert list(csv.reader(io.StringIO(table)))[1] == ["test", "0", "'=HYPERLINK(1)", "-0.5"]


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[2J\x07\x9b\u202eb\udcff") == "a\\x1b[2J\\x07\\x9b\\u202eb\\udcff"
    assert printable("ünï-♪\tx\ny") == "ünï-♪\tx\ny"


def test_markdown_and_latex_take_text_as_text() -> None:
    shown = markdown_text(HOSTILE)
    assert "\n" not in shown
    assert "<" not in shown
    assert not re.search(r"(?<!\\)[|`]", shown)
    tex = tex_escape(HOSTILE)
    assert "\n" not in tex
    assert not re.search(r"(?<!\\)[%&#]", tex)
    assert "\x1b" not in tex


def test_a_page_takes_a_title_as_text() -> None:
    page = player_page(HOSTILE, [], [], None, [], HOSTILE)
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script")
    assert Player(title=HOSTILE, notes=[]).title == HOSTILE


def test_a_title_in_a_file_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = mido.MidiFile(type=0)
    track = file.add_track()
    track.append(mido.MetaMessage("track_name", name="\x1b]0;title\x07<b>"))
    track.append(mido.Message("note_on", note=60, velocity=60))
    track.append(mido.Message("note_off", note=60, time=480))
    file.save(tmp_path / "a.mid")
    assert cli.run("render", [str(tmp_path / "a.mid"), "synth=none", f"output={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    page = (tmp_path / "out" / "player.html").read_text()
    assert "\x1b" not in page
    assert "<b>" not in page


def test_an_error_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("render", ["no\x1b[2Jne.mid"]) == 1
    assert capsys.readouterr().err == "composer render: no\\x1b[2Jne.mid: not found\n"


def test_the_bill_of_materials_has_every_locked_package() -> None:
    sbom = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    made = sbom["bill"](lock, "1.0")
    assert json.loads(json.dumps(made))["bomFormat"] == "CycloneDX"
    assert len(made["components"]) == len(re.findall(r"^[A-Za-z0-9].*==", lock, re.M))
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", entry["purl"]) for entry in made["components"])
    assert all(entry["hashes"] for entry in made["components"])
    assert len({entry["bom-ref"] for entry in made["components"]}) == len(made["components"])
    with pytest.raises(ValueError, match="line 1: not understood"):
        sbom["components"]("torch>=2")
