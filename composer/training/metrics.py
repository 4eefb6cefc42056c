"""Sums over windows that turn into the metrics of an epoch; exact whatever the batches were.

The keys are those of TensorBoard, `metrics.csv` and `summary.json`; the part after the slash says on which split.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from composer.config.limits import CHANNELS
from composer.nets.network import Logits, Network
from composer.training.losses import nll

# Three NLLs, three counts of right channels, the count of all three right, the count of windows.
_WIDTH = 8


class MetricSums:
    """Running sums in double precision, on the model's device: one small addition a batch, read once an epoch."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Args: `device` of the batches."""
        self.sums = torch.zeros(_WIDTH, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, logits: Logits, targets: Tensor, nll: Tensor) -> None:
        """Add a batch.

        Args:
            logits: (B, V[channel]) each; their likeliest classes are the prediction.
            targets: (B, 3) classes; columns that are read and not predicted may follow.
            nll: (3,) mean negative log-likelihoods of the batch, in nats.
        """
        predicted = torch.stack([channel.argmax(-1) for channel in logits], dim=1)
        right = predicted == targets[:, : len(CHANNELS)]
        count = len(targets)
        joint = right.all(dim=1).sum()
        batch = torch.cat([nll * count, right.sum(0), joint[None], joint.new_full((1,), count)])
        self.sums += batch

    def values(self, split: str) -> dict[str, float]:
        """The metrics by key; empty before any window was added."""
        sums = self.sums.tolist()
        count = sums[-1]
        if not count:
            return {}
        nlls = [total / count for total in sums[:3]]
        accuracies = [total / count for total in sums[3:6]]
        return {
            f"loss/{split}": sum(nlls),
            f"accuracy/{split}": sum(accuracies) / 3,
            f"accuracy_joint/{split}": sums[6] / count,
            **{f"nll_{channel}/{split}": value for channel, value in zip(CHANNELS, nlls, strict=True)},
            **{f"accuracy_{channel}/{split}": value for channel, value in zip(CHANNELS, accuracies, strict=True)},
        }


@torch.no_grad()
def score(model: Network, batches: Iterable[Tensor], split: str) -> dict[str, float]:
    """Metrics of a model, dropout off, over batches (B, T + 1, 3) of windows; empty without any.

    Args:
        model: left in the mode that it was in.
        batches: for example a loader of `MusicDataModule`.
        split: what the keys end in.
    """
    training = model.training
    device = model.linear.weight.device
    sums = MetricSums(device)
    model.eval()
    for batch in batches:
        batch = batch.to(device)
        hidden, targets = model.last_hidden(batch[:, :-1]), batch[:, -1]
        logits = model.heads(hidden, targets)
        sums.add(model.prediction(hidden, logits), targets, nll(logits, targets))
    model.train(training)
    return sums.values(split)
