"""Figures of a sweep: means, paired differences to the baseline arm, skill over predictors without a network."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from composer.compare.runs import Arm, Run, Sweep
from composer.config.data import split_title
from composer.config.limits import CHANNELS
from composer.errors import ComposerError
from composer.evaluation.statistics import Paired, holm, mean_sd, paired

SPLITS = ("val", "test")
# Predictors without a network: key in `summary.json` and title.
PREDICTORS = {"majority": "majority", "repeat_last": "repeat last", "markov": "Markov", "nearest": "nearest context"}
ACCURACIES = ("accuracy", *(f"accuracy_{channel}" for channel in CHANNELS), "accuracy_joint")
_UNITS = {
    "loss": "nats per event",
    "nll": "nats per event",
    "accuracy": "share of events",
    "skill": "share of the distance to 1",
}
_SPARSITY = {"zeros/all": "exact zeros", "small/all": "weights below 1e-3"}
DISTANCE = "quality/distance"
# Titles of the figures of composed pieces.
COMPOSED = {
    "copying/interval_4": "4 notes copied, transposed or not",
    "copying/pitch_8": "8 notes copied",
    "copying/interval_8": "8 notes copied, transposed or not",
    "copying/interval_16": "16 notes copied, transposed or not",
    "copying/longest_notes": "longest quotation, notes",
    "copying/longest_events": "longest quotation, events",
    "copying/longest_seconds": "longest quotation, seconds",
    "quality/overlap_mean": "overlap with training",
    "quality/on_grid": "times between onsets on the grid of 1/12 beat",
    "quality/repetition": "figures of 9 notes that are repeated",
    DISTANCE: "distance to human music",
}
HELD_OUT = "/held_out"


class Estimate(NamedTuple):
    """Mean and standard deviation (None for one run) over n runs."""

    mean: float
    sd: float | None
    n: int


@dataclass(kw_only=True, eq=False)
class Predictor:
    """A predictor without a network on the arms' windows.

    Attributes:
        key: as `summary.json` names it.
        title: the title for readers, with its order or with the arms where they have windows of their own.
        arms: those whose windows it predicted.
        values: metric by seed, by metric.
    """

    key: str
    title: str
    arms: list[Arm]
    values: dict[str, dict[int, float]]


@dataclass(kw_only=True, eq=False)
class Comparison:
    """All figures of a sweep.

    Attributes:
        sweep: the runs.
        baseline: the arm that the others are compared with.
        metric: what the first table is about.
        weights: `final` or `best`.
        metrics: every metric that a run has, in the order of the tables.
        estimates: by arm and metric.
        differences: arm minus baseline arm, by arm and metric.
        adjusted: Holm's p of a difference among those of its metric, where there are several.
        predictors: without a network.
        against: (arm, split) to its best predictor and the accuracy's difference, arm minus predictor.
    """

    sweep: Sweep
    baseline: Arm
    metric: str
    weights: str
    metrics: list[str]
    estimates: dict[tuple[Arm, str], Estimate] = field(default_factory=dict)
    differences: dict[tuple[Arm, str], Paired] = field(default_factory=dict)
    adjusted: dict[tuple[Arm, str], float] = field(default_factory=dict)
    predictors: list[Predictor] = field(default_factory=list)
    against: dict[tuple[Arm, str], tuple[Predictor, Paired]] = field(default_factory=dict)

    @property
    def others(self) -> list[Arm]:
        """The arms that are compared with the baseline arm."""
        return [arm for arm in self.sweep.arms if arm is not self.baseline]

    def title(self, metric: str) -> str:
        """Return the title of a metric: its kind and its split in words."""
        if metric in _SPARSITY:
            return f"{_SPARSITY[metric]}, all weights"
        if metric.removesuffix(HELD_OUT) in COMPOSED:
            whose = "held-out music" if metric.endswith(HELD_OUT) else "composed"
            return f"{COMPOSED[metric.removesuffix(HELD_OUT)]}, {whose}"
        kind, _, split = metric.partition("/")
        if kind == "gap":
            return (
                f"{split} gap, "
                + ("train - " if split == "accuracy" else "")
                + self.split("val")
                + (" - train" if split == "loss" else "")
            )
        return f"{kind.replace('_', ' ')}, {self.split(split)}" if split else kind

    def sweep_values(self, metric: str) -> list[float]:
        """Return the metric of every run that counts and has it."""
        return [run.metrics[metric] for run in self.sweep.counted if metric in run.metrics]

    @property
    def held_out(self) -> list[str]:
        """The held-out music that composed pieces are compared with, in words."""
        blocks = [run.summary.get("copying") for run in self.sweep.counted]
        splits = dict.fromkeys(str(b.get("split")) for b in blocks if isinstance(b, dict) and b.get("held_out"))
        return [f"held-out music, {self.split(split)}" for split in splits]

    def split(self, key: str) -> str:
        """Return a split in words; where the arms divided their windows in different ways, each is named."""
        summaries = [run.summary for run in self.sweep.counted]
        named = {split_title(key, str(s.get("split", "?")), int(s.get("pieces", 1))) for s in summaries}
        return " / ".join(sorted(named)) or key


def unit(metric: str) -> str:
    """Return the unit of a metric's values."""
    kind, _, rest = metric.partition("/")
    if metric in _SPARSITY:
        return "share of the weights"
    if metric.startswith(("copying/pitch", "copying/interval")):
        return "share of runs of notes"
    if metric == DISTANCE:
        return "standard deviations of human excerpts"
    return _UNITS.get(rest if kind == "gap" else kind.split("_")[0], "")


