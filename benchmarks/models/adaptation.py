"""What a trained network gains without further training: temperatures, counts of the training music, adaptation.

    W = windows of one set, T = window_size, V = classes of a channel

Temperature scaling divides the logits of each channel by a number that is fitted on the validation windows (Guo et al.
2017, "On calibration of modern neural networks", section 4.2).

The counts are those of the last k = 8, 7, ... 0 events in training, interpolated as Witten and Bell 1991 weight them
(method C), of each channel given the earlier channels of the same event:

    p_k = (count + distinct p_(k-1)) / (total + distinct),  p_(-1) = 1 / V

These chances of a channel, like those of chained heads, are given the true channels before it. Their likelihoods are
those of events; their likeliest classes are no predictions of events, so that no accuracy is taken of them.

A mixture of both has, for each channel and each length of the longest context that occurs in training, one weight,
which expectation-maximisation fits on the validation windows (Jelinek and Mercer 1980).

Dynamic evaluation trains on as it reads: after every few targets one step of gradient descent on them (Krause et al.
2018).
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from composer.composing.composer import Composer
from composer.corpus.corpus import read_corpus
from composer.data.bar_position import with_bars
from composer.data.datamodule import scored
from composer.data.leakage import context_digests
from composer.data.prepare import split_corpus
from composer.data.tokens import encode_pieces
from composer.evaluation.calibration import Reliability
from composer.nets.network import Logits, Network

ORDERS = 8
_BATCH = 512
_EM_STEPS = 50
# The temperatures that are tried, and the rates of dynamic evaluation; each is chosen on validation windows.
TEMPERATURES = np.geomspace(0.5, 5, 61)
RATES = (0.0, 1e-3, 3e-3, 1e-2)
# Targets between two steps of dynamic evaluation.
CHUNK = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """Probabilities of one set of windows.

    Attributes:
        chances: (W, V) for each channel.
        targets: (W, 3) classes.
    """

    chances: list[Floats]
    targets: NDArray[np.int64]

    def nats(self) -> Floats:
        """Return the negative log-likelihoods (W, 3) of the targets."""
        rows = np.arange(len(self.targets))
        return np.stack([-np.log(chances[rows, self.targets[:, k]]) for k, chances in enumerate(self.chances)], axis=1)

    @property
    def loss(self) -> float:
        """Nats per event."""
        return float(self.nats().sum(axis=1).mean())

    @property
    def ece(self) -> float:
        """The mean of the channels' expected calibration errors (`composer/evaluation/calibration.py`)."""
        reliability = Reliability()
        confidence = np.stack([chances.max(axis=1) for chances in self.chances], axis=1)
        right = np.stack([chances.argmax(axis=1) for chances in self.chances], axis=1) == self.targets
        reliability.add(confidence, right)
        return float(np.mean(list(reliability.errors("").values())))


class Run:
    """A run with its windows, by set."""

    def __init__(self, folder: Path, checkpoint: str = "best") -> None:
        """Load the weights `best` or `last` and the windows `train`, `val` and `test`."""
        composer = Composer.load(str(folder), checkpoint)
        self.model, config = composer.model, composer.config
        corpus = read_corpus(config.data, composer.encoding)
        splits, _ = split_corpus(corpus, config.data, config.seed)
        tokens = encode_pieces(corpus.pieces, composer.vocabulary)
        read = with_bars(tokens, corpus.pieces) if self.model.bar_position else tokens
        self.sizes, size = composer.vocabulary.sizes, config.data.window_size
        parts = {
            "train": splits.train,
            "val": scored(splits.val, config.data, config.seed),
            "test": scored(splits.test, config.data, config.seed),
        }
        self.windows = {
            name: torch.from_numpy(read.windows(part.positions(), size + 1)) for name, part in parts.items()
        }

    @torch.no_grad()
    def logits(self, name: str) -> list[Tensor]:
        """Return the logits (W, V) of each channel, of the best weights."""
        found = [self.model(batch[:, :-1], batch[:, -1]) for batch in torch.split(self.windows[name], _BATCH)]
        return [torch.cat(parts).double() for parts in zip(*found, strict=True)]

    def targets(self, name: str) -> NDArray[np.int64]:
        """Return the targets (W, 3)."""
        return self.windows[name][:, -1, :3].numpy().astype(np.int64)


