"""Comparisons in Python: tables, conclusions and figures as data."""

import csv
import sys
from pathlib import Path

import pandas
import pytest

import composer
from composer.errors import ComposerError


@pytest.fixture(scope="module")
def comparison(trained: composer.Run, smaller: composer.Run) -> composer.Comparison:
    return composer.compare([trained, smaller])


def test_arms_are_the_runs_that_differ(comparison: composer.Comparison) -> None:
    assert comparison.arms == ["model.hidden_size=16", "model.hidden_size=8"]
    assert comparison.baseline == "model.hidden_size=16"
    assert repr(comparison).endswith("by accuracy/val: model.hidden_size=16, model.hidden_size=8>")


def test_a_folder_and_its_runs_compare_alike(comparison: composer.Comparison, trained: composer.Run) -> None:
    of_folder = composer.compare(trained.folder.parent)
    assert of_folder.rows == comparison.rows
    assert composer.compare(composer.runs(trained.folder.parent)).rows == comparison.rows


def test_rows_have_the_figures_of_the_runs(
    comparison: composer.Comparison, trained: composer.Run, smaller: composer.Run
) -> None:
    assert trained.summary is not None
    assert smaller.summary is not None
    (row,) = [r for r in comparison.rows if (r["arm"], r["metric"]) == ("model.hidden_size=8", "loss/val")]
    assert row["mean"] == smaller.summary["loss/val"]
    assert row["difference"] == pytest.approx(smaller.summary["loss/val"] - trained.summary["loss/val"])
    assert [run["seed"] for run in comparison.runs] == [0, 0]


def test_the_table_is_a_frame_of_the_metric(trained: composer.Run, smaller: composer.Run) -> None:
    table = composer.compare([trained, smaller], metric="loss/val", baseline="model.hidden_size=8").table
    assert isinstance(table, pandas.DataFrame)
    assert smaller.summary is not None
    assert table.loc["model.hidden_size=8", "mean"] == smaller.summary["loss/val"]
    assert set(table["metric"]) == {"loss/val"}
    assert table.loc["model.hidden_size=16", "baseline"] == "model.hidden_size=8"


def test_the_table_is_rows_without_pandas(comparison: composer.Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert comparison.table == [row for row in comparison.rows if row["metric"] == "accuracy/val"]


def test_conclusions_and_tables_are_those_of_the_report(comparison: composer.Comparison, tmp_path: Path) -> None:
    folder = comparison.save(tmp_path / "compared", figures=False)
    report = (folder / "report.md").read_text().replace("**", "")
    assert comparison.conclusions
    assert all(f"- {sentence}" in report for sentence in comparison.conclusions)
    assert all(table.caption in report for table in comparison.tables)
    with (folder / "table.csv").open(newline="") as stream:
        assert [row["arm"] for row in csv.DictReader(stream)] == [row["arm"] for row in comparison.rows]
    assert str(comparison).splitlines()[0].startswith("arm")


def test_figures_are_pictures_that_a_notebook_shows(comparison: composer.Comparison) -> None:
    assert "curves" in comparison.figures
    picture = comparison.figures["curves"]
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert picture.figure.axes
    page = comparison._repr_html_()
    assert page.count("data:image/png;base64,") == len({"curves", "differences"} & set(comparison.figures))
    assert "<td>model.hidden_size=8</td>" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "accuracy/nowhere"}, "metric=accuracy/nowhere: no run has it"),
        ({"baseline": "model.hidden_size=9"}, "baseline=model.hidden_size=9: there is no such arm"),
        ({"weights": "first"}, "weights=first: must be"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, str], message: str, trained: composer.Run) -> None:
    with pytest.raises(ComposerError, match=f"^{message}"):
        composer.compare(trained.folder.parent, **arguments)  # type: ignore[arg-type]


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match="^runs: there is no run to compare"):
        composer.compare([])
    with pytest.raises(ComposerError, match="is no run directory"):
        composer.compare([tmp_path])
