"""Comparing runs: small sweep folders written by hand, and the figures that must come out."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from composer import cli
from composer.commands import compare as comparing
from composer.commands.compare import compare
from composer.compare import figures as drawing
from composer.compare.conclusions import words
from composer.compare.effects import Comparison, predictor_by_seed, skill
from composer.compare.latex import latex, tex_escape
from composer.compare.reading import read_sweep
from composer.compare.runs import Arm, Run
from composer.compare.table_formats import Table
from composer.config.compose import compose
from composer.config.keys import path_first
from composer.config.run_file import read_values
from composer.errors import ComposerError, UsageError
from tests.sweep_folders import L1, NONE, add, make_sweep, write_job, write_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws each figure once: that the three kinds of file are written is tested once."""
    monkeypatch.setattr(drawing, "METADATA", {"png": {}})


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return make_sweep(tmp_path / "l1" / "now", {"none": NONE, "l1": L1})


def config(sweep: Path, *overrides: str) -> Any:
    return compose(*path_first([str(sweep), *overrides], "sweep", "compare"), command="compare")


def of(sweep: Path, *overrides: str) -> Comparison:
    return compare(config(sweep, *overrides))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def notes(c: Comparison) -> str:
    return "\n".join(c.sweep.notes)


# The figures


def test_an_arm_is_its_swept_values_without_the_seed(sweep: Path) -> None:
    c = of(sweep)
    assert [arm.label for arm in c.sweep.arms] == ["regularizer=none", "regularizer=l1"]
    assert c.baseline.label == "regularizer=none"
    assert c.sweep.swept == ["regularizer"]
    assert notes(c) == ""


def test_means_and_paired_differences(sweep: Path) -> None:
    c = of(sweep)
    none, l1 = c.sweep.arms
    assert c.estimates[none, "accuracy/val"] == pytest.approx((0.84, 0.0316228, 5))
    assert c.estimates[l1, "accuracy/val"] == pytest.approx((0.87, 0.0474342, 5))
    difference = c.differences[l1, "accuracy/val"]
    assert difference.mean == pytest.approx(0.03)
    assert difference.interval == pytest.approx((0.012, 0.048))
    assert (none, "accuracy/val") not in c.differences
    # Two arms are one comparison: nothing to correct.
    assert c.adjusted == {}


def test_the_gap_is_train_against_val(sweep: Path) -> None:
    c = of(sweep)
    assert c.estimates[c.baseline, "gap/accuracy"].mean == pytest.approx(0.95 - 0.84)
    assert c.estimates[c.baseline, "gap/loss"].mean == pytest.approx(3 - 2 * 0.84 - 1.0)


def test_skill_is_relative_to_the_best_baseline(sweep: Path) -> None:
    c = of(sweep)
    none, l1 = c.sweep.arms
    assert c.estimates[none, "skill/val"].mean == pytest.approx((0.84 - 0.75) / 0.25)
    assert c.estimates[none, "skill/test"].mean == pytest.approx((0.64 - 0.70) / 0.30)
    assert [p.title for p in c.predictors] == ["majority", "Markov, order 3"]
    assert c.against[l1, "val"][0].title == "Markov, order 3"
    assert c.against[l1, "val"][1].mean == pytest.approx(0.12)
    assert skill(0.9, 1.0) is None


def test_the_best_weights_are_those_of_the_lowest_loss(sweep: Path) -> None:
    c = of(sweep, "weights=best")
    assert c.estimates[c.baseline, "accuracy/val"].mean == pytest.approx(0.86)
    # The training's own figure of that epoch, 2, stands in metrics.csv.
    assert c.estimates[c.baseline, "accuracy/train"].mean == pytest.approx(0.6)
    assert c.estimates[c.baseline, "gap/accuracy"].mean == pytest.approx(0.6 - 0.86)


def test_runs_without_predictors_compare_too(sweep: Path) -> None:
    for path in sweep.glob("*/summary.json"):
        edit(path, lambda summary: summary.pop("baselines"))
    c = of(sweep)
    assert c.predictors == []
    assert "skill/val" not in c.metrics
    assert "without a network" not in "\n".join(words(c))


