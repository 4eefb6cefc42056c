"""The LightningModule: training and validation steps, optimiser, learning rate and the metrics of an epoch.

Random numbers are a function of (seed, epoch, batch): the generators are seeded before every batch, so that a resumed
run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from composer.config.training import LossConfig, OptimizerConfig, OptimizerName, RegularizerConfig, Schedule
from composer.data.streams import Streamed
from composer.data.windows import BatchOrder, Supervised
from composer.errors import ComposerError
from composer.nets.network import Logits, Network, State
from composer.random_streams import RandomStream
from composer.training.losses import nll, nll_every
from composer.training.metrics import MetricSums
from composer.training.regularizers import Regularizer, sparsity

# Keys of a checkpoint: metric sums of an unfinished epoch, and the recurrent state of the streams.
SUMS_KEY = "composer_train_sums"
STREAM_STATE_KEY = "composer_stream_state"


class NonFiniteLoss(ComposerError):
    """A loss or a weight is NaN or infinite. It was not saved: checkpoints hold finite weights only."""


def position_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Return the seed of a batch, a function of the run's seed, the position in the training and the process."""
    entropy = [seed, epoch, batch, RandomStream.BATCH, *([rank] if rank else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def learning_rate(config: OptimizerConfig, epoch: int, max_epochs: int) -> float:
    """Return the learning rate of an epoch (from 0).

    `cosine` falls from `lr` to 0 over `max_epochs` (Loshchilov and Hutter 2017, equation 5 without restarts).
    """
    if config.schedule is Schedule.constant:
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * epoch / max_epochs))


def _counted(batches: Any, batch_idx: int) -> tuple[int, int]:
    """Return how many windows of a batch this process counts, and how many all processes count."""
    order = batches.sampler
    assert isinstance(order, BatchOrder)
    return order.counted(batch_idx)


