"""One part of every kind that composer can be extended with; docs/extend.md says what each must define."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn

import composer
from composer.composing.sampling import Cut, draw, probabilities
from composer.config.limits import BELOW_1, COUNT, between
from composer.data.augmentation import uniform


@dataclass(kw_only=True)
class ConvConfig(composer.ModelConfig):
    kernel: Annotated[int, between(1, 64)] = 8
    """Events that a layer sees."""
    hidden_size: Annotated[int, COUNT] = 64


@composer.register("model", "conv", ConvConfig)
class ConvNet(composer.Network):
    """A causal convolution over events."""

    def __init__(self, config: ConvConfig, sizes: tuple[int, int, int]) -> None:
        super().__init__(config, sizes)
        widths = [self.input_size, *[config.hidden_size] * config.num_layers]
        self.layers = nn.ModuleList(nn.Conv1d(before, after, config.kernel) for before, after in pairwise(widths))
        self.kernel = config.kernel
        self.add_heads(config)

    def encode(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        for layer in self.layers:
            x = layer(nn.functional.pad(x, (self.kernel - 1, 0))).relu()
        return x.transpose(1, 2)


@composer.register("regularizer", "group_lasso")
class GroupLasso(composer.Regularizer):
    """The sum of the L2 norms of the rows of each matrix (Yuan and Lin 2006)."""

    def penalty(self) -> Tensor:
        norms = [p.flatten(1).norm(dim=1).sum() for p in self.parameters.values() if p.ndim > 1]
        return self.config.weight * torch.stack(norms).sum()


@composer.register("loss_terms", "confidence")
class Confidence(composer.LossTerm):
    """The negative entropy of the note: penalises predictions that are too sure (Pereyra et al. 2017)."""

    def __call__(self, logits: composer.Logits, targets: Tensor) -> Tensor:
        logarithms = logits.note.log_softmax(-1)
        return (logarithms.exp() * logarithms).sum(-1).mean()


@dataclass(kw_only=True)
class TopConfig(composer.MetricConfig):
    k: Annotated[int, COUNT] = 3


@composer.register("metrics", "top", TopConfig)
class Top(composer.Metric):
    """Whether the note is among the k likeliest."""

    def __call__(self, logits: composer.Logits, targets: Tensor) -> Tensor:
        best = logits.note.topk(min(self.config.k, logits.note.shape[-1]), dim=-1).indices
        return (best == targets[:, :1]).any(-1)


@dataclass(kw_only=True)
class GradientsConfig(composer.CallbackConfig):
    decay: Annotated[float, BELOW_1] = 0.9


@composer.register("callbacks", "gradients", GradientsConfig)
class Gradients(pl.Callback):
    """The mean norm of the gradient, to the loggers."""

    def __init__(self, config: GradientsConfig) -> None:
        self.decay, self.mean = config.decay, 0.0

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        norm = torch.stack([p.grad.norm() for p in pl_module.parameters() if p.grad is not None]).norm()
        self.mean = self.decay * self.mean + (1 - self.decay) * float(norm)
        for logger in trainer.loggers:
            logger.log_metrics({"gradient_norm": self.mean}, trainer.global_step)

    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.mean = state_dict["mean"]


@composer.register("logger", "json")
class JsonLines(Logger):
    """Metrics as lines of JSON in the run directory."""

    name, version = "json", 0

    def __init__(self, config: composer.LoggerConfig, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.jsonl"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Keep none: config.yaml has them."""


@dataclass(kw_only=True)
class ScalesConfig(composer.DataConfig):
    count: Annotated[int, COUNT] = 4
    """Scales, each a semitone higher."""


@composer.register("data", "scales", ScalesConfig)
class Scales(composer.DataSource):
    """Major scales up and down over two octaves, in eighths."""

    def pieces(self, unit: composer.TimeUnit) -> Iterator[composer.Piece]:
        step = 0.5 if unit is composer.TimeUnit.beats else 0.25
        degrees = [0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21, 23, 24]
        for key in range(self.config.count):
            pitches = [60 + key + degree for degree in degrees + degrees[-2::-1]]
            notes = [(k * step, step, pitch, 80) for k, pitch in enumerate(pitches)]
            yield composer.Piece.from_notes(notes, unit=unit.name, name=f"scale {key}")


@composer.register("split", "first_pieces")
class FirstPieces(composer.SplitRule):
    """The first pieces are held out for validation."""

    meaning = "val figures measure prediction of the first pieces"
    least = 2

    def validation(self, pieces: list[range], groups: np.ndarray) -> tuple[list[range], list[range]]:
        count = max(1, round(len(pieces) * self.config.val_fraction))
        return pieces[:count], pieces[count:]


@dataclass(kw_only=True)
class AccentsConfig(composer.AugmentationConfig):
    share: Annotated[float, between(0, 1)] = 0.1


@composer.register("augmentation", "accents", AccentsConfig)
class Accents(composer.Augmentation):
    """A share of the windows is played at full loudness."""

    def vary(self, windows: np.ndarray, played: Any, turns: np.ndarray, targets: np.ndarray) -> np.ndarray:
        varied, struck = windows.copy(), windows[..., 1] > 0
        chosen = uniform(self.keys[0], turns, targets) < self.config.share
        varied[..., 1][chosen[:, None] & struck] = self.vocabulary.sizes[1] - 1
        return varied


@dataclass(kw_only=True)
class LeapsConfig(composer.RuleConfig):
    semitones: Annotated[int, COUNT] = 12


@composer.register("rules", "leaps", LeapsConfig)
class Leaps(composer.Rule):
    """A note is struck within some semitones of one that sounds."""

    def moves(self, playing: composer.Playing) -> Tensor:
        reach, sounding = self.config.semitones, playing.sounding.float()[:, None]
        near = nn.functional.max_pool1d(sounding, 2 * reach + 1, 1, reach)[:, 0] > 0
        strike = near | ~playing.sounding.any(1, keepdim=True)
        return torch.stack([torch.ones_like(strike), strike], dim=-1)


@composer.register("method", "typical")
class Typical(composer.SamplingMethod):
    """Classes whose information is near the entropy, up to half of the probability (Meister et al. 2023)."""

    def pick(self, logits: Tensor, cut: Cut, uniform: Tensor) -> Tensor:
        p = probabilities(logits, *cut)
        information = -p.clamp(min=1e-12).log()
        distance = (information - (p * information).sum(-1, keepdim=True)).abs()
        order = distance.argsort(dim=-1, stable=True)
        ranked = p.gather(-1, order)
        kept = ranked.where(ranked.cumsum(-1) - ranked < 0.5, 0.0)
        return draw(torch.zeros_like(p).scatter_(-1, order, kept), uniform)