def test_another_baseline_turns_the_sign(sweep: Path) -> None:
    c = of(sweep, "baseline=regularizer=l1")
    assert c.differences[c.sweep.arms[0], "accuracy/val"].mean == pytest.approx(-0.03)


def test_arms_with_other_windows_have_other_baselines(sweep: Path) -> None:
    for path in sweep.glob("*l1*/summary.json"):
        edit(path, lambda summary: summary["baselines"]["markov"].update({"accuracy/val": 0.5}))
    titles = [predictor.title for predictor in of(sweep).predictors]
    assert titles == ["majority", "Markov, order 3 (regularizer=none)", "Markov, order 3 (regularizer=l1)"]


# The words


def test_a_difference_whose_interval_leaves_out_0_is_one(sweep: Path) -> None:
    first = words(of(sweep))[0]
    assert first == (
        "**regularizer=l1** against regularizer=none, accuracy, val (shuffled): +0.030, 95 % interval +0.012 to +0.048 "
        "over 5 pairs. The interval excludes 0: it is higher, which is better (effect size +1.5)."
    )


def test_a_difference_whose_interval_covers_0_is_none(tmp_path: Path) -> None:
    c = of(make_sweep(tmp_path / "s", {"none": NONE, "l1": [0.78, 0.83, 0.82, 0.87, 0.90]}))
    assert words(c)[0].endswith("The interval includes 0: no difference is shown.")
    assert "loss, val (shuffled), against regularizer=none: not distinguishable" in "\n".join(words(c)).lower()


def test_equal_figures_are_no_difference(tmp_path: Path) -> None:
    c = of(make_sweep(tmp_path / "s", {"none": NONE, "l1": NONE}))
    assert words(c)[0].endswith("the same figure in each of 5 pairs: no difference is shown.")


def test_several_comparisons_are_corrected(tmp_path: Path) -> None:
    arms = {"none": NONE, "l1": [0.81, 0.83, 0.85, 0.861, 0.884], "l2": [0.9, 0.92, 0.941, 0.96, 0.98]}
    c = of(make_sweep(tmp_path / "s", {**arms, "elastic_net": NONE}))
    text = words(c)
    assert len(c.adjusted) == 3 * len(c.metrics)
    assert "no finding" in text[0] or "which is better" in text[0]
    assert "which is better" in text[1]
    assert any(line.startswith("3 differences were tested.") for line in text)


def test_a_hint_that_does_not_hold_after_correction(tmp_path: Path) -> None:
    # p = 0.035 alone; three times that with two more arms.
    l1 = [value + d for value, d in zip(NONE, [0.001, 0.01, 0.03, 0.02, 0.03], strict=True)]
    c = of(make_sweep(tmp_path / "s", {"none": NONE, "l1": l1, "l2": NONE, "elastic_net": NONE}))
    assert re.search(r"excludes 0, but after Holm's correction p = 0\.\d\d: a hint, not a finding", words(c)[0])
    # Where several metrics are in one sentence too: here the loss, which mirrors the accuracy.
    assert any("A hint, not a finding: regularizer=l1 (" in line for line in words(c)[1:])


@pytest.mark.parametrize(
    ("seeds", "told"), [(1, "one pair (seed 0)"), (2, "2 pairs (+0.0100 with seed 0, +0.0200 with seed 1)")]
)
def test_few_seeds_have_no_interval(seeds: int, told: str, tmp_path: Path) -> None:
    c = of(make_sweep(tmp_path / "s", {"none": NONE[:seeds], "l1": L1[:seeds]}))
    assert told in words(c)[0]
    assert words(c)[0].endswith("These are too few seeds for an interval (at least 3), so no conclusion.")
    table = comparing.tables.main_table(c, 1000)
    assert table.header[-1] == "single differences"
    assert table.rows[1][-1] == ", ".join(["+0.010"] if seeds == 1 else ["+0.0100", "+0.0200"])


