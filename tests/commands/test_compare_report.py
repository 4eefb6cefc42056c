"""The report of a sweep by itself: title, account, captions, digits, limits of axes, and LaTeX that fits a column."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.commands import compare as comparing
from composer.commands.compare import compare
from composer.compare import account, latex, rounding
from composer.compare.bands import Band, limits
from composer.compare.captions import figure_captions
from composer.compare.curve_figures import curves, overlay
from composer.compare.effects import Comparison
from composer.compare.figures import differences
from composer.compare.table_formats import Table
from composer.config.compose import compose
from composer.config.keys import path_first
from tests.sweep_folders import L1, NONE, make_sweep, write_job, write_run


def of(folder: Path, *overrides: str) -> Comparison:
    return compare(config(folder, *overrides))


def config(folder: Path, *overrides: str) -> Any:
    return compose(*path_first([str(folder), *overrides], "sweep", "compare"), command="compare")


def two_arms(folder: Path, seeds: int) -> Path:
    return make_sweep(folder / "s", {"none": NONE[:seeds], "l1": L1[:seeds]})


# Digits


def test_decimals_show_the_smallest_deviation_twice() -> None:
    assert [rounding.decimals([s]) for s in (2.5, 0.25, 0.02, 0.004, 0.00012)] == [2, 2, 3, 4, 4]
    assert rounding.decimals([0.018, 0.0040, None, 0.0]) == 4
    assert [rounding.decimals(spreads) for spreads in ([], [None], [0.0], [1e-17])] == [3, 3, 3, 3]


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(-10, 10))
def test_a_column_has_one_number_of_decimals(spreads: list[float], value: float) -> None:
    places = rounding.decimals(spreads)
    assert rounding.MIN_DECIMALS <= places <= rounding.MAX_DECIMALS
    assert places == rounding.decimals(reversed(spreads))
    for signed in (False, True):
        shown = rounding.fixed(value, places, signed=signed)
        assert len(shown.partition(".")[2]) == places
        assert abs(float(shown) - value) <= 0.5000001 * 10**-places
        # What rounds to 0 has no sign.
        assert (float(shown) != 0) or shown == f"{0:.{places}f}"


@pytest.mark.parametrize("seeds", [1, 2, 4, 5])
def test_every_column_of_every_table_is_rounded_alike(seeds: int, tmp_path: Path) -> None:
    c = of(two_arms(tmp_path, seeds))
    for table in comparing.all_tables(c, 1000):
        for k, head in enumerate(table.header[1:], start=1):
            numbers = re.findall(r"\d+\.(\d+)", " ".join(row[k] for row in table.rows))
            assert len({len(decimals) for decimals in numbers}) <= 1, (table.caption, head)
            assert not any(re.search(r"-0\.0+(?!\d)", row[k]) for row in table.rows)


# What stands in the report


def test_the_report_begins_with_a_title_and_an_account(tmp_path: Path) -> None:
    manifest = {
        "started": "2026-11-30T11:33:05+00:00",
        "versions": {"torch": "2.13.0", "composer": "0.1.0", "numpy": "2.0"},
        "data": {"sha256": "d" * 64, "pieces": ["A prelude"], "events": 1098},
        "code_sha256": "a" * 64,
    }
    folder = two_arms(tmp_path, 5)
    for path in folder.glob("*/manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | manifest))
    for path in folder.glob("*/summary.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"parameters": 1234, "epochs": 3, "steps": 81}))
    about = json.loads((folder / "sweep.json").read_text()) | {"overrides": ["ablation=l1", "name=a b"]}
    (folder / "sweep.json").write_text(json.dumps(about))
    comparing.run(config(folder, "figures=false"))
    report = (folder / "compare" / "report.md").read_text()
    assert report.startswith("# Regularizer: none against l1, five seeds each\n\n## What was trained\n")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", report, re.MULTILINE))
    assert rows["music"] == "A prelude, 1,098 events"
    assert rows["music, SHA-256"] == "d" * 12
    assert rows["seeds"] == "0, 1, 2, 3, 4"
    assert rows["windows"] == "90 train, 10 val, 10 test; 30 events each"
    assert rows["epochs"] == "3, 81 steps"
    assert rows["parameters"] == "1,234"
    assert rows["regularizer"] == "none (5 runs) / l1: weight=1e-06 (5 runs)"
    assert rows["versions"] == "composer 0.1.0, torch 2.13.0"
    assert rows["code"] == f"commit {'c' * 12}, SHA-256 {'a' * 12}"
    assert rows["trained"] == "2026-11-30"
    assert rows["command"] == "composer train -m ablation=l1 'name=a b'"


def test_records_that_lack_a_field_leave_it_out(tmp_path: Path) -> None:
    folder = two_arms(tmp_path, 3)
    for path in folder.glob("*/manifest.json"):
        path.write_text("{}")
    for path in folder.glob("*/summary.json"):
        summary = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in summary.items() if "/" in k or k in ("status", "seed")}))
    names = {name for name, _ in account.trained(of(folder))}
    assert {"swept", "arms", "runs", "seeds", "regularizer"} <= names
    assert not names & {"music, SHA-256", "versions", "code", "trained", "parameters", "device", "windows"}


def test_titles_are_words_for_values_and_seeds(tmp_path: Path) -> None:
    for number, size in enumerate([16, 32, 64]):
        for seed in range(2):
            folder = tmp_path / "s" / f"{size}-{seed}"
            write_run(folder, seed, 0.8)
            write_job(folder, 2 * number + seed, {"model.hidden_size": str(size), "seed": str(seed)})
    assert account.title(of(tmp_path / "s")) == "Hidden size: 16, 32 and 64, two seeds each"
    assert account.title(of(make_sweep(tmp_path / "t", {"none": NONE, "l1": L1[:3]}))).endswith("three to five seeds")
    assert account.title(of(make_sweep(tmp_path / "u", {"none": NONE}))) == "Regularizer: none, five seeds"
    keys = ("regularizer.weight", "optimizer.lr", "model.num_layers", "data.split", "regularizer")
    assert [account.words(key) for key in keys] == [
        "regularizer weight",
        "optimizer learning rate",
        "layers",
        "split of the validation windows",
        "regularizer",
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_claim_no_interval_anywhere(seeds: int, tmp_path: Path) -> None:
    folder = two_arms(tmp_path, seeds)
    c = of(folder)
    made = comparing.all_tables(c, 1000)
    text = comparing.report(c, made, list(figure_captions(c))) + latex.latex(made, "s")
    figure = differences(c)
    assert figure is not None
    assert figure.get_suptitle().endswith("pairs (dots); no interval from fewer than 3 pairs")
    for said in (text, figure.get_suptitle()):
        assert not re.search(r"95\s*\\?%", said)
    assert "single differences" in text
    assert ("no standard deviation" in text) == (seeds == 1)


def test_captions_say_what_bars_are_and_how_many(tmp_path: Path) -> None:
    captions = figure_captions(of(two_arms(tmp_path, 4)))
    assert "one standard deviation (band) over 4 runs" in captions["overlay"]
    assert "as error bars, one standard deviation over 4 seeds" in captions["channels"]
    assert "Student's t" in captions["differences"]
    assert "val (shuffled)" in captions["curves"]
    assert all("eights after the last epoch" in captions[name] for name in ("differences", "gap", "channels", "path"))


# Axes


def band(*means: float) -> Band:
    return Band(np.array(means), np.zeros(len(means)), 3)


def test_the_first_epoch_does_not_rule_the_axis() -> None:
    ends = limits([band(9.0, 3.0, 2.5, 2.0)], from_zero=True)
    assert ends is not None
    assert (ends.cut, ends.high < 3.2) == (True, True)
    even = limits([band(2.2, 2.1, 2.0, 1.9)])
    assert even is not None
    assert not even.cut
    assert even.low < 1.9 < 2.2 < even.high


def test_limits_are_found_for_short_and_partial_curves() -> None:
    assert limits([]) is None
    assert limits([band()]) is None
    assert limits([band(float("nan"))]) is None
    one = limits([band(2.0)])
    assert one is not None
    assert one.low < 2.0 < one.high
    skipped = limits([band(float("nan"), 5.0, float("nan"), 4.0)])
    assert skipped is not None
    assert not skipped.cut


def test_the_overlay_has_a_line_per_arm_that_grey_shows(tmp_path: Path) -> None:
    c = of(two_arms(tmp_path, 3))
    figure = overlay(c)
    assert figure is not None
    for axes in figure.axes:
        lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        assert len(lines) == 2
        assert len({str(line.get_linestyle()) + str(line.get_color()) for line in lines}) == 2
        assert axes.get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "regularizer=none (3 runs, mean ± sd)",
        "regularizer=l1 (3 runs, mean ± sd)",
    ]
    assert overlay(of(make_sweep(tmp_path / "one", {"none": NONE}))) is None
    assert [axes.get_ylim()[0] >= 0 for axes in curves(c)[0].axes] == [True] * 4


# LaTeX


def test_a_wide_table_continues_below_itself() -> None:
    cells = ["0.1234 ± 0.0100"] * 6
    table = Table(caption="a", header=["arm", *"abcdef"], rows=[["k=1", *cells], ["k=2", *cells]], arms=2)
    text = latex.latex([table], "x_y")
    # Two blocks of three columns: a rule below each head, and one between the blocks.
    assert text.count(r"\midrule") == 3
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"\label{tab:x-y-1}" in text
    # The swept key heads the first column.
    assert re.search(r"\\raggedright k & a & b", text)
    assert r"\raggedright 1 & 0.1234 $\pm$ 0.0100 &" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_tables_compile_and_fit_a_column(seeds: int, tmp_path: Path) -> None:
    """A column of the class article, in two columns; the arms have long labels with signs that LaTeX needs escaped."""
    for number, (dropout, size) in enumerate([("0.5", "64"), ("0.25", "128"), ("0.75", "256")]):
        for seed in range(seeds):
            folder = tmp_path / "s" / f"{number}-{seed}"
            write_run(folder, seed, 0.8 + 0.01 * number * (seed + 1))
            swept = {"model.dropout": dropout, "model.hidden_size": size, "data.path": "a_b%&#{1}", "seed": str(seed)}
            write_job(folder, 5 * number + seed, swept)
    comparing.run(config(tmp_path / "s", "figures=false", f"output={tmp_path}"))
    document = [
        r"\documentclass[twocolumn]{article}",
        r"\usepackage{booktabs}",
        r"\hbadness=10000 \vbadness=10000",
        r"\let\tabularbegin\tabular \let\tabularend\endtabular",
        r"\newsavebox{\measured}",
        r"\renewenvironment{tabular}[1]{\begin{lrbox}{\measured}\tabularbegin{#1}}"
        r"{\tabularend\end{lrbox}\typeout{WIDTH \the\wd\measured}\usebox{\measured}}",
        r"\begin{document}",
        r"\input{table}",
        r"\end{document}",
    ]
    (tmp_path / "doc.tex").write_text("\n".join(document))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "doc.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "doc.log").read_text(errors="replace")
    assert "Overfull" not in log
    assert "Float too large" not in log
    widths = [float(width) for width in re.findall(r"WIDTH ([\d.]+)pt", log)]
    assert len(widths) >= 4
    assert max(widths) <= latex.COLUMN_INCHES * 72.27
