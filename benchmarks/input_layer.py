"""Three ways to feed an event of three ones into the LSTM: which is quickest, and where.

    python benchmarks/input_layer.py

one-hot   `nn.LSTM` on the whole input of 229 columns
in use    the same without the columns that are 0 in the whole batch (what training does on a CPU)
gathered  rows of the input weights gathered and summed, a step at a time (what composing does)

Each variant is timed in turn, in one process, on one thread and on all; the outputs are compared first. A batch of
random events uses nearly all columns, one of real music a small part: `columns` says how many.
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

from composer.config.compose import compose
from composer.nets.context import State
from composer.nets.recurrent import ThreeHeadLSTM

SIZES = (89, 128, 12)
# Classes that a batch of the article's piece uses.
FEW = (16, 25, 6)


def gathered(model: ThreeHeadLSTM, tokens: Tensor) -> Tensor:
    """Outputs (B, 229) by stepping over the events."""
    state: State | None = None
    for k in range(tokens.shape[1]):
        hidden, state = model.cell(tokens[:, k], state)
    return torch.cat(model.heads(hidden), dim=1)


def one_hot(model: ThreeHeadLSTM, tokens: Tensor) -> Tensor:
    """Outputs (B, 229) by `nn.LSTM` on the one-hot input."""
    hidden, _ = model.lstm(model.one_hot(tokens))
    return torch.cat(model.heads(hidden[:, -1]), dim=1)


def in_use(model: ThreeHeadLSTM, tokens: Tensor) -> Tensor:
    """Outputs (B, 229) by the model's own forward pass."""
    return torch.cat(model(tokens), dim=1)


VARIANTS = {"one-hot": one_hot, "in use": in_use, "gathered": gathered}


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
    model = ThreeHeadLSTM(compose("model.dropout=0").model, SIZES)
    print(f"{'case':<26}{'columns':>8}{'threads':>8}" + "".join(f"{f'{name} ms':>13}" for name in VARIANTS))
    threads = torch.get_num_threads()
    shapes = ((30, 30, True, FEW), (30, 30, True, SIZES), (30, 30, False, FEW), (1, 1, False, SIZES))
    for batch, length, training, sizes in shapes:
        tokens = torch.stack([torch.randint(0, size, (batch, length)) for size in sizes], dim=2)
        for layer in VARIANTS.values():
            torch.testing.assert_close(layer(model, tokens), one_hot(model, tokens))
        name = f"{'training' if training else 'reading'}, B={batch}, T={length}"
        columns = len(torch.unique(tokens + model.offsets))
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            times = [milliseconds(partial(work, layer, model, tokens, training), 50) for layer in VARIANTS.values()]
            print(f"{name:<26}{columns:>8}{count:>8}" + "".join(f"{value:>13.3f}" for value in times))


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
