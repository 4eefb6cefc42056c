"""Metrics of an epoch: loss and accuracies, as means over all windows that do not depend on the batch size.

Keys are the same in TensorBoard, `metrics.csv` and `summary.json`, and end in the split:

loss/SPLIT              sum of the mean NLL of the three channels, in nats per event
accuracy/SPLIT          mean of the accuracies of the three channels
accuracy_joint/SPLIT    share of windows with all three channels right
nll_CHANNEL/SPLIT, accuracy_CHANNEL/SPLIT
NAME/SPLIT              mean of a metric that `metrics=NAME` adds; NAME/train of a term of the loss (`loss_terms`)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from composer.config.limits import CHANNELS
from composer.nets.network import Logits, Network
from composer.training.losses import nll
from composer.training.terms import LossTerm, Metric, of_events

# NLL of each channel (3), right predictions of each channel (3), windows with all channels right, windows.
_SUMS = 8


class MetricSums:
    """Running sums over windows, (8 + M,) float64 on the model's device, so that no batch waits for a GPU.

    The M after the first 8 are of the metrics, then of the terms of the loss, in the order of their names.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        metrics: Mapping[str, Metric] | None = None,
        terms: Mapping[str, LossTerm] | None = None,
    ) -> None:
        """Start from zero on the device of the batches."""
        self.metrics, self.names = metrics or {}, [*(metrics or {}), *(terms or {})]
        self.sums = torch.zeros(_SUMS + len(self.names), dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, logits: Logits, targets: Tensor, nll: Tensor, terms: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: (B, V[channel]) each; the likeliest class of each is the prediction.
            targets: (B, 3 or more) classes; the columns after the third are inputs only.
            nll: (3,) mean negative log-likelihoods of the batch, in nats.
            terms: (L,) means of the terms of the loss, where they are summed.
        """
        predicted = torch.stack([channel.argmax(-1) for channel in logits], dim=1)
        right = predicted == targets[:, : len(CHANNELS)]
        count = len(targets)
        joint = right.all(dim=1).sum()
        batch = torch.cat([nll * count, right.sum(0), joint[None], joint.new_full((1,), count)])
        if self.names:
            figures = [of_events(metric, logits, targets).double().sum() for metric in self.metrics.values()]
            own = [] if terms is None else [terms.double() * count]
            batch = torch.cat([batch.double(), *(figure[None] for figure in figures), *own])
        self.sums += batch

    def values(self, split: str) -> dict[str, float]:
        """Return the metrics by key; empty before any window is added."""
        sums = self.sums.tolist()
        return _by_key(sums, sums[_SUMS - 1], split, self.names) if sums[_SUMS - 1] else {}

    def unknown(self, split: str) -> dict[str, float]:
        """Return NaN for each metric: an epoch that was not validated has the keys of the others."""
        return _by_key([math.nan] * len(self.sums), 1, split, self.names)

    @property
    def counted(self) -> bool:
        """Whether the sums hold a window."""
        return bool(self.sums[_SUMS - 1])


def _by_key(sums: list[float], count: float, split: str, names: list[str]) -> dict[str, float]:
    nlls = [total / count for total in sums[:3]]
    accuracies = [total / count for total in sums[3:6]]
    return {
        f"loss/{split}": sum(nlls),
        f"accuracy/{split}": sum(accuracies) / 3,
        f"accuracy_joint/{split}": sums[6] / count,
        **{f"nll_{channel}/{split}": value for channel, value in zip(CHANNELS, nlls, strict=True)},
        **{f"accuracy_{channel}/{split}": value for channel, value in zip(CHANNELS, accuracies, strict=True)},
        **{f"{name}/{split}": total / count for name, total in zip(names, sums[_SUMS:], strict=True)},
    }


@torch.no_grad()
def score(
    model: Network, batches: Iterable[Tensor], split: str, metrics: Mapping[str, Metric] | None = None
) -> dict[str, float]:
    """Return the metrics of a model in evaluation mode (no dropout); empty without batches.

    Args:
        model: its mode is restored.
        batches: (B, T + 1, 3) windows, for example a loader of `MusicDataModule`.
        split: end of the keys.
        metrics: those in addition to loss and accuracies.
    """
    training = model.training
    device = model.linear.weight.device
    sums = MetricSums(device, metrics)
    model.eval()
    for batch in batches:
        batch = batch.to(device)
        hidden, targets = model.last_hidden(batch[:, :-1]), batch[:, -1]
        logits = model.heads(hidden, targets)
        sums.add(model.prediction(hidden, logits), targets, nll(logits, targets))
    model.train(training)
    return sums.values(split)
