"""Scores of a network as sums by piece, from which every figure of a split and of a piece is made.

B = batch, P = pieces
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from composer.config.data import DataConfig, TimeUnit
from composer.config.limits import CHANNELS
from composer.corpus.corpus import Corpus, read_corpus
from composer.data.window_sets import Indices
from composer.data.windows import Windows
from composer.evaluation.calibration import Reliability
from composer.evaluation.statistics import paired
from composer.files import csv_cell
from composer.nets.network import Logits, Network
from composer.training.metrics import MetricSums
from composer.training.terms import Metric, of_events

# Those of `MetricSums` without the run's own metrics, and the seconds; its own metrics follow.
_COLUMNS = 9


@dataclass(frozen=True, slots=True)
class Scores:
    """Sums over the windows of one split.

    Attributes:
        by_piece: (P, 9 + M) sums over the windows of each piece: the first 8 of `MetricSums`, the seconds of the
            targets, and M metrics.
        metrics: the M metrics that the run has in addition to loss and accuracies.
        reliability: the predictions by confidence.
    """

    by_piece: NDArray[np.float64]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    reliability: Reliability = field(default_factory=Reliability)

    @property
    def windows(self) -> int:
        """Windows of all pieces."""
        return int(self.by_piece[:, 7].sum())

    def figures(self, split: str) -> dict[str, float]:
        """Return every figure of the split by key; empty without windows."""
        if not self.windows:
            return {}
        return _figures(self.by_piece.sum(axis=0), split, self.metrics) | self.reliability.errors(split)

    def pieces(self, names: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Name, windows and figures of each piece that has some, by its number; keys as in `figures`, without split."""
        found: dict[int, dict[str, Any]] = {}
        for number in np.flatnonzero(self.by_piece[:, 7]).tolist():
            figures = _figures(self.by_piece[number], "", self.metrics)
            plain = {key.removesuffix("/"): value for key, value in figures.items()}
            found[number] = {"piece": names[number], "windows": int(self.by_piece[number, 7]), **plain}
        return found


