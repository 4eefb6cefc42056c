"""The Lightning module: the model with its loss, regulariser, optimiser and the metrics of an epoch.

Randomness is a function of (seed, epoch, batch): the generators are seeded before every batch, so that a resumed run
draws what the uninterrupted one drew, whatever came before.
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

SUMS_KEY = "composer_train_sums"
STATE_KEY = "composer_stream_state"


class NonFiniteLoss(ComposerError):
    """The loss became NaN or infinite; nothing of it was saved."""


def position_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """A seed for the generators that depends on the place in the training, and on the process, alone."""
    place = [seed, epoch, batch, RandomStream.BATCH, *([rank] if rank else [])]
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


def learning_rate(config: OptimizerConfig, epoch: int, max_epochs: int) -> float:
    """The rate of an epoch (from 0); `cosine` falls from `lr` to 0 (Loshchilov and Hutter 2017, without restarts)."""
    if config.schedule is Schedule.constant:
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * epoch / max_epochs))


def _counted(batches: Any, batch_idx: int) -> tuple[int, int]:
    """Windows of a batch that this process counts, and those of the whole batch."""
    order = batches.sampler
    assert isinstance(order, BatchOrder)
    return order.counted(batch_idx)


class ComposerModule(pl.LightningModule):
    """Trains a `Network` on batches (B, T + 1, 3) of windows, on `Supervised` steps of these, or on streams."""

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
        """Args: `model` and the configs as typed; `seed` of the run; `max_epochs` for the schedule."""
        super().__init__()
        self.model = model
        self.regularizer = Regularizer(regularizer, model)
        self.optimizer_config, self.seed, self.max_epochs = optimizer, seed, max_epochs
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.tensor(loss.weights), persistent=False)
        self.label_smoothing = loss.label_smoothing
        self.train_sums = MetricSums()
        self.val_sums = MetricSums()
        # What streams have read, from batch to batch.
        self.state: State | None = None

    def on_train_batch_start(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> None:
        """Seed the generators by position."""
        seed = position_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        # Not torch.manual_seed: without a GPU it notes its caller's stack each time, for a GPU that never comes.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's sums and set the learning rate; not called when a run resumes inside an epoch."""
        self.train_sums = MetricSums(self.device)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = learning_rate(self.optimizer_config, self.current_epoch, self.max_epochs)

    def training_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> Tensor:
        """The trained loss: weighted NLLs and the penalty.

        The metrics are those of a window's last step, whatever is trained; of streams those of all supervised steps.

        Raises:
            NonFiniteLoss: on a CPU, before a weight is touched.
        """
        loss = self._stream_loss(batch) if isinstance(batch, Streamed) else self._window_loss(batch, batch_idx)
        penalty = self.regularizer.penalty()
        if penalty is not None:
            loss = loss + penalty
        # Reading the value waits for a GPU, so there it is looked at before each save (`check_finite`).
        if self.device.type == "cpu" and not math.isfinite(loss.detach().item()):
            raise self.non_finite(batch_idx)
        return loss

    def _window_loss(self, batch: Tensor | Supervised, batch_idx: int) -> Tensor:
        """The weighted NLLs of windows, a mean over them or over their supervised steps."""
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
            # The metrics are without the smoothing, whatever is trained on.
            trained = nll(logits, targets, self.label_smoothing) if self.label_smoothing else channels
            loss = (trained * self.loss_weights).sum()
            if self.trainer.world_size > 1:
                # The gradients are averaged over processes whose shares may differ by a window.
                loss = loss * (mine * self.trainer.world_size / whole)
        return loss

    def _stream_loss(self, batch: Streamed) -> Tensor:
        """The weighted NLLs, a mean over the supervised steps; the state goes on, without its gradient."""
        hidden, after = self.model.hidden_states_from(batch.windows[:, :-1], self._state_before(batch))
        self.state = tuple(part.detach() for part in after)
        targets = batch.windows[:, 1:]
        steps = self.model.heads(hidden, targets)
        count = batch.mask.sum()
        self._add_steps(hidden.detach(), Logits(*(channel.detach() for channel in steps)), targets, batch.mask)
        channels = nll_every(steps, targets, batch.mask, self.label_smoothing)
        # A batch without a supervised step has a loss of 0.
        return (channels * self.loss_weights).sum() / count.clamp(min=1)

    def _state_before(self, batch: Streamed) -> State:
        """What each stream of a batch goes on from: nothing where it begins anew."""
        if self.state is None or bool(batch.fresh.all()):
            return self.model.empty_state(len(batch.fresh))
        kept = ~batch.fresh[None, :, None]
        return tuple(part.to(kept.device) * kept for part in self.state)

    @torch.no_grad()
    def _add_steps(self, hidden: Tensor, steps: Logits, targets: Tensor, mask: Tensor) -> None:
        """Add the supervised steps of a batch (B, T) to the sums of the epoch."""
        if not bool(mask.any()):
            return
        predicted = self.model.prediction(hidden, steps)
        supervised = Logits(*(channel[mask] for channel in steps))
        prediction = Logits(*(channel[mask] for channel in predicted))
        self.train_sums.add(prediction, targets[mask], nll(supervised, targets[mask]))

    def _every_step_loss(self, steps: Logits, batch: Supervised, mine: int) -> Tensor:
        """The weighted NLLs, a mean over the supervised steps of the batch of all processes.

        Args:
            steps: (B, T, V[channel]) each.
            batch: the windows of this process and their mask.
            mine: how many of them count.
        """
        # A process without a share of the batch has a window that does not count.
        mask = batch.mask if mine else torch.zeros_like(batch.mask)
        channels = nll_every(steps, batch.windows[:, 1:], mask, self.label_smoothing)
        total = (channels * self.loss_weights).sum()
        count = mask.sum()
        if self.trainer.world_size > 1:
            # Shares differ in their masked steps. The gradients are averaged over processes: the sum is wanted.
            torch.distributed.all_reduce(count)
            total = total * self.trainer.world_size
        return total / count

    def check_finite(self) -> None:
        """Raise `NonFiniteLoss` if a loss of this epoch or a weight is not finite: what is saved must be good."""
        sums_finite = bool(self.train_sums.sums.isfinite().all())
        if not sums_finite or not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise self.non_finite()

    def non_finite(self, batch_idx: int | None = None) -> NonFiniteLoss:
        """The error for a loss that is NaN or infinite, with the way out."""
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
        """One step, and the proximal operator after it."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.regularizer.after_step(optimizer.param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's sums."""
        self.val_sums = MetricSums(self.device)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add a batch to the validation's sums; dropout is off."""
        targets = batch[:, -1]
        hidden = self.model.last_hidden(batch[:, :-1])
        logits = self.model.heads(hidden, targets)
        mine, _ = _counted(self.trainer.val_dataloaders, batch_idx)
        if mine:
            self.val_sums.add(self.model.prediction(hidden, logits), targets, nll(logits, targets))

    def epoch_metrics(self) -> dict[str, float]:
        """Everything that is logged once an epoch, by key."""
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
        """Adam as in the article, or AdamW."""
        config = self.optimizer_config
        kind = Adam if config.name is OptimizerName.adam else AdamW
        return kind(
            self.model.parameters(),
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            weight_decay=config.weight_decay,
            # One kernel for the whole step: a third of the time on a CPU. Lightning refuses it with mixed precision.
            fused=True if self.device.type == "cpu" and self.trainer.precision == "32-true" else None,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an unfinished epoch, over all processes."""
        sums = self.train_sums.sums.clone()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        checkpoint[SUMS_KEY] = sums
        if self.state is not None:
            checkpoint[STATE_KEY] = list(self.state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the sums of an unfinished epoch up again, in one process for all."""
        self.train_sums = MetricSums(self.device)
        if self.global_rank == 0:
            self.train_sums.sums += checkpoint[SUMS_KEY].to(self.device)
        self.state = tuple(checkpoint[STATE_KEY]) if STATE_KEY in checkpoint else None
