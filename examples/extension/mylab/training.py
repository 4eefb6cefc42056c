"""A network, a penalty, a term of the loss, a metric, an optimiser, a callback and a logger."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn

import composer
from composer.config.limits import BELOW_1, COUNT, between


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
        pairs = zip(widths, widths[1:], strict=False)
        self.layers = nn.ModuleList(nn.Conv1d(before, after, config.kernel) for before, after in pairs)
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


@composer.register("optimizer", "sign")
def sign(config: Any, named: Any, lr: float, fused: bool) -> torch.optim.Optimizer:
    """Each weight moves by the rate, whatever the size of its gradient (Bernstein et al. 2018)."""

    class Sign(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            loss = None if closure is None else torch.enable_grad()(closure)()
            for parameter in self.param_groups[0]["params"]:
                parameter.sub_(parameter.grad.sign(), alpha=self.param_groups[0]["lr"])
            return loss

    return Sign([parameter for _, parameter in named], lr)


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