def test_three_seeds_have_students_interval(tmp_path: Path) -> None:
    c = of(make_sweep(tmp_path / "s", {"none": NONE[:3], "l1": L1[:3]}))
    assert c.differences[c.others[0], "accuracy/val"].method == "t"
    assert "by Student's t" in words(c)[0]


def test_one_arm_has_nothing_beside_it(tmp_path: Path) -> None:
    c = of(make_sweep(tmp_path / "s", {"none": NONE}))
    assert words(c)[0] == "There is only one arm, so there is nothing to compare it with."
    assert "better than Markov, order 3 (0.750)" in "\n".join(words(c))


def test_only_common_seeds_are_paired(sweep: Path) -> None:
    for path in (sweep / "regularizer-l1_seed-4").iterdir():
        path.unlink()
    (sweep / "regularizer-l1_seed-4").rmdir()
    c = of(sweep)
    assert c.differences[c.others[0], "accuracy/val"].n == 4
    assert any("regularizer=l1 lacks seed 4 of regularizer=none" in line for line in words(c))


def test_the_words_say_which_split_leaks(sweep: Path) -> None:
    text = "\n".join(words(of(sweep)))
    assert "100.0% of the val targets also occur in training windows, so val (shuffled) is optimistic" in text
    assert "test (held-out block) has none of them" in text
    assert "worse than Markov, order 3 (0.700)" in text


# What must not be averaged


def test_a_run_on_other_music_is_left_out(sweep: Path) -> None:
    edit(sweep / "regularizer-l1_seed-2" / "manifest.json", lambda m: m.update(data={"sha256": "e" * 64}))
    c = of(sweep)
    assert len(c.others[0].counted) == 4
    assert (
        "left out: regularizer-l1_seed-2 (regularizer=l1), because data.sha256 differs "
        "(eeeeeeeeeeee, not dddddddddddd)" in notes(c)
    )


def test_a_run_with_another_config_key_is_left_out(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", {"none": NONE, "l1": L1[:4]})
    add(sweep, 9, "l1", 4, 0.93, config={"trainer.max_epochs": 200})
    c = of(sweep)
    assert len(c.others[0].counted) == 4
    assert "because trainer.max_epochs differs (200, not 3)" in notes(c)


def test_an_edited_group_within_an_arm_is_noticed(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", {"none": NONE, "l1": L1[:4]})
    add(sweep, 9, "l1", 4, 0.93, config={"regularizer.weight": 1e-4})
    assert "because regularizer.weight differs (0.0001, not 1e-06)" in notes(of(sweep))


def test_arms_on_other_music_are_not_judged(sweep: Path) -> None:
    for path in sweep.glob("*l1*/manifest.json"):
        edit(path, lambda manifest: manifest.update(data={"sha256": "e" * 64}))
    c = of(sweep)
    assert "regularizer=l1: data.sha256 differs too" in notes(c)
    assert "The arms are not comparable, because data.sha256 differs too." in words(c)[0]
    assert "better" not in words(c)[0]


def test_an_unswept_key_between_the_arms_is_named(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", {"none": NONE})
    for seed, accuracy in enumerate(L1):
        add(sweep, 5 + seed, "l1", seed, accuracy, config={"trainer.max_epochs": 200})
    c = of(sweep)
    assert "trainer.max_epochs differs too (200, in regularizer=none 3)" in notes(c)
    assert "not comparable" in words(c)[0]


def test_other_numbers_of_windows_are_named(sweep: Path) -> None:
    edit(sweep / "regularizer-l1_seed-0" / "summary.json", lambda summary: summary.update(windows_val=11))
    c = of(sweep)
    assert "windows_val of seed 0 is 11, in regularizer=none 10" in notes(c)
    assert "not comparable" in words(c)[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"git": {"commit": "b" * 40, "dirty": False}}, "code differs: commit cccccccc in all of regularizer=none"),
        ({"git": {"commit": "c" * 40, "dirty": True}}, "so it is not certain that they ran the same code"),
        ({"code_sha256": "f" * 64}, "ffffffffffff in all of regularizer=l1"),
        ({"versions": {"torch": "2.12.0"}}, "version of torch differs: 2.13.0 in all of regularizer=none | 2.12.0"),
        ({"threads": 4}, "threads differs: 1 in all of regularizer=none | 4 in all of regularizer=l1"),
        ({"device": "H200"}, "device differs"),
    ],
)
def test_other_circumstances_are_named_and_averaged(change: dict[str, Any], told: str, sweep: Path) -> None:
    for path in sweep.glob("*l1*/manifest.json"):
        edit(path, lambda manifest: manifest.update(change))
    c = of(sweep)
    assert told in notes(c)
    assert len(c.sweep.counted) == 10