def predicted(
    logits: list[Tensor], targets: NDArray[np.int64], temperatures: tuple[float, ...] = (1, 1, 1)
) -> Predicted:
    """Return the probabilities of logits divided by the temperatures of their channels."""
    chances = [(rows / t).softmax(-1).numpy() for rows, t in zip(logits, temperatures, strict=True)]
    return Predicted(chances, targets)


def temperatures(logits: list[Tensor], targets: NDArray[np.int64]) -> tuple[float, ...]:
    """Return the temperature of each channel that gives the targets the highest likelihood."""
    found = []
    for channel, rows in enumerate(logits):
        wanted = torch.from_numpy(targets[:, channel])
        losses = [float(F.cross_entropy(rows / t, wanted)) for t in TEMPERATURES]
        found.append(float(TEMPERATURES[int(np.argmin(losses))]))
    return tuple(found)


class Counts:
    """Interpolated counts of training windows."""

    def __init__(self, windows: NDArray[np.uint8], sizes: tuple[int, int, int]) -> None:
        """Count.

        Args:
            windows: (W, T + 1, 3) classes.
            sizes: V of each channel.
        """
        self.sizes, self.orders = sizes, min(ORDERS, windows.shape[1] - 1)
        self.tables = {
            (order, channel): _Table(_contexts(windows, order, channel), windows[:, -1, channel], sizes[channel])
            for order, channel in itertools.product(range(self.orders + 1), range(3))
        }

    def predict(self, windows: NDArray[np.uint8]) -> tuple[Predicted, NDArray[np.int64]]:
        """Return the probabilities for windows (W, T + 1, 3), and the longest known context (W, 3) of each channel."""
        chances, longest = [], np.zeros((len(windows), 3), np.int64)
        for channel, size in enumerate(self.sizes):
            rows = np.full((len(windows), size), 1 / size)
            for order in range(self.orders + 1):
                known = self.tables[order, channel].mix(_contexts(windows, order, channel), rows)
                longest[known, channel] = order
            chances.append(rows)
        return Predicted(chances, windows[:, -1, :3].astype(np.int64)), longest


