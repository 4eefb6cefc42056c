"""The LightningModule: steps, optimiser, learning rate and the metrics of an epoch, for any Lightning Trainer.

Random numbers are a function of (seed, epoch, batch): the generators are seeded before every batch, so that a resumed
run draws the same numbers as an uninterrupted one.

More than 400 lines, because Lightning takes the hooks of a module from one class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from composer.config.model import ModelConfig
from composer.config.optimizers import OptimizerConfig, SchedulerConfig
from composer.config.plain import from_plain, several_from_plain, to_plain
from composer.config.training import LossConfig, LossTermConfig, MetricConfig, RegularizerConfig
from composer.data.streams import Streamed
from composer.data.windows import BatchOrder, Supervised
from composer.errors import ComposerError
from composer.nets.build import build_model
from composer.nets.context import State
from composer.nets.network import Logits
from composer.random_streams import RandomStream
from composer.training.losses import nll, nll_every
from composer.training.metrics import MetricSums
from composer.training.optimizers import make_optimizer
from composer.training.regularizers import make_regularizer, sparsity
from composer.training.schedules import Course, PlateauSchedule, PositionSchedule, make_schedule
from composer.training.terms import make_metrics, make_terms, mean_of

# Keys of a checkpoint: metric sums of an unfinished epoch and of its last validation, and the recurrent state of the
# streams.
SUMS_KEY = "composer_train_sums"
VALIDATION_KEY = "composer_validation_sums"
STREAM_STATE_KEY = "composer_stream_state"
# Key of a checkpoint that holds what composing needs besides the weights (`runs.checkpoint.composer_values`).
COMPOSER_KEY = "composer"


class NonFiniteLoss(ComposerError):
    """A loss or a weight is NaN or infinite. It was not saved: checkpoints hold finite weights only."""


def position_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Return the seed of a batch, a function of the run's seed, the position in the training and the process."""
    entropy = [seed, epoch, batch, RandomStream.BATCH, *([rank] if rank else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def windows_of(batch: Tensor | Supervised | Streamed) -> Tensor:
    """Return the windows (B, T + 1, 3) of any batch."""
    return batch if isinstance(batch, Tensor) else batch.windows


class ComposerModule(pl.LightningModule):
    """A `Network` with its loss, regularizer and optimiser.

    The type of a batch says where the loss is computed (`loss.supervision`): a tensor (B, T + 1, 3) at the last step of
    each window, `Supervised` at every step of it, `Streamed` at every step with the state of the batch before.
    """

    def __init__(
        self,
        *,
        model: ModelConfig | Mapping[str, Any],
        sizes: Sequence[int],
        loss: LossConfig | Mapping[str, Any],
        regularizer: RegularizerConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any],
        scheduler: SchedulerConfig | Mapping[str, Any] | None = None,
        loss_terms: Mapping[str, LossTermConfig | Mapping[str, Any]] | None = None,
        metrics: Mapping[str, MetricConfig | Mapping[str, Any]] | None = None,
        seed: int = 0,
        max_epochs: int | None = None,
        composer_values: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the network, its weights initialised from torch's generator.

        All arguments but the last are saved as hyperparameters in plain values, so that `load_from_checkpoint` needs
        the file alone.

        Args:
            model: the kind and the sizes of the network; each config as its dataclass or in plain values.
            sizes: the classes of the note, velocity and time channels.
            loss: weights of the channels, label smoothing.
            regularizer: penalty on the parameters.
            optimizer: the optimiser and its learning rate.
            scheduler: the learning rate over the training; None is constant.
            loss_terms: terms of the loss by name, in addition to those of `loss` and `regularizer`.
            metrics: metrics by name, in addition to loss and accuracies.
            seed: of the run.
            max_epochs: epochs of the schedule; None takes those of the Trainer.
            composer_values: what composing needs besides the weights (`runs.checkpoint.composer_values`), added to the
                checkpoints of any Trainer.

        Raises:
            ComposerError: a value is outside its limits, or a pattern of `regularizer.parameters` matches no parameter.
        """
        super().__init__()
        model = from_plain(ModelConfig, model)
        loss = from_plain(LossConfig, loss)
        regularizer = from_plain(RegularizerConfig, regularizer)
        optimizer = from_plain(OptimizerConfig, optimizer)
        scheduler = from_plain(SchedulerConfig, {"name": "none"} if scheduler is None else scheduler)
        terms = several_from_plain("loss_terms", loss_terms or {})
        figures = several_from_plain("metrics", metrics or {})
        note, velocity, time = sizes
        self.save_hyperparameters(
            {
                "model": to_plain(model),
                "sizes": [note, velocity, time],
                "loss": to_plain(loss),
                "regularizer": to_plain(regularizer),
                "optimizer": to_plain(optimizer),
                "scheduler": to_plain(scheduler),
                "loss_terms": {name: to_plain(term) for name, term in terms.items()},
                "metrics": {name: to_plain(metric) for name, metric in figures.items()},
                "seed": seed,
                "max_epochs": max_epochs,
            },
            logger=False,
        )
        self.model = build_model(model, (note, velocity, time))
        self.regularizer = make_regularizer(regularizer, self.model)
        self.terms, self.metrics = make_terms(terms), make_metrics(figures)
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.seed, self.max_epochs = seed, max_epochs
        # Lightning's learning-rate finder sets it.
        self.lr = optimizer.lr
        # Of the last step: at the end of an epoch Lightning has already set that of the next one.
        self._step_lr = optimizer.lr
        self.composer_values = dict(composer_values) if composer_values else None
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.tensor(loss.weights), persistent=False)
        self.label_smoothing = loss.label_smoothing
        self.train_sums = self._sums(training=True)
        self.val_sums = self._sums()
        self.test_sums = self._sums()
        # `composer train` records the metrics itself, and logs them only where a logger or another callback reads them.
        self.logs_metrics = True
        # Of the last epoch, once it has ended.
        self._metrics: dict[str, float] | None = None
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
        self.train_sums, self.val_sums, self._metrics = self._sums(training=True), self._sums(), None
        self._move_schedules()

    def _sums(self, *, training: bool = False) -> MetricSums:
        return MetricSums(self.device, self.metrics, self.terms if training else None)

    def on_train_start(self) -> None:
        """Set the learning rate of the position, also inside an epoch."""
        self._move_schedules()

    def _move_schedules(self) -> None:
        # Whatever a checkpoint says: a resumed run may have more epochs than it was begun with. Other schedules, of a
        # subclass or of the learning-rate finder, are left alone.
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, PositionSchedule):
                config.scheduler.move_to(self.current_epoch, self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training windows and of the weights; count the epoch where the rate follows them."""
        metrics = self.epoch_metrics()
        self._log({key: value for key, value in metrics.items() if not key.endswith("/val")})
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, PlateauSchedule):
                config.scheduler.move(metrics.get("loss/val"))

    def _log(self, metrics: dict[str, float]) -> None:
        """Log metrics of all processes, the same in each."""
        if self.logs_metrics:
            self.log_dict(metrics, on_step=False, on_epoch=True, sync_dist=self.trainer.world_size > 1)

    def training_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> Tensor:
        """Return the objective: the sum of `loss.weights` * NLL over the channels, `loss_terms` and the penalty.

        The metrics are of the last step of each window for every `loss.supervision`; of streams, of all supervised
        steps.

        Raises:
            NonFiniteLoss: on a CPU, before the weights change.
        """
        loss = self._stream_loss(batch) if isinstance(batch, Streamed) else self._window_loss(batch, batch_idx)
        penalty = self.regularizer.penalty() if self.regularizer.active else None
        if penalty is not None:
            loss = loss + penalty
        # Reading the value would wait for a GPU; there `check_finite` reads it before each checkpoint.
        if self.device.type == "cpu" and not math.isfinite(loss.detach().item()):
            raise self.non_finite(batch_idx)
        return loss

    def _window_loss(self, batch: Tensor | Supervised, batch_idx: int) -> Tensor:
        """Return the weighted NLL of windows, a mean over windows or over their supervised steps."""
        windows = windows_of(batch)
        targets = windows[:, -1]
        if isinstance(batch, Supervised):
            every = self.model.hidden_states(windows[:, :-1])
            steps = self.model.heads(every, windows[:, 1:])
            hidden, logits = every[:, -1], Logits(*(channel[:, -1] for channel in steps))
        else:
            hidden = self.model.last_hidden(windows[:, :-1])
            logits = self.model.heads(hidden, targets)
        channels = nll(logits, targets)
        mine, whole = self._counted(self.trainer.train_dataloader, batch_idx, len(windows))
        terms = self._terms(logits, targets)
        if mine:
            with torch.no_grad():
                predicted = self.model.prediction(hidden, logits)
            self.train_sums.add(predicted, targets, channels.detach(), terms.detach())
        if isinstance(batch, Supervised):
            loss = self._every_step_loss(steps, batch, mine)
        else:
            # Metrics are computed without label smoothing.
            trained = nll(logits, targets, self.label_smoothing) if self.label_smoothing else channels
            loss = (trained * self.loss_weights).sum()
            if self.terms:
                loss = loss + (terms * self._term_weights(terms)).sum()
            if self.trainer.world_size > 1:
                # Lightning averages gradients over processes, whose shares of the batch may differ by a window.
                loss = loss * (mine * self.trainer.world_size / whole)
        return loss

    def _terms(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the means (L,) of the terms of the loss over events: logits (N, V) each, targets (N, 3) or wider."""
        if not self.terms:
            return self.loss_weights.new_zeros(0)
        return torch.stack([mean_of(term, logits, targets) for term in self.terms.values()])

    def _term_weights(self, like: Tensor) -> Tensor:
        return like.new_tensor([term.config.weight for term in self.terms.values()])

    def _counted(self, batches: Any, batch_idx: int, size: int) -> tuple[int, int]:
        """Return how many windows of a batch this process counts, and how many all processes count.

        Args:
            batches: the loader; one that does not share its batches as `BatchOrder` does has as many in each process.
            batch_idx: the number of the batch.
            size: windows of the batch in this process.
        """
        order = getattr(batches, "sampler", None)
        return order.counted(batch_idx) if isinstance(order, BatchOrder) else (size, size * self.trainer.world_size)

    def _stream_loss(self, batch: Streamed) -> Tensor:
        """Return the weighted NLL, a mean over the supervised steps; keep the state for the next batch (TBPTT)."""
        hidden, after = self.model.hidden_states_from(batch.windows[:, :-1], self._state_before(batch))
        self.state = tuple(part.detach() for part in after)
        targets = batch.windows[:, 1:]
        steps = self.model.heads(hidden, targets)
        count = batch.mask.sum()
        terms = self._terms_of_steps(steps, targets, batch.mask)
        self._add_steps(
            hidden.detach(), Logits(*(channel.detach() for channel in steps)), targets, batch.mask, terms.detach()
        )
        channels = nll_every(steps, targets, batch.mask, self.label_smoothing)
        # The loss of a batch without a supervised step is 0.
        loss = (channels * self.loss_weights).sum() / count.clamp(min=1)
        return loss + (terms * self._term_weights(terms)).sum() if len(terms) else loss

    def _terms_of_steps(self, steps: Logits, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the means (L,) of the terms over the supervised steps, 0 without any; see `_add_steps`."""
        if not self.terms or not bool(mask.any()):
            return self.loss_weights.new_zeros(len(self.terms))
        return self._terms(Logits(*(channel[mask] for channel in steps)), targets[mask])

    def _state_before(self, batch: Streamed) -> State:
        """Return the state that each stream starts the batch with, zero where it is reset."""
        if self.state is None or bool(batch.fresh.all()):
            return self.model.empty_state(len(batch.fresh))
        kept = ~batch.fresh[None, :, None]
        return tuple(part.to(kept.device) * kept for part in self.state)

    @torch.no_grad()
    def _add_steps(self, hidden: Tensor, steps: Logits, targets: Tensor, mask: Tensor, terms: Tensor) -> None:
        """Add the supervised steps of a batch of streams to the metric sums.

        Args:
            hidden: (B, T, H).
            steps: (B, T, V[channel]) each.
            targets: (B, T, 3) classes.
            mask: (B, T) bool, true at supervised steps.
            terms: (L,) means of the terms of the loss.
        """
        if not bool(mask.any()):
            return
        predicted = self.model.prediction(hidden, steps)
        supervised = Logits(*(channel[mask] for channel in steps))
        prediction = Logits(*(channel[mask] for channel in predicted))
        self.train_sums.add(prediction, targets[mask], nll(supervised, targets[mask]), terms)

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
        if self.terms:
            terms = self._terms_of_steps(steps, batch.windows[:, 1:], mask)
            total = total + (terms * self._term_weights(terms)).sum() * count
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
        self._step_lr = optimizer.param_groups[0]["lr"]
        if self.regularizer.active:
            with torch.no_grad():
                self.regularizer.after_step(self._step_lr)

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self.val_sums = self._sums()

    def validation_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> None:
        """Add a batch to the sums; Lightning has switched dropout off."""
        self._add_windows(self.val_sums, windows_of(batch), self.trainer.val_dataloaders, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation windows."""
        self._reduce(self.val_sums)
        if not self.trainer.sanity_checking:
            self._log(self.val_sums.values("val"))

    def on_test_epoch_start(self) -> None:
        """Reset the sums."""
        self.test_sums = self._sums()

    def test_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> None:
        """Add a batch to the sums."""
        self._add_windows(self.test_sums, windows_of(batch), self.trainer.test_dataloaders, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test windows."""
        self._reduce(self.test_sums)
        self._log(self.test_sums.values("test"))

    def predict_step(self, batch: Tensor | Supervised | Streamed, batch_idx: int) -> Logits:
        """Return the logits (B, V[channel]) of the event after the first T of each window; dropout is off.

        With chained heads those of velocity and time follow the likeliest classes before them.
        """
        windows = windows_of(batch)
        hidden = self.model.last_hidden(windows[:, :-1])
        return self.model.prediction(hidden, self.model.heads(hidden, windows[:, -1]))

    def _add_windows(self, sums: MetricSums, windows: Tensor, batches: Any, batch_idx: int) -> None:
        """Add the predictions of the last event of windows (B, T + 1, 3), where this process counts any."""
        hidden, targets = self.model.last_hidden(windows[:, :-1]), windows[:, -1]
        logits = self.model.heads(hidden, targets)
        mine, _ = self._counted(batches, batch_idx, len(windows))
        if mine:
            sums.add(self.model.prediction(hidden, logits), targets, nll(logits, targets))

    def _reduce(self, sums: MetricSums) -> None:
        """Add up the sums of all processes, in each."""
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums.sums)

    def epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch that ends, by key: train, validation, penalty, learning rate and sparsity."""
        if self._metrics is None:
            self._reduce(self.train_sums)
            # Of the last validation of the epoch; an epoch without one has the same keys.
            validation = self.val_sums.values("val") if self.val_sums.counted else self.val_sums.unknown("val")
            metrics = self.train_sums.values("train") | validation
            metrics["penalty/train"] = self.regularizer.value() if self.regularizer.active else 0.0
            metrics["lr"] = self._step_lr
            for name, (zeros, small) in sparsity(self.model).items():
                metrics[f"zeros/{name}"] = zeros
                metrics[f"small/{name}"] = small
            self._metrics = metrics
        return dict(self._metrics)

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its learning rate schedule in Lightning's form where it has one."""
        optimizer = make_optimizer(
            self.optimizer_config,
            self.model.named_parameters(),
            lr=self.lr,
            # One kernel for the whole step takes a third of the time on a CPU. Lightning rejects it in mixed precision.
            fused=self.device.type == "cpu" and self.trainer.precision == "32-true",
        )
        schedule = make_schedule(self.scheduler_config, optimizer, Course(self._epochs(), self._steps_per_epoch))
        if schedule is None:
            return optimizer
        interval = schedule.interval.name if isinstance(schedule, PositionSchedule) else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def _epochs(self) -> float | None:
        """Return the epochs of the schedule; None where the Trainer trains without end."""
        epochs = self.max_epochs if self.max_epochs is not None else self.trainer.max_epochs
        return None if epochs is None or epochs < 1 else epochs

    def _steps_per_epoch(self) -> int:
        """Return the steps of the optimiser in an epoch, whose last one may accumulate fewer batches."""
        return math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the Trainer is told, else by `optimizer.gradient_clip_norm`."""
        if gradient_clip_val is None and gradient_clip_algorithm is None:
            gradient_clip_val = self.optimizer_config.gradient_clip_norm
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the metric sums of the unfinished epoch over all processes, and the state of the streams."""
        sums = self.train_sums.sums.clone()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        checkpoint[SUMS_KEY] = sums
        checkpoint[VALIDATION_KEY] = self.val_sums.sums.clone()
        if self.state is not None:
            checkpoint[STREAM_STATE_KEY] = list(self.state)
        if self.composer_values is not None:
            checkpoint.setdefault(COMPOSER_KEY, self.composer_values)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the metric sums, in the first process for all, and the state of the streams."""
        self.train_sums = self._sums(training=True)
        if self.global_rank == 0 and SUMS_KEY in checkpoint:
            self.train_sums.sums += checkpoint[SUMS_KEY].to(self.device)
        self.val_sums = self._sums()
        if VALIDATION_KEY in checkpoint:
            self.val_sums.sums += checkpoint[VALIDATION_KEY].to(self.device)
        if self.composer_values is None:
            self.composer_values = checkpoint.get(COMPOSER_KEY)
        self.state = tuple(checkpoint[STREAM_STATE_KEY]) if STREAM_STATE_KEY in checkpoint else None
