"""Baselines: predictions without a network, which an accuracy must exceed to mean anything.

W = windows of one set, T = window_size
predictions  (W, 4) int32: note, velocity, time, and the three as one number, the joint event

majority     the most frequent in training
repeat_last  the event before the target
markov       the most frequent after the last k events in training, k chosen on the validation windows
nearest      the successor of the training context that agrees with this one in most entries

The accuracy of a channel is that of its column, the joint accuracy that of the joint column. For majority and markov
the joint prediction is the most frequent joint event, not the three most frequent classes, which may never occur
together: each figure is the best for its counts. Ties go to the lowest class and the earliest window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.limits import CHANNELS
from composer.data.leakage import context_digests
from composer.data.splits import Splits
from composer.data.tokens import TokenSource
from composer.data.window_sets import Indices, WindowSet, sample
from composer.random_streams import RandomStream

Predictions = NDArray[np.int32]
# The result of `measure`: the figures of each baseline.
Baselines = dict[str, dict[str, Any]]

MAX_ORDER = 8
# Windows above which a seeded sample is used, so that any corpus takes seconds; the result has the number used.
MAX_COUNTED = 1_000_000
MAX_SEARCHED = 1_000
# Windows that are counted where they are not listed: the tables then take at most some 300 MB.
MAX_COMPUTED = 1 << 19
# Entries that `nearest` compares per split.
MAX_ENTRIES = 2_000_000_000

# Pairs of windows that are compared at once: they fit into the cache of a core.
_PAIRS = 1 << 19


@dataclass(frozen=True, slots=True)
class Examples:
    """Windows of a corpus, to be sampled from.

    Attributes:
        tokens: classes of all events.
        windows: first positions; the target is the event at start + window_size.
        window_size: events before the target; no longer context is used, so none leaves its piece.
    """

    tokens: TokenSource
    windows: WindowSet
    window_size: int

    def __len__(self) -> int:
        return len(self.windows)

    def sample(self, most: int, seed: int, context: int | None = None) -> Contexts:
        """Return at most `most` of the windows, drawn by the seed, in rising order.

        Args:
            most: windows at most.
            seed: decides the draw.
            context: events before the target that are kept of each; None keeps `window_size`.
        """
        size = self.window_size if context is None else min(context, self.window_size)
        key = [seed, RandomStream.BASELINE_SAMPLE]
        # The two draws differ so that the figures of earlier runs can be computed again.
        if self.windows.computed:
            starts = sample(self.windows, min(most, MAX_COMPUTED), key).positions()
        elif len(self.windows) <= most:
            starts = self.windows.positions()
        else:
            starts = self.windows[np.random.default_rng(key).choice(len(self.windows), most, replace=False)]
        starts = np.sort(starts) + (self.window_size - size)
        return Contexts(self.tokens.windows(starts, size + 1))


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts with the event that followed each.

    Attributes:
        windows: (W, T + 1, 3) classes of the context and of the target.
    """

    windows: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def window_size(self) -> int:
        """Events T before the target."""
        return int(self.windows.shape[1]) - 1

    @property
    def contexts(self) -> NDArray[np.uint8]:
        """Classes (W, T, 3) of the events before each target."""
        return self.windows[:, :-1]

    def targets(self) -> Predictions:
        """Return the correct predictions (W, 4)."""
        return _with_joint(self.windows[:, -1])

    def last(self, order: int) -> NDArray[np.uint64]:
        """Return digests (W,) of the `order` events before each target; of none they are all equal."""
        return context_digests(self.windows[:, self.window_size - order : -1])


def _with_joint(events: NDArray[np.uint8]) -> Predictions:
    classes = events.astype(np.int32)
    joint = classes @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return np.column_stack([classes, joint])


def repeat_last(scored: Contexts) -> Predictions:
    """Return the event before each target (W, 4)."""
    return _with_joint(scored.windows[:, -2])


@dataclass(frozen=True, slots=True)
class Counts:
    """The most frequent event after each context of one length.

    Attributes:
        contexts: (C,) their digests, rising.
        commonest: (C, 4) the prediction for each.
    """

    contexts: NDArray[np.uint64]
    commonest: Predictions


def count(train: Contexts, highest: int = MAX_ORDER) -> list[Counts]:
    """Return the counts after the last 0, 1, ... `highest` events, of at most the size of the window."""
    targets, tables = train.targets(), []
    for order in range(min(highest, train.window_size) + 1):
        contexts, numbers = np.unique(train.last(order), return_inverse=True)
        columns = [_commonest(numbers, targets[:, column]) for column in range(4)]
        tables.append(Counts(contexts, np.column_stack(columns)))
    return tables