def test_a_seed_counts_once(tmp_path: Path) -> None:
    runs = tmp_path / "train"
    for k, seed in enumerate([0, 0, 1]):
        write_run(runs / str(k), seed, 0.8)
    c = of(runs)
    assert [run.folder.name for run in c.sweep.counted] == ["1", "2"]
    assert "repeats an earlier run of the same arm and seed" in notes(c)


# Folders


def test_a_failed_job_is_counted_as_failed(sweep: Path) -> None:
    write_job(
        sweep / "regularizer-l1_seed-5", 10, {"regularizer": "l1", "seed": "5"}, status="killed", error="signal 9"
    )
    c = of(sweep)
    assert [run.status for run in c.others[0].failed] == ["killed"]
    row = comparing.tables.main_table(c, 1000).rows[1]
    assert row[:3] == ["regularizer=l1", "5", "1"]


def test_a_damaged_summary_is_reported_and_left_out(sweep: Path) -> None:
    (sweep / "regularizer-l1_seed-0" / "summary.json").write_text("{")
    c = of(sweep)
    (run,) = c.others[0].failed
    assert run.status == "damaged"
    assert "summary.json: damaged" in run.error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.yaml", "job.json", "metrics.csv", "manifest.json", "sweep.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "&a [*a]", "\x00"])
def test_damage_never_ends_in_a_traceback(name: str, content: str, sweep: Path) -> None:
    path = sweep / name if name == "sweep.json" else sweep / "regularizer-l1_seed-0" / name
    path.write_text(content)
    c = of(sweep)
    assert len(c.sweep.counted) >= 9
    assert name in notes(c) + "".join(run.error for arm in c.sweep.arms for run in arm.runs)


def test_nan_excludes_its_run_from_that_metric(sweep: Path) -> None:
    edit(sweep / "regularizer-l1_seed-0" / "summary.json", lambda summary: summary.update({"accuracy/val": None}))
    c = of(sweep)
    assert c.estimates[c.others[0], "accuracy/val"].n == 4
    assert c.estimates[c.others[0], "loss/val"].n == 5
    assert any("lacks seed 0" in line for line in words(c))


def test_other_folders_of_a_sweep_are_ignored(sweep: Path) -> None:
    for name in (".frozen", "compare", "aggregate"):
        (sweep / name).mkdir()
    write_run(sweep / ".frozen" / "run", 7, 0.1)
    write_run(sweep / "stray", 7, 0.1)
    c = of(sweep)
    assert len(c.sweep.counted) == 10
    assert notes(c) == "stray: ignored, because it has no job.json"


def test_the_folder_above_the_only_sweep_will_do(sweep: Path) -> None:
    assert of(sweep.parent).sweep.folder == sweep


def test_several_sweeps_are_compared_as_one_and_named(sweep: Path) -> None:
    make_sweep(sweep.parent / "then", {"l2": NONE})
    c = of(sweep.parent)
    assert {arm.label for arm in c.sweep.arms} == {
        "regularizer.name=none, regularizer.weight=0",
        "regularizer.name=l1, regularizer.weight=1e-06",
        "regularizer.name=l2, regularizer.weight=1e-06",
    }
    assert "holds the sweeps now, then, compared as one" in notes(c)


