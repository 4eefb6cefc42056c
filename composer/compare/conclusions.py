"""Conclusions of a comparison: what the figures support, and what they do not, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from composer.compare.captions import capitalised
from composer.compare.effects import HELD_OUT, SPLITS, Comparison, higher_is_better, pairs, unit
from composer.compare.rounding import decimals, fixed, interval_text
from composer.compare.runs import Arm
from composer.evaluation.statistics import FEWEST, Paired

# Below this a finding could well be one of several tries.
_SIGNIFICANT = 0.05
# As many arms are named with their figures in one sentence.
_FEW = 2
# An interval that excludes 0, but not after Holm's correction.
_HINT = "a hint, not a finding"
_APART = "not distinguishable"
# The share that tells of copying.
_COPIED = "copying/interval_8"


def words(c: Comparison) -> list[str]:
    """Return what the numbers support, and what they do not, a sentence or two each."""
    sentences = [_verdict(c, arm) for arm in c.others]
    if not c.others:
        sentences.append("There is only one arm, so there is nothing to compare it with.")
    sentences += _seeds(c)
    family = sum((arm, c.metric) in c.adjusted for arm in c.others)
    if family > 1:
        chance = 1 - 0.95**family
        sentences.append(
            f"{family} differences were tested. If none were real, some interval would exclude 0 in up to "
            f"{chance:.0%} of such sweeps, so a difference also has to hold after Holm's correction."
        )
    sentences += [
        sentence
        for metric in ("accuracy/val", "accuracy/test", "loss/val", "loss/test", "gap/accuracy", "gap/loss")
        if metric in c.metrics and metric != c.metric and (sentence := _grouped(c, metric))
    ]
    sentences += [sentence for split in SPLITS if (sentence := _against_predictors(c, split))]
    sentences += _copied(c)
    leaks = [run.summary.get("leak_rate") for run in c.sweep.counted]
    known = [float(leak) for leak in leaks if isinstance(leak, (int, float))]
    if known and max(known) > 0:
        sentences.append(
            f"{_percent(known)} of the val targets also occur in training windows, so {c.split('val')} is optimistic"
            + (
                f"; {c.split('test')} has none of them."
                if "accuracy/test" in c.metrics
                else ", and there is no test block."
            )
        )
    return sentences


def _verdict(c: Comparison, arm: Arm) -> str:
    """Return what the main metric says of one arm."""
    what = f"**{arm.label}** against {c.baseline.label}, {c.title(c.metric)}"
    d = c.differences.get((arm, c.metric))
    if d is None:
        return f"{what}: no seed in common, so no conclusion."
    places = decimals([d.sd])
    nats = f" {unit(c.metric)}" if unit(c.metric) == "nats per event" else ""
    value = f"{fixed(d.mean, places, signed=True)}{nats}"
    if d.interval is None:
        found = pairs(arm, c.baseline, c.metric).items()
        single = ", ".join(f"{fixed(one, places, signed=True)} with seed {seed}" for seed, one in found)
        over = f" on average over {d.n} pairs ({single})" if d.n > 1 else f" in one pair (seed {next(iter(found))[0]})"
        return f"{what}: {value}{over}. These are too few seeds for an interval (at least {FEWEST}), so no conclusion."
    if d.sd == 0 and d.mean == 0 and not arm.confounded:
        return f"{what}: the same figure in each of {d.n} pairs: no difference is shown."
    low, high = (fixed(end, places, signed=True) for end in d.interval)
    text = f"{what}: {value}, 95 % interval {low} to {high} over {d.n} pairs"
    text += ", by Student's t" * (d.method == "t" and d.sd != 0)
    if arm.confounded:
        differ = "differ" if len(arm.confounded) > 1 else "differs"
        return f"{text}. The arms are not comparable, because {' and '.join(arm.confounded)} {differ} too."
    direction = _found(c, arm, c.metric)
    if direction == 0:
        if d.covers_zero:
            return f"{text}. The interval includes 0: no difference is shown."
        p = c.adjusted[arm, c.metric]
        return f"{text}. The interval excludes 0, but after Holm's correction p = {p:.2f}: {_HINT}."
    better = higher_is_better(c.metric)
    judged = "" if better is None else ", which is better" if better == (direction > 0) else ", which is worse"
    size = (
        " (every pair differs by the same)"
        if d.effect_size is None
        else f" (effect size {fixed(d.effect_size, 1, signed=True)})"
    )
    return f"{text}. The interval excludes 0: it is {_higher(direction)}{judged}{size}."


def _found(c: Comparison, arm: Arm, metric: str) -> int:
    """Return 1 or -1 where a difference is supported, and that way; 0 where none is."""
    d = c.differences[arm, metric]
    if d.covers_zero or arm.confounded or c.adjusted.get((arm, metric), 0.0) > _SIGNIFICANT:
        return 0
    return 1 if d.mean > 0 else -1


def _in_a_word(c: Comparison, arm: Arm, metric: str) -> str:
    """Return the short form of an arm's difference, for a sentence about several arms."""
    if direction := _found(c, arm, metric):
        return _higher(direction)
    return _APART if c.differences[arm, metric].covers_zero else _HINT


