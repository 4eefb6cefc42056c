"""One-hot input into `nn.LSTM`, or rows of the input weights gathered and summed: which is quicker, and where.

    python benchmarks/input_layer.py

Training reads 30 events at once: `nn.LSTM` wants a dense input there, and gathering rows instead means a recurrence
in Python. Composing reads one event at a time: there gathering three rows saves the matrix product. Each variant is
timed in turn, in one process, on one thread and on all; the outputs are compared first.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.model import State, ThreeHeadLSTM
from composer.schema import ModelConfig

SIZES = (89, 128, 12)


def gathered(model: ThreeHeadLSTM, tokens: Tensor) -> Tensor:
    """Outputs (B, 229) by stepping over the events."""
    state: State | None = None
    for k in range(tokens.shape[1]):
        logits, state = model.step(tokens[:, k], state)
    return torch.cat(logits, dim=1)


def one_hot(model: ThreeHeadLSTM, tokens: Tensor) -> Tensor:
    """Outputs (B, 229) by `nn.LSTM` on the one-hot input."""
    return torch.cat(model(tokens), dim=1)


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Median time of a call."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print a table."""
    torch.manual_seed(0)
    model = ThreeHeadLSTM(ModelConfig(hidden_size=128, num_layers=1, dropout=0.0), SIZES)
    print(f"{'case':<34}{'threads':>8}{'one-hot ms':>12}{'gathered ms':>12}{'ratio':>8}")
    threads = torch.get_num_threads()
    for batch, length, training in ((30, 30, True), (30, 30, False), (1, 1, False), (64, 1, False)):
        tokens = torch.stack([torch.randint(0, size, (batch, length)) for size in SIZES], dim=2)
        torch.testing.assert_close(one_hot(model, tokens), gathered(model, tokens))
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            times = [milliseconds(partial(work, layer, model, tokens, training), 50) for layer in (one_hot, gathered)]
            name = f"{'training' if training else 'reading'}, B={batch}, T={length}"
            print(f"{name:<34}{count:>8}{times[0]:>12.3f}{times[1]:>12.3f}{times[0] / times[1]:>8.2f}")


def work(
    layer: Callable[[ThreeHeadLSTM, Tensor], Tensor], model: ThreeHeadLSTM, tokens: Tensor, training: bool
) -> None:
    """One forward pass, and a backward pass when training."""
    with torch.set_grad_enabled(training):
        out = layer(model, tokens)
    if training:
        torch.autograd.backward(out.sum())


if __name__ == "__main__":
    main()