def _figures(sums: NDArray[np.float64], split: str, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return the figures of sums (9 + M,): those of training, perplexities, and bits per event and per second.

    A perplexity is e to the power of a mean negative log-likelihood in nats: the number of equally likely classes that
    would be as hard to predict. The joint one, of whole events, is the product of the three.
    """
    metric_sums = MetricSums(metrics=metrics)
    metric_sums.sums += torch.from_numpy(np.delete(sums, _COLUMNS - 1))
    figures: dict[str, Any] = metric_sums.values(split)
    loss, windows, seconds = figures[f"loss/{split}"], sums[7], float(sums[8])
    bits = loss / math.log(2)
    figures[f"perplexity/{split}"] = _exp(loss)
    for channel in CHANNELS:
        figures[f"perplexity_{channel}/{split}"] = _exp(figures[f"nll_{channel}/{split}"])
    figures[f"bits_per_event/{split}"] = bits
    figures[f"bits_per_second/{split}"] = bits * float(windows) / seconds if seconds > 0 else None
    figures[f"seconds/{split}"] = seconds
    return figures


def _exp(nats: float) -> float | None:
    """Return the exponential; None where it overflows."""
    return math.exp(nats) if nats < 700 else None


@torch.no_grad()
def score_windows(
    model: Network,
    windows: Windows,
    batches: Iterable[Indices],
    offsets: NDArray[np.int64],
    seconds: Seconds,
    metrics: Mapping[str, Metric] | None = None,
) -> Scores:
    """Score windows, dropout off.

    Args:
        model: in evaluation mode.
        windows: of one split.
        batches: numbers of the windows of each batch.
        offsets: (P,) where each piece begins, rising.
        seconds: by position.
        metrics: those of the run in addition to loss and accuracies.
    """
    metrics = metrics or {}
    scores = Scores(np.zeros((len(offsets), _COLUMNS + len(metrics))), metrics)
    device = model.linear.weight.device
    for numbers in batches:
        batch = windows[numbers]
        assert isinstance(batch, Tensor)
        batch = batch.to(device)
        hidden, targets = model.last_hidden(batch[:, :-1]), batch[:, -1]
        logits = model.heads(hidden, targets)
        predicted = model.prediction(hidden, logits)
        right = _right(predicted, targets)
        starts = windows.windows[numbers]
        columns = [nlls(logits, targets), right, right.all(axis=1), np.ones(len(starts))]
        own = [of_events(metric, predicted, targets).double().cpu().numpy() for metric in metrics.values()]
        rows = np.column_stack([*columns, seconds[starts + windows.window_size], *own])
        np.add.at(scores.by_piece, np.searchsorted(offsets, starts, side="right") - 1, rows)
        scores.reliability.add(_confidence(logits), _right(logits, targets))
    return scores


def nlls(logits: Logits, targets: Tensor) -> NDArray[np.float64]:
    """Return negative log-likelihoods (B, 3) in nats of the targets (B, 3) by logits (B, V) each."""
    found = [F.cross_entropy(channel, targets[:, k].long(), reduction="none") for k, channel in enumerate(logits)]
    return torch.stack(found, dim=1).double().cpu().numpy()


def _right(logits: Logits, targets: Tensor) -> NDArray[np.bool_]:
    """Return whether the likeliest classes are the targets (B, 3), which further input columns may follow."""
    predicted = torch.stack([c.argmax(-1) for c in logits], dim=1)
    found: NDArray[np.bool_] = (predicted == targets[:, : len(logits)]).cpu().numpy()
    return found


def _confidence(logits: Logits) -> NDArray[np.float64]:
    """Return the probability of the likeliest class of each channel (B, 3)."""
    found = torch.stack([channel.double().softmax(-1).amax(-1) for channel in logits], dim=1)
    return found.cpu().numpy()


class Seconds:
    """Seconds since the previous event, by position, whatever unit the network was trained on."""

    def __init__(self, corpus: Corpus, data: DataConfig) -> None:
        """Keep the events, or read them.

        Args:
            corpus: as it is scored. Times in beats are read again in seconds: a tempo map turns equal beats into
                different times.
            data: what it was read by.
        """
        if corpus.encoding.unit is not TimeUnit.seconds:
            corpus = read_corpus(data, dataclasses.replace(corpus.encoding, time_unit=TimeUnit.seconds))
        self.pieces = corpus.pieces

    def __getitem__(self, positions: Indices) -> NDArray[np.float64]:
        """Return the seconds (B,) before the events at these positions (B,)."""
        return self.pieces.played(positions, 1)[1][:, 0]


# By their number, the figures of each piece.
ByPiece = dict[int, dict[str, Any]]

_NOT_AVERAGED = ("piece", "windows", "perplexity", "seconds")


def over_pieces(by_piece: ByPiece, resamples: int) -> dict[str, dict[str, Any]]:
    """Return the mean of each figure over pieces, each counting once, with a 95 % interval.

    The interval is a bootstrap over pieces from five on, Student's for three and four, and none for fewer
    (`compare/statistics.py`): windows of one piece are too similar to be resampled singly.

    Args:
        by_piece: as `Scores.pieces` gives them.
        resamples: draws of the bootstrap where the resamples are too many to be counted.
    """
    found = {}
    keys = [key for key in next(iter(by_piece.values()), {}) if not key.startswith(_NOT_AVERAGED)]
    for key in keys:
        values = [figures[key] for figures in by_piece.values() if figures[key] is not None]
        if not values:
            continue
        said = paired(values, resamples)
        interval = None if said.interval is None else list(said.interval)
        found[key] = {"pieces": said.n, "mean": said.mean, "sd": said.sd, "interval": interval, "method": said.method}
    return found


def pieces_csv(parts: dict[str, ByPiece]) -> str:
    """Return a CSV table with a row for each split and piece, of the figures of the pieces by split."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(next((figures for by_piece in parts.values() for figures in by_piece.values()), {}))
    writer.writerow(["split", "number", *columns])
    for split, by_piece in parts.items():
        for number, figures in by_piece.items():
            cells = ["" if figures[column] is None else figures[column] for column in columns]
            writer.writerow([csv_cell(cell) for cell in (split, number, *cells)])
    return out.getvalue()
