"""The recipes that are compared, and networks of equal size and equal training time."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from composer.config.compose import compose
from composer.config.training import TrainConfig
from composer.data.prepare import load_data
from composer.nets.build import build_model
from composer.nets.network import Network
from composer.training.losses import nll_every

# What all networks share: every step trained, AdamW, the rate up and then down, no penalty.
TRAINING = (
    *("regularizer=none", "optimizer=adamw", "optimizer.lr=2e-3", "scheduler=warmup_cosine"),
    *("loss.supervision=every", "model.embedding_size=32", "model.dropout=0.5"),
)
LSTM = ("model=lstm", *TRAINING)
# Kinds of network, trained alike.
KINDS = {
    "LSTM": LSTM,
    "GRU": ("model=gru", *TRAINING),
    "Transformer": ("model=transformer", *TRAINING, "model.dropout=0.2"),
    "LSTM with attention": ("model=attentive_lstm", *TRAINING),
}
PLACE, CHAINED, SMALL = ("model.bar_position=true",), "model.heads=chained", ("data.batch_size=10",)
# One change each to the LSTM's recipe; the last rows have what the rows above them speak for.
IDEAS = {
    "LSTM": LSTM,
    "attention": KINDS["LSTM with attention"],
    "place in the bar": (*LSTM, "model.bar_position=true"),
    "chained heads": (*LSTM, "model.heads=chained"),
    "window of 64": (*LSTM, "data.window_size=64"),
    "weights averaged": (*LSTM, "callbacks=ema", "callbacks.ema.decay=0.99"),
    "weight dropout 0.5": (*LSTM, "model.weight_dropout=0.5"),
    "rate 5e-3": (*LSTM, "optimizer.lr=5e-3"),
    "batches of 10": (*LSTM, *SMALL),
    "attention, place in the bar, chained heads": (*KINDS["LSTM with attention"], *PLACE, CHAINED),
    "batches of 10, place in the bar, chained heads": (*LSTM, *SMALL, *PLACE, CHAINED),
    "the same with attention": (*KINDS["LSTM with attention"], *SMALL, *PLACE, CHAINED),
}


def network(overrides: tuple[str, ...], sizes: tuple[int, int, int], hidden_size: int) -> Network:
    """Return a network of a recipe."""
    return build_model(dataclasses.replace(_config(overrides).model, hidden_size=hidden_size), sizes)


@functools.cache
def _config(overrides: tuple[str, ...]) -> TrainConfig:
    config = compose(*overrides)
    assert isinstance(config, TrainConfig)
    return config


def parameters(model: Network) -> int:
    """Return how many there are."""
    return sum(part.numel() for part in model.parameters())


def width(overrides: tuple[str, ...], sizes: tuple[int, int, int], wanted: int) -> int:
    """Return the hidden size whose network has the number of parameters nearest to the wanted one."""
    return min(range(16, 513, 8), key=lambda size: abs(parameters(network(overrides, sizes, size)) - wanted))


def sizes_of(data: tuple[str, ...]) -> tuple[int, int, int]:
    """Return the classes of the channels of the music that overrides name."""
    config = _config(data)
    return load_data(config.data, config.encoding, config.seed).vocabulary.sizes


def seconds_per_step(models: dict[str, Network], window: int, batch: int, rounds: int = 5) -> dict[str, float]:
    """Return the seconds of a training step of each network on one thread, side by side, the median of the rounds."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {name: [] for name in models}
    steps = {name: _step(model, window, batch) for name, model in models.items()}
    for _ in range(rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            for _ in range(10):
                step()
            found[name].append((time.perf_counter() - begun) / 10)
    return {name: sorted(times)[len(times) // 2] for name, times in found.items()}


def _step(model: Network, window: int, batch: int) -> Callable[[], None]:
    widths = torch.tensor(model.widths)
    events = (torch.rand(batch, window + 1, len(widths)) * widths).long()
    mask = torch.ones(batch, window, dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        logits = model.heads(model.hidden_states(events[:, :-1]), events[:, 1:])
        loss = nll_every(logits, events[:, 1:], mask).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def matched(
    folder: Path, kinds: dict[str, tuple[str, ...]], data: tuple[str, ...], epochs: int, batch: int = 30
) -> dict[str, tuple[str, ...]]:
    """Return the overrides of each kind with as many parameters and as long a training as the first one.

    Args:
        folder: what was measured is kept in it, so that a benchmark that is continued trains the same networks.
        kinds: overrides by name; the first is trained as it is, for `epochs`.
        data: overrides that name the music.
        epochs: of the first kind.
        batch: `data.batch_size`.
    """
    path = folder / "matched.json"
    if not path.exists():
        sizes = sizes_of(data)
        names = list(kinds)
        wanted = parameters(network(kinds[names[0]], sizes, 128))
        widths = {name: 128 if name == names[0] else width(kinds[name], sizes, wanted) for name in names}
        models = {name: network(kinds[name], sizes, widths[name]) for name in names}
        seconds = seconds_per_step(models, 30, batch)
        plan = {
            name: {
                "hidden_size": widths[name],
                "parameters": parameters(models[name]),
                "seconds_per_step": seconds[name],
                "epochs": max(1, round(epochs * seconds[names[0]] / seconds[name])),
            }
            for name in names
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    plan = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: (
            *overrides,
            f"model.hidden_size={plan[name]['hidden_size']}",
            f"trainer.max_epochs={plan[name]['epochs']}",
        )
        for name, overrides in kinds.items()
    }
