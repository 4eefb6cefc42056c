"""Tables of a comparison: formatted for readers and, in full precision, as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from composer.compare.captions import intervals, over, weights
from composer.compare.effects import (
    COMPOSED,
    HELD_OUT,
    SPLITS,
    Comparison,
    Estimate,
    Predictor,
    estimate,
    higher_is_better,
    pairs,
    skill,
    unit,
)
from composer.compare.rounding import NOTHING, decimals, fixed, interval_text, mean_text
from composer.compare.runs import COMPLETED, Arm
from composer.compare.table_formats import Table
from composer.config.limits import CHANNELS
from composer.evaluation.statistics import Paired, mean_sd, paired
from composer.files import csv_cell

_ARM_COLUMNS = (
    *("arm", "metric", "split", "unit", "seeds", "mean", "sd", "baseline", "pairs", "difference", "difference_sd"),
    *("low", "high", "interval", "effect_size", "p_holm", "failed", "left_out"),
)
_NATS = "nats per event"
_LEAKS = ("leak_rate", "leak_rate_content", "leak_rate_transposed")


def main_table(c: Comparison, resamples: int) -> Table:
    """Return a table with a row per arm: mean, deviation, paired difference, interval, effect size, seeds, failures.

    A column that would say nothing is left out: failed and left-out runs where there is none, the effect size where
    there are too few pairs. Without any interval its column has the single differences.
    """
    family = [arm for arm in c.others if (arm, c.metric) in c.adjusted]
    rest = _predictor_values(c, c.metric)
    base = c.baseline.by_seed(c.metric)
    single = [list(pairs(arm, c.baseline, c.metric).values()) for arm in c.sweep.arms]
    differences: list[Paired | None] = [c.differences.get((arm, c.metric)) for arm in c.sweep.arms]
    for values in rest.values():
        single.append([values[seed] - base[seed] for seed in values if seed in base])
        differences.append(paired(single[-1], resamples) if single[-1] else None)
    estimates = [c.estimates.get((arm, c.metric)) for arm in c.sweep.arms]
    estimates += [estimate(list(values.values())) for values in rest.values()]
    places = decimals(e.sd for e in estimates if e is not None)
    finer = decimals(d.sd for d in differences if d is not None)
    judged = [d for d in differences if d is not None and d.interval is not None]
    counts = {
        "seeds": [str(e.n) if e else str(len(arm.counted)) for arm, e in zip(c.sweep.arms, estimates, strict=False)],
        "failed": [str(len(arm.failed)) for arm in c.sweep.arms],
        "left out": [str(_left_out(arm)) for arm in c.sweep.arms],
    }
    if rest:
        counts["seeds"] += [str(e.n) for e in estimates[len(c.sweep.arms) :] if e is not None]
    columns = {k: v for k, v in counts.items() if k == "seeds" or set(v) != {"0"}}
    columns[_head(c, c.metric)] = [mean_text(e, places) for e in estimates]
    columns["difference"] = [NOTHING if d is None else fixed(d.mean, finer, signed=True) for d in differences]
    columns["difference"][c.sweep.arms.index(c.baseline)] = "baseline arm"
    columns["95 % interval" if judged or not any(differences) else "single differences"] = [
        NOTHING if d is None else _interval(d, finer, one, bool(judged))
        for d, one in zip(differences, single, strict=True)
    ]
    sizes = [None if d is None else d.effect_size for d in differences]
    if judged:
        columns["effect size"] = [NOTHING if size is None else fixed(size, 2, signed=True) for size in sizes]
    if family:
        tested = [c.adjusted.get((arm, c.metric)) for arm in c.sweep.arms]
        columns["p (Holm)"] = [NOTHING if p is None else _p_text(p) for p in tested]
    labels = [*(arm.label for arm in c.sweep.arms), *(predictor.title for predictor in rest)]
    cells = [[*column, *([NOTHING] * (len(labels) - len(column)))] for column in columns.values()]
    title = c.title(c.metric)
    caption = f"{title[:1].upper()}{title[1:]}: {over(c, [c.metric])}, {weights(c)}"
    caption += f"; difference to {c.baseline.label} seed by seed" * bool(c.others)
    better = {True: "higher is better", False: "lower is better"}.get(higher_is_better(c.metric))  # type: ignore[arg-type]
    notes = ["; ".join(part for part in (unit(c.metric), better) if part)]
    notes += ["effect size: Hedges' g_z"] * bool(judged) + intervals(differences)
    rows = [[label, *row] for label, row in zip(labels, zip(*cells, strict=True), strict=True)]
    notes = [note for note in notes if note]
    return Table(caption=caption, header=["arm", *columns], rows=rows, arms=len(c.sweep.arms), notes=notes)


def split_table(c: Comparison, split: str) -> Table | None:
    """Return accuracies, loss and skill on a split; None where no run has it."""
    columns = {f"accuracy/{split}": "accuracy", **{f"accuracy_{name}/{split}": name for name in CHANNELS}}
    columns |= {f"accuracy_joint/{split}": "all three", f"skill/{split}": "skill"}
    columns[f"loss/{split}"] = f"loss ({_NATS})"
    if f"accuracy/{split}" not in c.metrics:
        return None
    table = _metric_table(c, columns, f"On {c.split(split)}")
    notes = ["accuracies in shares of events"]
    if c.predictors:
        notes.append("skill: (accuracy - best without a network) / (1 - best without a network), seed by seed")
    if split == "val":
        table.header.append("leak (%)")
        for k, arm in enumerate(c.sweep.arms):
            leaks = [float(run.summary["leak_rate"]) for run in arm.counted if _is_number(run.summary.get("leak_rate"))]
            table.rows[k].append(fixed(100 * mean_sd(leaks)[0], 1) if leaks else NOTHING)
        for row in table.rows[table.arms :]:
            row.append(NOTHING)
        notes.append("leak: share of the val targets that also occur in a training window")
    table.notes = notes
    return table


def gap_table(c: Comparison) -> Table:
    """Return generalisation gap and sparsity by arm."""
    columns = {
        "accuracy/train": "accuracy, train",
        "accuracy/val": f"accuracy, {c.split('val')}",
        "gap/accuracy": "accuracy gap",
        "loss/train": f"loss ({_NATS}), train",
        "loss/val": f"loss ({_NATS}), {c.split('val')}",
        "gap/loss": f"loss gap ({_NATS})",
        "zeros/all": "exact zeros",
        "small/all": "weights < 1e-3",
    }
    table = _metric_table(c, columns, f"Generalisation gap, train against {c.split('val')}, and sparsity")
    table.notes = ["gaps: accuracy train - val, loss val - train; train figures are measured with dropout on"]
    return table


def copying_table(c: Comparison) -> Table | None:
    """Return shares that the arms' pieces copy from training, and those of held-out music; None where none has them."""
    keys = {key: title for key, title in COMPOSED.items() if key in c.metrics}
    if not keys:
        return None
    table = _metric_table(c, keys, "Composed pieces and held-out music", "weights with the lowest loss/val")
    # Predictors do not compose.
    table.rows, table.below = table.rows[: table.arms], "human music"
    human = [c.sweep_values(key + HELD_OUT) for key in keys]
    if any(human):
        # Rounded as the arms in the column.
        places = [_places(c, key) for key in keys]
        shown = [mean_text(estimate(v), n) if v else NOTHING for v, n in zip(human, places, strict=True)]
        table.rows.append([" / ".join(c.held_out), *shown])
    table.notes = [
        "copied: share of the runs of that many notes that also occur in the training music",
        "overlap: with the distributions of the training music, 1 is the same",
        "distance: in standard deviations of human excerpts, lower is nearer; below, human excerpts among themselves",
    ]
    return table


