"""Terms of the loss and metrics that a config adds by name; this package has none of its own.

    N = events, V[channel] = classes of a channel

Both see the logits and targets of single events, in training, validation and test, so that a mean over all events does
not depend on batches, processes or interruptions. Neither keeps a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from composer import registry
from composer.config.limits import CHANNELS
from composer.config.training import LossTermConfig, MetricConfig
from composer.errors import ComposerError
from composer.nets.network import Logits
from composer.registry import Contract


class LossTerm:
    """A term of the trained sum, in addition to the negative log-likelihoods and the penalty.

    Attributes:
        config: its keys; the framework multiplies the term by `config.weight`.
    """

    def __init__(self, config: LossTermConfig) -> None:
        """Keep the keys."""
        self.config = config

    def __call__(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the mean of the term over events, a scalar with gradient.

        Args:
            logits: (N, V[channel]) each, at the steps that are trained on; with chained heads those of velocity and
                time are given the target's channels before them.
            targets: (N, 3) classes of note, velocity and time.
        """
        raise NotImplementedError


class Metric:
    """A figure of single predictions, whose mean over the events of a split is recorded as `NAME/SPLIT`.

    Attributes:
        config: its keys.
    """

    def __init__(self, config: MetricConfig) -> None:
        """Keep the keys."""
        self.config = config

    def __call__(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the figure of each event (N,), without gradient.

        Args:
            logits: (N, V[channel]) each, of the prediction: independent of the target also with chained heads.
            targets: (N, 3) classes of note, velocity and time.
        """
        raise NotImplementedError


TERMS = Contract(LossTerm, ("__call__",))
METRICS = Contract(Metric, ("__call__",))


def make_terms(configs: Mapping[str, LossTermConfig]) -> dict[str, LossTerm]:
    """Return the terms with a weight above 0, in the order of their names.

    Raises:
        ComposerError: nothing has registered a name.
    """
    return _make("loss_terms", {name: config for name, config in configs.items() if config.weight > 0})


def make_metrics(configs: Mapping[str, MetricConfig]) -> dict[str, Metric]:
    """Return the metrics, in the order of their names.

    Raises:
        ComposerError: nothing has registered a name.
    """
    return _make("metrics", configs)


def _make(kind: str, configs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: registry.part(kind, name)(configs[name]) for name in sorted(configs)}


def of_events(metric: Metric, logits: Logits, targets: Tensor) -> Tensor:
    """Return the figure of each event (N,); `targets` (N, 3) may have further columns.

    Raises:
        ComposerError: the metric returns another shape.
    """
    figures = metric(logits, targets[:, : len(CHANNELS)])
    if figures.shape != (len(targets),):
        shape = tuple(figures.shape)
        raise ComposerError(f"{type(metric).__name__}.__call__: must return (N,) = ({len(targets)},), not {shape}")
    return figures


def mean_of(term: LossTerm, logits: Logits, targets: Tensor) -> Tensor:
    """Return the mean of a term over events, a scalar; `targets` (N, 3) may have further columns.

    Raises:
        ComposerError: the term returns another shape.
    """
    value = term(logits, targets[:, : len(CHANNELS)])
    if value.ndim:
        raise ComposerError(f"{type(term).__name__}.__call__: must return a scalar, not {tuple(value.shape)}")
    return value