def test_runs_that_no_sweep_made_are_told_apart_by_their_configs(tmp_path: Path) -> None:
    for number, (weight, seed) in enumerate([(0.0, 0), (0.0, 1), (1e-6, 0), (1e-6, 1)]):
        changes = {"regularizer.weight": weight, "data.path": f"/elsewhere/{number}.mid", "name": str(number)}
        write_run(tmp_path / "deep" / f"{number}", seed, 0.8, config=changes)
    c = of(tmp_path)
    assert [arm.label for arm in c.sweep.arms] == ["regularizer.weight=0", "regularizer.weight=1e-06"]
    assert [len(arm.counted) for arm in c.sweep.arms] == [2, 2]


def test_several_swept_keys_make_a_label(tmp_path: Path) -> None:
    swept = {"model.dropout": "0.5", "model.hidden_size": "64", "seed": "0"}
    write_run(tmp_path / "s" / "a", 0, 0.8)
    write_job(tmp_path / "s" / "a", 0, swept)
    assert of(tmp_path / "s").baseline.label == "model.dropout=0.5, model.hidden_size=64"
    assert of(tmp_path / "s", "baseline=model.dropout=0.5, model.hidden_size=64").baseline.label


def test_a_resolved_config_is_read_as_plain_values(sweep: Path) -> None:
    values = read_values(sweep / "regularizer-l1_seed-0" / "config.yaml")
    assert (values["seed"], values["regularizer.weight"]) == (0, 1e-6)


# Mistakes


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["baseline=l3"], "baseline=l3: there is no such arm; the arms are regularizer=none; regularizer=l1"),
        (["metric=accuracy/dev"], "metric=accuracy/dev: no run has it; did you mean accuracy/val or"),
        (["weights=last"], "weights=last: must be final or best"),
        (["resamples=10"], "resamples=10: must be from 1000 to 1000000"),
    ],
)
def test_mistakes_name_the_key_and_the_way_out(overrides: list[str], told: str, sweep: Path) -> None:
    with pytest.raises(ComposerError, match=re.escape(told)):
        of(sweep, *overrides)


def test_folders_that_cannot_be_compared(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, told in [
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "empty", "holds no runs; composer train -m ablation=l1"),
        (sweep / "regularizer-l1_seed-0", "is one run"),
    ]:
        with pytest.raises(ComposerError, match=told):
            of(folder)


def test_a_sweep_in_which_all_failed(tmp_path: Path) -> None:
    for seed in range(2):
        write_job(
            tmp_path / "s" / str(seed), seed, {"seed": str(seed)}, status="failed", error="the loss is not finite"
        )
    with pytest.raises(ComposerError, match="no run of it can be used .*not finite"):
        of(tmp_path / "s")


def test_the_folder_stands_first_and_labels_need_no_quotes() -> None:
    assert path_first(["a/b"], "sweep", "compare") == ["sweep='a/b'"]
    for value in ("it's, here", "C:\\x\\", "a=b, c=d", "q\\'e"):
        assert compose("sweep=s", f"baseline={value}", command="compare").baseline == value
    assert path_first(["--cfg", "job"], "sweep", "compare") == ["--cfg", "job"]
    assert compose("sweep=s", "baseline=null", command="compare").baseline is None
    with pytest.raises(UsageError, match="b: one sweep at a time"):
        path_first(["a", "b"], "sweep", "compare")


def test_a_folder_whose_name_looks_like_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("l1=0").mkdir()
    assert path_first(["l1=0", "metric=loss/val"], "sweep", "compare") == ["sweep='l1=0'", "metric=loss/val"]


# The files