def _contexts(windows: NDArray[np.uint8], order: int, channel: int) -> NDArray[np.uint64]:
    """Return digests (W,) of the last `order` events and of the target's channels before `channel`."""
    digests = context_digests(windows[:, windows.shape[1] - 1 - order : -1, :3])
    for earlier in range(channel):
        digests = (digests ^ (windows[:, -1, earlier].astype(np.uint64) + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
    return digests


class _Table:
    """Counts of the classes of one channel after each context of one length."""

    def __init__(self, contexts: NDArray[np.uint64], classes: NDArray[np.uint8], size: int) -> None:
        self.contexts, numbers = np.unique(contexts, return_inverse=True)
        cells, self.counts = np.unique(numbers.astype(np.int64) * size + classes, return_counts=True)
        self.classes = cells % size
        self.begins = np.searchsorted(cells // size, np.arange(len(self.contexts) + 1))
        self.totals = np.bincount(numbers, minlength=len(self.contexts))

    def mix(self, asked: NDArray[np.uint64], rows: Floats) -> NDArray[np.bool_]:
        """Interpolate rows (W, V) of the shorter contexts with these counts in place; return where there are some."""
        place = np.minimum(np.searchsorted(self.contexts, asked), len(self.contexts) - 1)
        known: NDArray[np.bool_] = self.contexts[place] == asked
        found = place[known]
        distinct = (self.begins[found + 1] - self.begins[found]).astype(np.float64)
        whole = self.totals[found] + distinct
        rows[known] *= (distinct / whole)[:, None]
        lengths = distinct.astype(np.int64)
        into = np.repeat(np.flatnonzero(known), lengths)
        before = np.cumsum(lengths) - lengths
        cells = np.arange(int(lengths.sum())) + np.repeat(self.begins[found] - before, lengths)
        np.add.at(rows, (into, self.classes[cells]), self.counts[cells] / np.repeat(whole, lengths))
        return known


def gate(network: Predicted, counts: Predicted, longest: NDArray[np.int64]) -> Floats:
    """Return the weights (orders + 1, 3) of the counts that are likeliest, each begun at and drawn to a half."""
    weights = np.full((ORDERS + 1, 3), 0.5)
    own, other = np.exp(-network.nats()), np.exp(-counts.nats())
    for channel in range(3):
        of = longest[:, channel]
        for _ in range(_EM_STEPS):
            share = weights[of, channel] * other[:, channel]
            share = share / (share + (1 - weights[of, channel]) * own[:, channel])
            totals = np.bincount(of, share, ORDERS + 1)
            weights[:, channel] = (totals + 1) / (np.bincount(of, minlength=ORDERS + 1) + 2)
    return weights


def mixed(network: Predicted, counts: Predicted, longest: NDArray[np.int64], weights: Floats) -> Predicted:
    """Return the mixture of both by the weights of the longest known contexts (W, 3)."""
    chances = []
    for channel, (own, other) in enumerate(zip(network.chances, counts.chances, strict=True)):
        share = weights[longest[:, channel], channel][:, None]
        chances.append((1 - share) * own + share * other)
    return Predicted(chances, network.targets)


def dynamic(model: Network, windows: Tensor, rate: float) -> Predicted:
    """Return the predictions of a copy of the network that is trained on, in order, by what it has read.

    Args:
        model: in evaluation mode; unchanged.
        windows: (W, T + 1, C) in the order of the music.
        rate: of gradient descent.
    """
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    found: list[Logits] = []
    for batch in torch.split(windows, CHUNK):
        logits = model(batch[:, :-1], batch[:, -1])
        found.append(Logits(*(channel.detach() for channel in logits)))
        loss = sum(F.cross_entropy(channel, batch[:, -1, k].long()) for k, channel in enumerate(logits))
        if rate and isinstance(loss, Tensor):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    targets = windows[:, -1, :3].numpy().astype(np.int64)
    return predicted([torch.cat(parts).double() for parts in zip(*found, strict=True)], targets)


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Return loss and calibration error on the test windows of each way, all fitted on the validation windows."""
    run = Run(folder)
    val, test = run.logits("val"), run.logits("test")
    wanted, asked = run.targets("val"), run.targets("test")
    plain = predicted(test, asked)
    scale = temperatures(val, wanted)
    scaled_val, scaled = predicted(val, wanted, scale), predicted(test, asked, scale)
    train, of_val, of_test = (run.windows[name][..., :3].numpy() for name in ("train", "val", "test"))
    counted = Counts(train, run.sizes)
    counts_val, longest_val = counted.predict(of_val)
    counts, longest = counted.predict(of_test)
    weights = gate(scaled_val, counts_val, longest_val)
    rate = min(RATES, key=lambda tried: dynamic(run.model, run.windows["val"], tried).loss)
    adapted = dynamic(run.model, run.windows["test"], rate)
    ways = {
        "network": plain,
        "temperatures": scaled,
        "counts alone": counts,
        "mixed with counts": mixed(scaled, counts, longest, weights),
        "dynamic evaluation": adapted,
    }
    return {name: {"loss": found.loss, "ece": found.ece} for name, found in ways.items()}


class Mixing:
    """A network and the counts of its training windows, to be mixed."""

    def __init__(self, folder: Path) -> None:
        """Load the last weights of a run and count its training windows."""
        self.run = Run(folder, "last")
        self.counts = Counts(self.run.windows["train"][..., :3].numpy(), self.run.sizes)

    def both(self, part: str) -> tuple[Predicted, Predicted, NDArray[np.int64]]:
        """Return the predictions of the network and of the counts for a part, and the longest known contexts."""
        network = predicted(self.run.logits(part), self.run.targets(part))
        return network, *self.counts.predict(self.run.windows[part][..., :3].numpy())

    def gate(self) -> Floats:
        """Return the weights (orders + 1, 3) fitted on the validation windows."""
        return gate(*self.both("val"))

    def loss(self, part: str, weights: Floats) -> float:
        """Return the loss of the mixture on a part, nats per event."""
        return mixed(*self.both(part), weights).loss