def higher_is_better(metric: str) -> bool | None:
    """Return whether more is better; None where neither is."""
    if metric == DISTANCE:
        return False
    kind = metric.split("/")[0].split("_")[0]
    return {"accuracy": True, "skill": True, "loss": False, "nll": False, "gap": False}.get(kind)


def analyse(sweep: Sweep, baseline: Arm, *, metric: str, weights: str, resamples: int) -> Comparison:
    """Compute every figure from the runs that count.

    Raises:
        ComposerError: no run has the metric.
    """
    predictors = _predictors(sweep)
    best = {(arm, split): _best(predictors, arm, split) for arm in sweep.arms for split in SPLITS}
    for (arm, split), predictor in best.items():
        if predictor is not None:
            _add_skill(arm.counted, predictor.values[f"accuracy/{split}"], split)
    comparison = Comparison(
        sweep=sweep,
        baseline=baseline,
        metric=metric,
        weights=weights,
        metrics=_ordered({key for run in sweep.counted for key in run.metrics}),
        predictors=predictors,
    )
    if metric not in comparison.metrics:
        known = [key for key in comparison.metrics if key.endswith(("/val", "/test"))] or comparison.metrics
        near = difflib.get_close_matches(metric, comparison.metrics, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise ComposerError(f"metric={metric}: no run has it; {hint}")
    for key in comparison.metrics:
        _compare(comparison, key, resamples)
    for (arm, split), predictor in best.items():
        pairs = arm.by_seed(f"accuracy/{split}")
        values = {} if predictor is None else predictor.values[f"accuracy/{split}"]
        differences = [pairs[seed] - values[seed] for seed in pairs if seed in values]
        if predictor is not None and differences:
            comparison.against[arm, split] = (predictor, paired(differences, resamples))
    return comparison


def find_arm(sweep: Sweep, label: str | None) -> Arm:
    """Return the arm of a label; the first for None.

    Raises:
        ComposerError: there is none; names those that there are.
    """
    found = sweep.arms[0] if label is None else next((arm for arm in sweep.arms if arm.label == label.strip()), None)
    if found is None:
        labels = "; ".join(arm.label for arm in sweep.arms)
        raise ComposerError(f"baseline={label}: there is no such arm; the arms are {labels}")
    return found


def pairs(arm: Arm, baseline: Arm, metric: str) -> dict[int, float]:
    """Return arm minus baseline by common seed."""
    mine, others = arm.by_seed(metric), baseline.by_seed(metric)
    return {seed: mine[seed] - others[seed] for seed in mine if seed in others}


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and standard deviation of at least one value."""
    return Estimate(*mean_sd(values), len(values))


def _compare(comparison: Comparison, metric: str, resamples: int) -> None:
    for arm in comparison.sweep.arms:
        values = list(arm.by_seed(metric).values())
        if values:
            comparison.estimates[arm, metric] = estimate(values)
        differences = list(pairs(arm, comparison.baseline, metric).values())
        if differences and arm is not comparison.baseline:
            comparison.differences[arm, metric] = paired(differences, resamples)
    family = [arm for arm in comparison.others if (arm, metric) in comparison.differences]
    tested = [(arm, p) for arm in family if (p := comparison.differences[arm, metric].p) is not None]
    if len(tested) > 1:
        for (arm, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
            comparison.adjusted[arm, metric] = p


def _predictors(sweep: Sweep) -> list[Predictor]:
    """Return the predictors without a network, once where all arms have the same windows, else once per arm."""
    found: list[Predictor] = []
    names = dict.fromkeys([*PREDICTORS, *(name for run in sweep.counted for name in run.baselines)])
    for name in names:
        groups: list[Predictor] = []
        for arm in sweep.arms:
            values = predictor_by_seed(arm, name)
            if not values:
                continue
            like = next((group for group in groups if _agree(group.values, values)), None)
            if like is None:
                groups.append(Predictor(key=name, title="", arms=[arm], values=values))
                continue
            like.arms.append(arm)
            for metric, by_seed in values.items():
                like.values.setdefault(metric, {}).update(by_seed)
        for group in groups:
            group.values.pop("order", None)
            figures = [run.baselines.get(name, {}) for arm in group.arms for run in arm.counted]
            orders = sorted({int(found["order"]) for found in figures if "order" in found})
            group.title = PREDICTORS.get(name, name)
            if orders:
                group.title += f", order {orders[0]}" + (f" to {orders[-1]}" if len(orders) > 1 else "")
            if len(groups) > 1:
                group.title += f" ({'; '.join(arm.label for arm in group.arms)})"
        found += groups
    return found


def predictor_by_seed(arm: Arm, name: str) -> dict[str, dict[int, float]]:
    """Return metrics of a predictor by seed, each the mean over the folds where none lacks."""
    every = len({run.fold for run in arm.runs})
    values: dict[str, dict[int, list[float]]] = {}
    for run in arm.counted:
        for metric, value in run.baselines.get(name, {}).items():
            if run.seed is not None:
                values.setdefault(metric, {}).setdefault(run.seed, []).append(value)
    return {
        metric: {seed: sum(folds) / every for seed, folds in by_seed.items() if len(folds) == every}
        for metric, by_seed in values.items()
    }


def _agree(one: dict[str, dict[int, float]], other: dict[str, dict[int, float]]) -> bool:
    """Return whether two arms' figures are the same for the seeds they share."""
    return all(
        one[metric][seed] == other[metric][seed]
        for metric in one.keys() & other.keys()
        for seed in one[metric].keys() & other[metric].keys()
    )


def _best(predictors: list[Predictor], arm: Arm, split: str) -> Predictor | None:
    """Return the predictor with the highest mean accuracy over the arm's seeds; the first where several are as good."""
    metric, seeds = f"accuracy/{split}", [run.seed for run in arm.counted]
    means: list[tuple[float, Predictor]] = []
    for predictor in predictors:
        by_seed = predictor.values.get(metric, {})
        values = [by_seed[seed] for seed in seeds if seed is not None and seed in by_seed]
        if arm in predictor.arms and values:
            means.append((mean_sd(values)[0], predictor))
    return max(means, key=lambda pair: pair[0])[1] if means else None


def skill(accuracy: float, reference: float) -> float | None:
    """Return (accuracy - reference) / (1 - reference), negative below the reference; None where the reference is 1."""
    return None if reference >= 1 else (accuracy - reference) / (1 - reference)


def _add_skill(runs: list[Run], reference: dict[int, float], split: str) -> None:
    for run in runs:
        accuracy = run.metrics.get(f"accuracy/{split}")
        if accuracy is not None and run.seed in reference:
            value = skill(accuracy, reference[run.seed])
            if value is not None:
                run.metrics[f"skill/{split}"] = value


def _ordered(metrics: set[str]) -> list[str]:
    first = [f"{kind}/{split}" for split in SPLITS for kind in (*ACCURACIES, "loss", "skill")]
    first += ["gap/accuracy", "gap/loss", *_SPARSITY, *(f"{kind}/train" for kind in (*ACCURACIES, "loss"))]
    rest = [key for key in metrics if "/" in key and key not in first]
    return [key for key in first if key in metrics] + sorted(rest)