def test_latex_is_escaped_and_rectangular() -> None:
    assert tex_escape("a_b & 95 % ± #1 -0.1 x-2") == r"a\_b \& 95 \% $\pm$ \#1 $-$0.1 x-2"
    table = Table(caption="a_b", header=["arm", "x"], rows=[["l1_x", "-1.0"], ["majority", "-"]], arms=1)
    text = latex([table], "a b")
    assert re.search(r"\\begin\{tabular\}\{@\{\}p\{[\d.]+pt\}r@\{\}\}", text)
    # A predictor without a value in the block has no row.
    assert "l1\\_\\allowbreak{}x & $-$1.0 \\\\\n\\bottomrule" in text
    assert r"\label{tab:a-b-1}" in text


def test_the_report_and_the_tables(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = comparing.run(config(sweep, "figures=false"))
    assert folder == sweep / "compare"
    out = capsys.readouterr().out
    assert "regularizer=l1" in out
    assert "written to" in out
    assert "*" not in out
    report = (folder / "report.md").read_text()
    row = "| regularizer=l1 | 5 | 0.870 ± 0.047 | +0.030 | +0.012 to +0.048 | +1.51 |"
    assert row in report
    assert "| *Markov, order 3* | 5 | 0.750 ± 0.000 |" in report
    assert (
        "| arm | accuracy | note | velocity | time | all three | skill | loss (nats per event) | leak (%) |" in report
    )
    assert "On test (held-out block)" in report
    with (folder / "table.csv").open(newline="") as stream:
        rows = {(r["arm"], r["metric"]): r for r in csv.DictReader(stream)}
    cells = rows["regularizer=l1", "accuracy/val"]
    assert float(cells["low"]) == pytest.approx(0.012)
    assert (cells["split"], cells["unit"], cells["interval"]) == ("val (shuffled)", "share of events", "bootstrap")
    assert float(rows["majority", "skill/val"]["mean"]) == pytest.approx((0.4 - 0.75) / 0.25)
    with (folder / "runs.csv").open(newline="") as stream:
        runs = list(csv.DictReader(stream))
    assert [run["accuracy/val"] for run in runs] == [str(value) for value in NONE + L1]
    counts = {row.count("&") for row in (folder / "table.tex").read_text().splitlines() if row.startswith("regul")}
    assert 0 not in counts


@pytest.mark.slow
def test_the_same_sweep_gives_the_same_bytes(sweep: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        folder = comparing.run(config(sweep, f"output={tmp_path / name}"))
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())})
    assert digests[0] == digests[1]
    figures = {
        f"{name}.{end}"
        for name in ("curves", "overlay", "differences", "gap", "channels")
        for end in ("png", "svg", "pdf")
    }
    assert set(digests[0]) == figures | {"report.md", "table.csv", "runs.csv", "table.tex"}
    svg = (tmp_path / "a" / "curves.svg").read_text()
    assert "<dc:date>" not in svg
    assert "CreationDate" not in (tmp_path / "a" / "curves.pdf").read_bytes().decode("latin-1")


