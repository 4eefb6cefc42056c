"""Captions of tables and figures: split, weights, number of seeds, and what bars and bands are. Needs no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable

from composer.compare.bands import Limits, band, limits
from composer.compare.effects import SPLITS, Comparison
from composer.compare.runs import Arm
from composer.evaluation.statistics import FEWEST, FEWEST_BOOTSTRAP, Paired

NO_INTERVAL = f"no interval from fewer than {FEWEST} pairs"


def weights(c: Comparison) -> str:
    """Return which weights the figures are of."""
    return {"final": "weights after the last epoch", "best": "weights with the lowest loss/val"}[c.weights]


def over(c: Comparison, metrics: Iterable[str]) -> str:
    """Return `mean ± standard deviation over 5 seeds`, from the seeds that the arms have for these metrics."""
    counts = [c.estimates[arm, m].n for m in metrics for arm in c.sweep.arms if (arm, m) in c.estimates]
    low, high = min(counts, default=0), max(counts, default=0)
    if high <= 1:
        return "one seed per arm, so no standard deviation"
    return f"mean ± standard deviation over {high if low == high else f'{low} to {high}'} seeds"


def intervals(differences: Iterable[Paired | None]) -> list[str]:
    """Return what the intervals of paired differences are, a note for each kind that there is; also for none."""
    found = [d for d in differences if d is not None]
    methods = {d.method for d in found if d.interval is not None}
    notes = []
    if "bootstrap" in methods:
        notes.append("95 % interval of the mean difference: expanded percentile bootstrap over the pairs of runs")
    if "t" in methods:
        notes.append(f"(t): 95 % interval by Student's t, for {FEWEST} to {FEWEST_BOOTSTRAP - 1} pairs")
    few = sorted({d.n for d in found if d.interval is None})
    if few:
        ends = " or ".join(map(str, few))
        notes.append(f"{NO_INTERVAL}, of which there are {ends}: the single differences are shown")
    return notes


def figure_captions(c: Comparison) -> dict[str, str]:
    """Return the caption of each figure by name; `curves` also captions its further pages."""
    return {
        "curves": _curves(c),
        "overlay": _overlay(c),
        "differences": _differences(c),
        "gap": f"How far training is ahead of {c.split('val')}: {_bars(c, 'gap/accuracy')}; a dot per seed. The "
        f"train figures are measured during the epoch, with dropout on. {capitalised(weights(c))}.",
        "path": f"Accuracy, gap and sparsity by the swept number: {_bars(c, 'accuracy/val')}. The lines connect the "
        f"values and fit nothing. {capitalised(weights(c))}.",
        "channels": f"Accuracy of note, velocity, time, all three at once, and the mean of the three: "
        f"{_bars(c, 'accuracy/val')}; the marks are means of the predictors without a network on the same windows. "
        f"{capitalised(weights(c))}.",
    }


def shown_limits(c: Comparison) -> Limits | None:
    """Return the ends of the loss axis of the panels of all arms."""
    return limits([band(arm, f"loss/{s}") for arm in c.sweep.arms for s in ("train", "val")], from_zero=True)


def overlay_limits(c: Comparison, kind: str) -> Limits | None:
    """Return the ends of an axis of the overlay: `loss` or `accuracy`, of validation."""
    return limits([band(arm, f"{kind}/val") for arm in c.sweep.arms])


def band_words(arms: Iterable[Arm]) -> str:
    """Return `mean and band of one standard deviation over 5 runs`."""
    counts = [n for arm in arms if (n := band(arm, "loss/val").n or band(arm, "accuracy/val").n)]
    low, high = min(counts, default=0), max(counts, default=0)
    if high <= 1:
        return "one run per arm, so no band"
    return f"mean (line) and one standard deviation (band) over {high if low == high else f'{low} to {high}'} runs"


def _curves(c: Comparison) -> str:
    ends = shown_limits(c)
    text = f"Loss and accuracy by epoch, train and {c.split('val')}, a panel per arm: {band_words(c.sweep.arms)}. "
    text += "Train is measured during the epoch, with dropout on."
    if any((arm, "val") in c.against for arm in c.sweep.arms):
        text += " Dotted: mean accuracy of the best predictor without a network."
    return text + _cut("loss", ends)


def _overlay(c: Comparison) -> str:
    text = f"Loss and accuracy by epoch on {c.split('val')}, all arms in one axes: {band_words(c.sweep.arms)}. "
    text += "The axes show the range of the curves."
    return text + "".join(_cut(kind, overlay_limits(c, kind)) for kind in ("loss", "accuracy"))


def _cut(kind: str, ends: Limits | None) -> str:
    if ends is None or not ends.cut:
        return ""
    return f" The {kind} axis is cut, from {ends.low:.2g} to {ends.high:.2g}: first epochs lie outside."


def _differences(c: Comparison) -> str:
    metrics = [f"{kind}/{split}" for kind in ("accuracy", "loss") for split in SPLITS]
    found = [d for arm in c.others for m in {*metrics, c.metric} if (d := c.differences.get((arm, m))) is not None]
    marks = "the mean (diamond), its interval (line) and each pair (dots)"
    if not any(d.interval for d in found):
        marks = "the mean (diamond) and each pair (dots)"
    text = f"Each arm minus {c.baseline.label}, seed by seed: {marks}. "
    notes = ". ".join(capitalised(note) for note in intervals(found))
    return f"{text}{notes}. {capitalised(weights(c))}."


def _bars(c: Comparison, metric: str) -> str:
    """Return what bars and their error bars are."""
    words = over(c, [metric])
    return words.replace("mean ± standard deviation", "mean and, as error bars, one standard deviation")


def capitalised(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]