def difference_table(c: Comparison) -> Table:
    """Return the paired difference of every metric of the other tables with its interval; a column per arm.

    Where an arm has too few pairs for an interval, the single differences stand in its place.
    """
    kinds = ("accuracy", *(f"accuracy_{name}" for name in CHANNELS), "accuracy_joint", "loss")
    keys = [key for split in SPLITS for kind in kinds if (key := f"{kind}/{split}") in c.metrics]
    keys += [key for key in ("gap/accuracy", "gap/loss", "zeros/all", "small/all", *COMPOSED) if key in c.metrics]
    found = {arm: {key: d for key in keys if (d := c.differences.get((arm, key)))} for arm in c.others}
    every = [d for arm in c.others for d in found[arm].values()]
    judged = any(d.interval for d in every)
    columns = []
    for arm, by_key in found.items():
        places = decimals(d.sd for d in by_key.values())
        columns.append([_difference_text(c, arm, key, places, judged) for key in keys])
    rows = [[_head(c, key), *cells] for key, cells in zip(keys, zip(*columns, strict=True), strict=True)]
    what = "the 95 % interval" if judged else "the single differences"
    caption = f"Difference to {c.baseline.label} seed by seed, in brackets {what}; {weights(c)}"
    header = ["metric", *(arm.label for arm in c.others)]
    return Table(caption=caption, header=header, rows=rows, arms=len(rows), notes=intervals(every))