def _commonest(groups: NDArray[np.int64], classes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the most frequent class (G,), below 2^24, of each group 0 .. G - 1, the lowest of several."""
    pairs, counts = np.unique(groups << 24 | classes, return_counts=True)
    group = pairs >> 24
    # Within a group the largest count first; the sort is stable, so that equal counts stay in the classes' order.
    order = np.lexsort((-counts, group))
    first: Indices = order[np.unique(group, return_index=True)[1]]
    return np.asarray(pairs[first] & 0xFFFFFF, np.int32)


def markov(tables: list[Counts], scored: Contexts) -> list[Predictions]:
    """Return the predictions of a Markov chain of each order; order 0 is the majority.

    Order k predicts by `tables[k]`; for a context that does not occur in training it predicts as order k - 1.
    """
    predicted = np.zeros((len(scored), 4), np.int32)
    orders = []
    for order, table in enumerate(tables):
        asked = scored.last(order)
        place = np.minimum(np.searchsorted(table.contexts, asked), len(table.contexts) - 1)
        known = table.contexts[place] == asked
        predicted = np.where(known[:, None], table.commonest[place], predicted)
        orders.append(predicted)
    return orders


def nearest(train: Contexts, scored: Contexts) -> Predictions:
    """Predict the successor of the training context that is most similar to each scored one.

    Most similar is the context that agrees in most of the 3 T entries, place by place. Of several it is the one with
    more channels right in the last event, then in the event before it, and so on; of several still, the earliest
    window.

    Args:
        train: in rising order.
        scored: in any order.
    """
    # Of equal contexts only the earliest can be chosen.
    first = np.sort(np.unique(train.last(train.window_size), return_index=True)[1])
    known = Contexts(train.windows[first])
    contexts, asked = known.contexts, scored.contexts
    entries = np.ascontiguousarray(contexts.reshape(len(contexts), -1).T)
    step = max(1, _PAIRS // len(known))
    chosen = [_nearest(contexts, entries, asked[k : k + step]) for k in range(0, len(asked), step)]
    return known.targets()[np.concatenate(chosen)]


def _nearest(contexts: NDArray[np.uint8], entries: NDArray[np.uint8], asked: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number (S,) of the context nearest to each query.

    Args:
        contexts: (W, T, 3) to choose from.
        entries: (3 T, W) the same, transposed.
        asked: (S, T, 3).
    """
    agreeing = np.zeros((len(asked), len(contexts)), np.uint8 if len(entries) < 256 else np.uint32)
    equal = np.empty(agreeing.shape, np.bool_)
    for known, wanted in zip(entries, asked.reshape(len(asked), -1).T, strict=True):
        np.equal(known, wanted[:, None], out=equal)
        np.add(agreeing, equal.view(np.uint8), out=agreeing)
    # The remaining contexts of each row are adjacent, the earliest first.
    row, left = np.nonzero(agreeing == agreeing.max(axis=1, keepdims=True))
    for event in reversed(range(asked.shape[1])):
        if len(row) == len(asked):
            break
        right = (contexts[left, event] == asked[row, event]).sum(axis=1)
        most = np.maximum.reduceat(right, np.unique(row, return_index=True)[1])
        row, left = row[right == most[row]], left[right == most[row]]
    return left[np.unique(row, return_index=True)[1]]


def accuracies(predicted: Predictions, scored: Contexts, split: str) -> dict[str, float]:
    """Return the metrics by the keys of a network's (`training/metrics.py`), with the number of scored windows."""
    *channels, joint = (predicted == scored.targets()).mean(axis=0).tolist()
    return {
        f"accuracy/{split}": sum(channels) / 3,
        f"accuracy_joint/{split}": joint,
        **{f"accuracy_{channel}/{split}": value for channel, value in zip(CHANNELS, channels, strict=True)},
        f"windows_{split}": len(scored),
    }


def measure(
    tokens: TokenSource,
    splits: Splits,
    window_size: int,
    seed: int,
    other: Examples | None = None,
) -> Baselines:
    """Fit every baseline on the training windows, and score it on the validation and test windows.

    The order of `markov` is the one from 1 on that is best on the validation windows, the lowest of several. Its figure
    there is therefore slightly optimistic.

    Args:
        tokens: classes of all events.
        splits: the windows.
        window_size: events before the target.
        seed: draws the samples.
        other: score these windows instead, as the split `data`.

    Returns:
        For each baseline the accuracies by key; the number of windows it was fitted on (`windows_train`) and scored on,
        fewer than exist where they were sampled; for `markov` its `order`.
    """
    train, val, test = (Examples(tokens, part, window_size) for part in (splits.train, splits.val, splits.test))
    scored = {"val": val, "test": test} if other is None else {"data": other}
    counted = train.sample(MAX_COUNTED, seed, MAX_ORDER)
    copied = train.sample(max(1, MAX_ENTRIES // (MAX_SEARCHED * 3 * window_size)), seed)
    tables = count(counted)
    chooser = val.sample(MAX_COUNTED, seed, MAX_ORDER)
    by_order = [accuracies(predicted, chooser, "val")["accuracy/val"] for predicted in markov(tables, chooser)]
    best_order = 1 + int(np.argmax(by_order[1:]))
    results: Baselines = {
        "majority": {"windows_train": len(counted)},
        "repeat_last": {},
        "markov": {"order": best_order, "windows_train": len(counted)},
        "nearest": {"windows_train": len(copied)},
    }
    for split, asked in scored.items():
        if not len(asked):
            continue
        many, few = asked.sample(MAX_COUNTED, seed, MAX_ORDER), asked.sample(MAX_SEARCHED, seed)
        orders = markov(tables, many)
        results["majority"] |= accuracies(orders[0], many, split)
        results["repeat_last"] |= accuracies(repeat_last(many), many, split)
        results["markov"] |= accuracies(orders[best_order], many, split)
        results["nearest"] |= accuracies(nearest(copied, few), few, split)
    return results


def best(baselines: Baselines, split: str) -> float | None:
    """Return the highest accuracy of a baseline on a split; None where none was scored."""
    key = f"accuracy/{split}"
    return max((figures[key] for figures in baselines.values() if key in figures), default=None)


def skill(accuracy: float, baseline: float) -> float | None:
    """Return the skill of an accuracy over a baseline: 0 is the baseline, 1 is perfect.

    The skill score (A - A_ref) / (A_perfect - A_ref) of weather forecasting, Heidke's when the reference is chance
    (Murphy 1988; Wilks 2011, section 8.1.4). None for a perfect baseline.
    """
    return None if baseline == 1 else (accuracy - baseline) / (1 - baseline)