@pytest.mark.slow
@pytest.mark.usefixtures("png_only")
def test_a_swept_number_has_a_path_and_many_arms_several_pages(tmp_path: Path) -> None:
    weights = ["0", "1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
    for number, weight in enumerate(weights):
        for seed in range(2):
            folder = tmp_path / "s" / f"{weight}-{seed}"
            write_run(folder, seed, 0.8, config={"regularizer.weight": float(weight)})
            write_job(folder, 2 * number + seed, {"regularizer.weight": weight, "seed": str(seed)})
    folder = comparing.run(config(tmp_path / "s"))
    assert {path.stem for path in folder.glob("*.png")} == {
        "channels",
        "curves",
        "curves-2",
        "differences",
        "gap",
        "overlay",
        "path",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("png_only")
@pytest.mark.parametrize("lacking", ["metrics.csv", "baselines", "test", "all but one"])
def test_figures_are_drawn_from_what_there_is(lacking: str, sweep: Path) -> None:
    runs = sorted(path.parent for path in sweep.glob("*/job.json"))
    for run in runs:
        summary = json.loads((run / "summary.json").read_text())
        if lacking == "metrics.csv":
            (run / "metrics.csv").write_text("epoch,step\n")
        if lacking == "baselines":
            del summary["baselines"]
        if lacking == "test":
            summary = {key: value for key, value in summary.items() if not key.endswith("/test")}
        if lacking == "all but one" and run != runs[0]:
            write_job(run, 1, {"regularizer": "l1", "seed": "1"}, status="failed")
        (run / "summary.json").write_text(json.dumps(summary))
    if lacking == "metrics.csv":
        with pytest.warns(UserWarning, match="metrics.csv"):
            folder = comparing.run(config(sweep))
    else:
        folder = comparing.run(config(sweep))
    assert (folder / "gap.png").exists()
    assert (folder / "curves.png").exists() == (lacking != "metrics.csv")


# The command


@pytest.mark.slow
def test_the_command_needs_no_torch(sweep: Path) -> None:
    code = (
        "import sys; from composer import cli; status = cli.run('compare', sys.argv[1:]);"
        "heavy = {'torch', 'pytorch_lightning', 'tensorboard'} & set(sys.modules);"
        "assert status == 0 and not heavy, (status, heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sweep)],
        cwd=sweep,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # On a busy machine it says what it is doing.
    assert [line for line in done.stderr.splitlines() if not line.endswith((" ...", " so far"))] == []
    assert "The interval excludes 0" in done.stdout
    assert (sweep / "compare" / "curves.pdf").exists()


def test_differences_are_printed_as_warnings(
    sweep: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    edit(sweep / "regularizer-l1_seed-2" / "manifest.json", lambda m: m.update(data={"sha256": "e" * 64}))
    assert cli.run("compare", [str(sweep), "figures=false"]) == 0
    told = capsys.readouterr().err + "".join(str(warning.message) for warning in recwarn.list)
    assert "left out: regularizer-l1_seed-2" in told


def test_without_a_folder_the_command_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("compare", []) == 2
    assert capsys.readouterr().err == "composer compare: name the folder of the runs: composer compare SWEEP_DIR\n"
    assert cli.run("compare", ["metric=loss/val"]) == 2
    assert "sweep is missing" in capsys.readouterr().err


def test_reading_takes_what_the_weights_say(sweep: Path) -> None:
    (first, _) = read_sweep(sweep, "final").arms
    assert first.by_seed("accuracy/val") == dict(enumerate(NONE))


def test_the_figure_of_a_seed_is_the_mean_over_its_folds() -> None:
    arm = Arm(swept={}, runs=[])
    for number, (seed, fold) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]):
        run = Run(folder=Path(str(number)), number=number, swept={"data.fold": str(fold)}, status="completed")
        run.config = {"seed": seed, "data.fold": fold}
        run.metrics = {"loss/val": seed + 0.5 * fold}
        run.summary = {"baselines": {"majority": {"loss/val": 2.0 * fold}}}
        arm.runs.append(run)
    # What is left of a seed that lacks a fold says nothing beside the others.
    arm.runs[4].status = "failed"
    assert arm.by_seed("loss/val") == {0: 0.25, 1: 1.25}
    assert predictor_by_seed(arm, "majority") == {"loss/val": {0: 1.0, 1: 1.0}}


# What the arms compose


def copying(share: float, human: float | None = 0.5, split: str = "test") -> dict[str, Any]:
    """The blocks of a summary about composed pieces."""
    mine = {"notes": 240.0, "pitch_8": share / 2, "interval_8": share, "longest_notes": 100 * share}
    theirs = None if human is None else {"notes": 70.0, "interval_8": human, "longest_notes": 9.0}
    overlap = {"composed": {"polyphony": 0.1, "mean": 1 - share}, "held_out": None}
    return {
        "copying": {"composed": mine, "held_out": theirs, "split": split},
        "quality": {"composed": {"polyphony": 3.0}, "held_out": None, "overlap": overlap, "collapse": None},
    }


def copying_sweep(folder: Path, human: float | None = 0.5, l1: float = 0.2) -> Path:
    for number, (regularizer, share) in enumerate((("none", 0.6), ("l1", l1))):
        for seed in range(5):
            blocks = copying(share + 0.01 * (seed % 2 + seed * number), human)
            add(folder, 5 * number + seed, regularizer, seed, 0.8 + 0.01 * seed, summary=blocks)
    return folder


def test_copying_table_ends_with_held_out_music(tmp_path: Path) -> None:
    c = of(copying_sweep(tmp_path / "l1"), "figures=false")
    table = comparing.tables.copying_table(c)
    assert table is not None
    assert table.header == ["arm", "8 notes copied", "8 notes copied, transposed or not", "longest quotation, notes",
                            "overlap with training"]  # fmt: skip
    assert [row[0] for row in table.rows] == [
        "regularizer=none",
        "regularizer=l1",
        "held-out music, test (held-out block)",
    ]
    assert [row[2] for row in table.rows] == ["0.6040 ± 0.0055", "0.2240 ± 0.0167", "0.5000 ± 0.0000"]
    assert table.rows[2][4] == "-"
    assert table.arms == 2
    said = words(c)
    assert (
        "Runs of 8 notes that occur in the training music, transposed or not: 60.0% to 61.0% of what regularizer=none "
        "composes, 20.0% to 24.0% of what regularizer=l1 composes, and 50.0% of held-out music, test (held-out block)."
    ) in said
    assert any(
        s.startswith("8 notes copied, transposed or not, composed, against regularizer=none: Lower: ") for s in said
    )
    assert any(
        row[0] == "8 notes copied, transposed or not, composed" for row in comparing.tables.difference_table(c).rows
    )


def test_best_weights_compose_the_same_without_held_out_music(tmp_path: Path) -> None:
    c = of(copying_sweep(tmp_path / "l1", human=None), "weights=best", "metric=copying/interval_8")
    assert c.estimates[c.baseline, "copying/interval_8"].mean == pytest.approx(0.604)
    table = comparing.tables.copying_table(c)
    assert table is not None
    assert [row[0] for row in table.rows] == ["regularizer=none", "regularizer=l1"]
    assert any(sentence.endswith("; there is no held-out music to compare with.") for sentence in words(c))


def test_the_distance_to_human_music_stands_in_the_table(tmp_path: Path) -> None:
    folder = copying_sweep(tmp_path / "l1")
    for path in folder.glob("*-l1_*/summary.json"):
        edit(path, lambda summary: summary["quality"].update({"distance": 1.5, "distance_among": 0.75}))
    c = of(folder, "figures=false", "metric=quality/distance", "baseline=regularizer=l1")
    table = comparing.tables.copying_table(c)
    assert table is not None
    assert table.header[-1] == "distance to human music"
    # The runs of the other arm were made before there was one.
    assert [row[-1] for row in table.rows] == ["-", "1.500 ± 0.000", "0.750 ± 0.000"]
    assert "standard deviations of human excerpts; lower is better" in comparing.tables.main_table(c, 1000).notes[0]


def test_runs_without_composed_pieces_have_no_such_table(sweep: Path) -> None:
    c = of(sweep)
    assert comparing.tables.copying_table(c) is None
    assert not any("occur in the training music" in sentence for sentence in words(c))


def test_pieces_that_were_drawn_differently_are_named(tmp_path: Path) -> None:
    folder = copying_sweep(tmp_path / "l1")
    config = yaml.safe_load((folder / "regularizer-l1_seed-0" / "config.yaml").read_text())
    for path in folder.glob("*/config.yaml"):
        cold = path.parent.name == "regularizer-l1_seed-0"
        path.write_text(
            yaml.safe_dump(
                config | yaml.safe_load(path.read_text()) | {"sampling": {"temperature": 0.5 if cold else 1.0}}
            )
        )
    (note,) = [note for note in of(folder).sweep.notes if note.startswith("sampling")]
    assert note.startswith("sampling (and so the composed pieces) differs: temperature=1 in ")
    assert note.endswith("temperature=0.5 in regularizer-l1_seed-0")