def _difference_text(c: Comparison, arm: Arm, key: str, places: int, judged: bool) -> str:
    d = c.differences.get((arm, key))
    if d is None:
        return NOTHING
    mean = fixed(d.mean, places, signed=True)
    single = list(pairs(arm, c.baseline, key).values())
    return mean if d.n == 1 and not judged else f"{mean} [{_interval(d, places, single, judged)}]"


def _interval(d: Paired, places: int, single: Sequence[float], judged: bool) -> str:
    """Return the interval, else the single differences; among intervals these are marked as none."""
    shown = interval_text(d, places, single)
    return f"none: {shown}" if judged and d.interval is None else shown


def _metric_table(c: Comparison, columns: dict[str, str], title: str, of: str = "") -> Table:
    """Return a table of metrics with a row per arm and per predictor; `of` names its weights if others than `c`'s."""
    keys = [key for key in columns if key in c.metrics]
    cells: list[list[str]] = []
    for key in keys:
        found = [c.estimates.get((arm, key)) for arm in c.sweep.arms]
        values = _predictor_values(c, key)
        found += [estimate(list(values[p].values())) if p in values else None for p in c.predictors]
        cells.append([mean_text(e, _places(c, key)) for e in found])
    labels = [arm.label for arm in c.sweep.arms] + [predictor.title for predictor in c.predictors]
    rows = [[label, *(column[k] for column in cells)] for k, label in enumerate(labels)]
    caption = f"{title}: {over(c, keys)}, {of or weights(c)}"
    return Table(caption=caption, header=["arm", *(columns[k] for k in keys)], rows=rows, arms=len(c.sweep.arms))


def _places(c: Comparison, key: str) -> int:
    """Return the decimals of the column of a metric."""
    spreads = [e.sd for arm in c.sweep.arms if (e := c.estimates.get((arm, key))) is not None]
    spreads += [estimate(list(values.values())).sd for values in _predictor_values(c, key).values()]
    human = c.sweep_values(key + HELD_OUT) if key in COMPOSED else []
    return decimals([*spreads, estimate(human).sd if human else None])


def _head(c: Comparison, metric: str) -> str:
    """Return the title of a metric, a loss with its unit behind its kind."""
    kind, comma, split = c.title(metric).partition(",")
    return f"{kind} ({_NATS}){comma}{split}" if unit(metric) == _NATS else c.title(metric)


def _predictor_values(c: Comparison, metric: str) -> dict[Predictor, dict[int, float]]:
    """Return the metric of each predictor that has it, by seed; its skill is taken against the best of them."""
    kind, _, split = metric.partition("/")
    if kind != "skill":
        return {p: p.values[metric] for p in c.predictors if p.values.get(metric)}
    found: dict[Predictor, dict[int, float]] = {}
    for predictor in c.predictors:
        best = next((c.against[arm, split][0] for arm in predictor.arms if (arm, split) in c.against), None)
        accuracies = predictor.values.get(f"accuracy/{split}", {})
        reference = best.values[f"accuracy/{split}"] if best else {}
        skills = {s: skill(accuracies[s], reference[s]) for s in accuracies if s in reference}
        by_seed = {seed: value for seed, value in skills.items() if value is not None}
        if by_seed:
            found[predictor] = by_seed
    return found