def _grouped(c: Comparison, metric: str) -> str:
    """Return one sentence on another metric: which arms are higher or lower, which are not distinguishable."""
    arms = [arm for arm in c.others if (arm, metric) in c.differences and not arm.confounded]
    judged = [arm for arm in arms if c.differences[arm, metric].interval is not None]
    verdicts = {arm: _in_a_word(c, arm, metric) for arm in judged}
    parts = [
        f"{verdict}: {_named({arm: c.differences[arm, metric] for arm in judged if verdicts[arm] == verdict})}"
        for verdict in ("higher", "lower", _HINT, _APART)
        if verdict in verdicts.values()
    ]
    if len(judged) > _FEW and set(verdicts.values()) == {_APART}:
        parts = ["no arm is distinguishable"]
    return (
        f"{capitalised(c.title(metric))}, against {c.baseline.label}: {'. '.join(map(capitalised, parts))}."
        if parts
        else ""
    )


def _against_predictors(c: Comparison, split: str) -> str:
    """Return whether the arms beat the best predictor without a network on a split."""
    parts: dict[str, dict[Arm, Paired]] = {}
    for arm in c.sweep.arms:
        if (arm, split) not in c.against:
            continue
        predictor, d = c.against[arm, split]
        verdict = "not distinguishable from" if d.covers_zero else "better than" if d.mean > 0 else "worse than"
        verdict = "on too few seeds to be compared with" if d.interval is None else verdict
        seeds = [seed for seed in arm.by_seed(f"accuracy/{split}") if seed in predictor.values[f"accuracy/{split}"]]
        mean = sum(predictor.values[f"accuracy/{split}"][seed] for seed in seeds) / len(seeds)
        parts.setdefault(f"{verdict} {predictor.title} ({mean:.3f})", {})[arm] = d
    if not parts:
        return ""
    text = ", while ".join(_sentence(c, verdict, arms) for verdict, arms in parts.items())
    return f"Accuracy on {c.split(split)} compared with the best predictor without a network: {text}."


def _copied(c: Comparison) -> list[str]:
    """Return what the arms copy beside what held-out music does, and which copy more or less."""
    shares = {arm: list(arm.by_seed(_COPIED).values()) for arm in c.sweep.arms}
    if not any(shares.values()):
        return []
    parts = [f"{_percent(values)} of what {arm.label} composes" for arm, values in shares.items() if values]
    human = c.sweep_values(_COPIED + HELD_OUT)
    beside = (
        f", and {_percent(human)} of {' / '.join(c.held_out)}"
        if human
        else "; there is no held-out music to compare with"
    )
    text = ", ".join(parts) if len(parts) <= _FEW else f"{_percent(sum(shares.values(), []))} of what the arms compose"
    grouped = _grouped(c, _COPIED)
    return [
        f"Runs of 8 notes that occur in the training music, transposed or not: {text}{beside}.",
        *([grouped] if grouped else []),
    ]


def _sentence(c: Comparison, verdict: str, arms: dict[Arm, Paired]) -> str:
    if len(arms) == len(c.sweep.arms) > _FEW:
        return f"no arm is {verdict[4:]}" if verdict.startswith("not ") else f"every arm is {verdict}"
    return f"{_named(arms)} {'are' if len(arms) > 1 else 'is'} {verdict}"


def _named(differences: dict[Arm, Paired]) -> str:
    """Return the arms of a verdict: with their differences where these are few, else as the tables have them."""
    if len(differences) > _FEW:
        return "; ".join(arm.label for arm in differences)
    places = decimals(d.sd for d in differences.values())
    return "; ".join(f"{arm.label} ({_signed(d, places)})" for arm, d in differences.items())


def _seeds(c: Comparison) -> list[str]:
    """Return seeds that are missing on one side of a pair."""
    sentences = []
    base = c.baseline.by_seed(c.metric).keys()
    for arm in c.others:
        mine = arm.by_seed(c.metric).keys()
        for lacking, without, other in ((base - mine, arm, c.baseline), (mine - base, c.baseline, arm)):
            if lacking and mine:
                seeds = ", ".join(str(seed) for seed in sorted(lacking))
                sentences.append(f"{without.label} lacks seed {seeds} of {other.label}: only common seeds are paired.")
    return list(dict.fromkeys(sentences))


def _signed(d: Paired, places: int) -> str:
    return fixed(d.mean, places, signed=True) + (f", {interval_text(d, places)}" if d.interval else "")


def _higher(direction: int) -> str:
    return "higher" if direction > 0 else "lower"


def _percent(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.1%}" if f"{low:.1%}" == f"{high:.1%}" else f"{low:.1%} to {high:.1%}"


def count(number: int, noun: str) -> str:
    """Return `1 arm`, `2 arms`."""
    return f"{number} {noun}" + "s" * (number != 1)