class ComposerModule(pl.LightningModule):
    """A `Network` with its loss, regularizer and optimiser.

    The type of a batch says where the loss is computed (`loss.supervision`): a tensor (B, T + 1, 3) at the last step of
    each window, `Supervised` at every step of it, `Streamed` at every step with the state of the batch before.
    """

    def __init__(
        self,
        model: Network,
        *,
        loss: LossConfig,
        regularizer: RegularizerConfig,
        optimizer: OptimizerConfig,
        seed: int,
        max_epochs: int,
    ) -> None:
        """Keep the network and the configs.

        Args:
            model: the network.
            loss: weights of the channels, label smoothing.
            regularizer: penalty on the parameters.
            optimizer: Adam or AdamW, and the learning rate schedule.
            seed: of the run.
            max_epochs: epochs of the schedule.

        Raises:
            ComposerError: a pattern of `regularizer.parameters` matches no parameter.
        """
        super().__init__()
        self.model = model
        self.regularizer = Regularizer(regularizer, model)
        self.optimizer_config, self.seed, self.max_epochs = optimizer, seed, max_epochs
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.tensor(loss.weights), persistent=False)
        self.label_smoothing = loss.label_smoothing
        self.train_sums = MetricSums()
        self.val_sums = MetricSums()
        # Recurrent state of each stream after the last batch, without gradient.
        self.state: State | None = None

    def on_train_batch_start(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> None:
        """Seed the generators by the position in the training."""
        seed = position_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        # Not torch.manual_seed: without a GPU it records its caller's stack each time.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)

    def on_train_epoch_start(self) -> None:
        """Reset the sums and set the learning rate; Lightning does not call it when a run resumes inside an epoch."""
        self.train_sums = MetricSums(self.device)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = learning_rate(self.optimizer_config, self.current_epoch, self.max_epochs)

    def training_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> Tensor:
        """Return the objective: the sum of `loss.weights` * NLL over the channels, plus the penalty.

        The metrics are of the last step of each window for every `loss.supervision`; of streams, of all supervised
        steps.

        Raises:
            NonFiniteLoss: on a CPU, before the weights change.
        """
        loss = self._stream_loss(batch) if isinstance(batch, Streamed) else self._window_loss(batch, batch_idx)
        penalty = self.regularizer.penalty()
        if penalty is not None:
            loss = loss + penalty
        # Reading the value would wait for a GPU; there `check_finite` reads it before each checkpoint.
        if self.device.type == "cpu" and not math.isfinite(loss.detach().item()):
            raise self.non_finite(batch_idx)
        return loss

    def _window_loss(self, batch: Tensor | Supervised, batch_idx: int) -> Tensor:
        """Return the weighted NLL of windows, a mean over windows or over their supervised steps."""
        windows = batch.windows if isinstance(batch, Supervised) else batch
        targets = windows[:, -1]
        if isinstance(batch, Supervised):
            every = self.model.hidden_states(windows[:, :-1])
            steps = self.model.heads(every, windows[:, 1:])
            hidden, logits = every[:, -1], Logits(*(channel[:, -1] for channel in steps))
        else:
            hidden = self.model.last_hidden(windows[:, :-1])
            logits = self.model.heads(hidden, targets)
        channels = nll(logits, targets)
        mine, whole = _counted(self.trainer.train_dataloader, batch_idx)
        if mine:
            with torch.no_grad():
                predicted = self.model.prediction(hidden, logits)
            self.train_sums.add(predicted, targets, channels.detach())
        if isinstance(batch, Supervised):
            loss = self._every_step_loss(steps, batch, mine)
        else:
            # Metrics are computed without label smoothing.
            trained = nll(logits, targets, self.label_smoothing) if self.label_smoothing else channels
            loss = (trained * self.loss_weights).sum()
            if self.trainer.world_size > 1:
                # Lightning averages gradients over processes, whose shares of the batch may differ by a window.
                loss = loss * (mine * self.trainer.world_size / whole)
        return loss

    def _stream_loss(self, batch: Streamed) -> Tensor:
        """Return the weighted NLL, a mean over the supervised steps; keep the state for the next batch (TBPTT)."""
        hidden, after = self.model.hidden_states_from(batch.windows[:, :-1], self._state_before(batch))
        self.state = tuple(part.detach() for part in after)
        targets = batch.windows[:, 1:]
        steps = self.model.heads(hidden, targets)
        count = batch.mask.sum()
        self._add_steps(hidden.detach(), Logits(*(channel.detach() for channel in steps)), targets, batch.mask)
        channels = nll_every(steps, targets, batch.mask, self.label_smoothing)
        # The loss of a batch without a supervised step is 0.
        return (channels * self.loss_weights).sum() / count.clamp(min=1)

    def _state_before(self, batch: Streamed) -> State:
        """Return the state that each stream starts the batch with, zero where it is reset."""
        if self.state is None or bool(batch.fresh.all()):
            return self.model.empty_state(len(batch.fresh))
        kept = ~batch.fresh[None, :, None]
        return tuple(part.to(kept.device) * kept for part in self.state)

    @torch.no_grad()
    def _add_steps(self, hidden: Tensor, steps: Logits, targets: Tensor, mask: Tensor) -> None:
        """Add the supervised steps of a batch of streams to the metric sums.

        Args:
            hidden: (B, T, H).
            steps: (B, T, V[channel]) each.
            targets: (B, T, 3) classes.
            mask: (B, T) bool, true at supervised steps.
        """
        if not bool(mask.any()):
            return
        predicted = self.model.prediction(hidden, steps)
        supervised = Logits(*(channel[mask] for channel in steps))
        prediction = Logits(*(channel[mask] for channel in predicted))
        self.train_sums.add(prediction, targets[mask], nll(supervised, targets[mask]))

    def _every_step_loss(self, steps: Logits, batch: Supervised, mine: int) -> Tensor:
        """Return the weighted NLL, a mean over the supervised steps of the batch over all processes.

        Args:
            steps: (B, T, V[channel]) each.
            batch: the windows of this process and their mask.
            mine: the number of these windows that count.
        """
        # A process without a share of the batch gets one window that does not count.
        mask = batch.mask if mine else torch.zeros_like(batch.mask)
        channels = nll_every(steps, batch.windows[:, 1:], mask, self.label_smoothing)
        total = (channels * self.loss_weights).sum()
        count = mask.sum()
        if self.trainer.world_size > 1:
            # Shares differ in their supervised steps, so the mean is over the total count; Lightning averages the
            # gradients over processes, which the factor turns into a sum.
            torch.distributed.all_reduce(count)
            total = total * self.trainer.world_size
        return total / count

    def check_finite(self) -> None:
        """Check the losses of this epoch and the weights, before they are saved.

        Raises:
            NonFiniteLoss: one of them is NaN or infinite.
        """
        sums_finite = bool(self.train_sums.sums.isfinite().all())
        if not sums_finite or not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise self.non_finite()

    def non_finite(self, batch_idx: int | None = None) -> NonFiniteLoss:
        """Return the error for a loss that is NaN or infinite, with the remedy."""
        place = f"epoch {self.current_epoch + 1}" + ("" if batch_idx is None else f", batch {batch_idx + 1}")
        return NonFiniteLoss(
            f"the loss is not finite in {place}: lower optimizer.lr={self.optimizer_config.lr:g} "
            "or set optimizer.gradient_clip_norm=1"
        )

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take a step of the optimiser, then apply the proximal operator of the regularizer."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.regularizer.after_step(optimizer.param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self.val_sums = MetricSums(self.device)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add a batch to the sums; Lightning has switched dropout off."""
        targets = batch[:, -1]
        hidden = self.model.last_hidden(batch[:, :-1])
        logits = self.model.heads(hidden, targets)
        mine, _ = _counted(self.trainer.val_dataloaders, batch_idx)
        if mine:
            self.val_sums.add(self.model.prediction(hidden, logits), targets, nll(logits, targets))

    def epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch by key: train, validation, penalty, learning rate and sparsity."""
        if self.trainer.world_size > 1:
            for sums in (self.train_sums, self.val_sums):
                torch.distributed.all_reduce(sums.sums)
        metrics = self.train_sums.values("train") | self.val_sums.values("val")
        metrics["penalty/train"] = self.regularizer.value()
        metrics["lr"] = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        for name, (zeros, small) in sparsity(self.model).items():
            metrics[f"zeros/{name}"] = zeros
            metrics[f"small/{name}"] = small
        return metrics

    def configure_optimizers(self) -> Optimizer:
        """Return Adam, as in the article, or AdamW."""
        config = self.optimizer_config
        kind = Adam if config.name is OptimizerName.adam else AdamW
        return kind(
            self.model.parameters(),
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            weight_decay=config.weight_decay,
            # One kernel for the whole step takes a third of the time on a CPU. Lightning rejects it in mixed precision.
            fused=True if self.device.type == "cpu" and self.trainer.precision == "32-true" else None,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the metric sums of the unfinished epoch over all processes, and the state of the streams."""
        sums = self.train_sums.sums.clone()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        checkpoint[SUMS_KEY] = sums
        if self.state is not None:
            checkpoint[STREAM_STATE_KEY] = list(self.state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the metric sums, in the first process for all, and the state of the streams."""
        self.train_sums = MetricSums(self.device)
        if self.global_rank == 0:
            self.train_sums.sums += checkpoint[SUMS_KEY].to(self.device)
        self.state = tuple(checkpoint[STREAM_STATE_KEY]) if STREAM_STATE_KEY in checkpoint else None