def _left_out(arm: Arm) -> int:
    return sum(run.status == COMPLETED and run.left_out is not None for run in arm.runs)


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def arm_rows(c: Comparison) -> list[dict[str, Any]]:
    """Return a row per arm and metric, full precision; the predictors without a network follow.

    Columns: `arm`, `metric`, `split`, `unit`, `seeds`, `mean`, `sd`; of the paired difference to the arm `baseline`:
    `pairs`, `difference`, `difference_sd`, its 95 % interval from `low` to `high`, the method of the `interval`,
    `effect_size` and `p_holm`; the numbers of runs that `failed` and were `left_out`. None where there is no value.
    """
    rows: list[dict[str, Any]] = []
    for arm in c.sweep.arms:
        ends = {"failed": len(arm.failed), "left_out": _left_out(arm)}
        for metric in c.metrics:
            if (value := c.estimates.get((arm, metric))) is None:
                continue
            row = {**_row(c, arm.label, metric, value), "baseline": c.baseline.label, **ends}
            if (d := c.differences.get((arm, metric))) is not None:
                low, high = d.interval or (None, None)
                row |= {"pairs": d.n, "difference": d.mean, "difference_sd": d.sd, "low": low, "high": high}
                row |= {"interval": d.method, "effect_size": d.effect_size}
            rows.append({**row, "p_holm": c.adjusted.get((arm, metric))})
        if not arm.counted:
            rows.append({"arm": arm.label, **ends})
    for metric in c.metrics:
        for predictor, values in _predictor_values(c, metric).items():
            rows.append(_row(c, predictor.title, metric, estimate(list(values.values()))))
    return [{column: row.get(column) for column in _ARM_COLUMNS} for row in rows]


def _row(c: Comparison, label: str, metric: str, value: Estimate) -> dict[str, Any]:
    row = {"arm": label, "metric": metric, "split": _csv_split(c, metric), "unit": unit(metric)}
    return row | {"seeds": value.n, "mean": value.mean, "sd": value.sd}


def run_rows(c: Comparison) -> list[dict[str, Any]]:
    """Return a row per run with every metric, also of those that do not count, and why.

    Columns: `run` (its folder), `number`, `arm`, `seed`, `fold`, `status`, `counts`, `reason`, the shares of leaked
    targets, and the metrics. None where there is no value.
    """
    rows: list[dict[str, Any]] = []
    for arm in c.sweep.arms:
        for run in arm.runs:
            row = {"run": run.folder.relative_to(c.sweep.folder).as_posix(), "number": run.number, "arm": arm.label}
            row |= {"seed": run.seed, "fold": run.fold, "status": run.status, "counts": run.counts}
            row |= {"reason": run.left_out or run.error}
            row |= {key: run.summary.get(key) for key in _LEAKS}
            rows.append(row | {key: run.metrics.get(key) for key in c.metrics})
    return rows


def csv_table(c: Comparison) -> str:
    """Return `arm_rows` as the text of a CSV file."""
    return _csv([list(_ARM_COLUMNS), *(list(row.values()) for row in arm_rows(c))])


def csv_runs(c: Comparison) -> str:
    """Return `run_rows` as the text of a CSV file."""
    rows = [{**row, "counts": str(row["counts"]).lower()} for row in run_rows(c)]
    return _csv([list(rows[0]), *(list(row.values()) for row in rows)])


def _csv_split(c: Comparison, metric: str) -> str:
    kind, _, split = metric.partition("/")
    return c.split("val") if kind == "gap" else c.split(split) if split in (*SPLITS, "train") else ""


def _csv(rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()
