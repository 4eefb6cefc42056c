"""The article's run in plain PyTorch, and how much longer `composer train` takes for the same arithmetic.

    python benchmarks/plain_loop.py                compare, on the embedded piece
    python benchmarks/plain_loop.py --data FILE    compare, on a MIDI file
    python benchmarks/plain_loop.py --alone        only the plain loop, once

The plain loop does what the article's code does and no more: the same network, loss, L1 penalty, Adam, batches, and
loss and accuracies of training and validation each epoch. It logs nothing and saves nothing. Both are timed as whole
processes, imports included, in turn (A B A B ...), and the ratio is taken pair by pair, because the machine's speed
drifts; quote the median.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def plain(data: str | None, epochs: int) -> None:
    """Train the article's network without any framework."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    sys.path.insert(0, str(ROOT))
    from composer.config.data import TimeUnit
    from composer.music.events import prelude_piece
    from composer.music.midi import read_piece

    events = (read_piece(Path(data)) if data else prelude_piece(TimeUnit.seconds)).events
    times = events.delta_time
    low, high = times[times > 0].min(), times.max()
    classes = np.where(times == 0, 0, 1 + np.floor((times - low) / ((high - low) / 10)))
    columns = np.stack([events.pitch - 24, events.velocity, classes], axis=1).astype(np.int64)
    tokens = torch.from_numpy(columns)
    windows = tokens.unfold(0, 31, 1).transpose(1, 2)

    torch.manual_seed(0)
    order = torch.randperm(len(windows))
    count = int(len(windows) * 0.9)
    train, val = windows[order[:count]], windows[order[count:]]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(229, 128, batch_first=True)
            self.dropout = nn.Dropout(0.5)
            self.linear = nn.Linear(128, 229)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            one_hot = torch.zeros(*x.shape[:2], 229).scatter_(2, x + torch.tensor([0, 89, 217]), 1.0)
            hidden, _ = self.lstm(one_hot)
            return torch.split(self.linear(self.dropout(hidden[:, -1])), [89, 128, 12], dim=1)

    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)

    def losses(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = batch[:, :-1], batch[:, -1]
        heads = network(x)
        loss = torch.stack([F.cross_entropy(head, y[:, k]) for k, head in enumerate(heads)])
        right = torch.stack([(head.argmax(1) == y[:, k]).sum() for k, head in enumerate(heads)])
        return loss, right

    started = time.monotonic()
    for _ in range(epochs):
        network.train()
        total, right_total = 0.0, torch.zeros(3)
        for batch in torch.split(train[torch.randperm(count)], 30):
            loss, right = losses(batch)
            penalty = 1e-6 * sum(p.abs().sum() for p in network.parameters())
            optimizer.zero_grad()
            torch.autograd.backward(loss.sum() + penalty)
            optimizer.step()
            total += float(loss.detach().sum()) * len(batch)
            right_total += right
        network.eval()
        with torch.no_grad():
            val_loss, val_right = losses(val)
    print(
        f"plain loop: {time.monotonic() - started:.1f} s of training, loss train {total / count:.3f} "
        f"val {float(val_loss.sum()):.3f}, accuracy train {float(right_total.mean()) / count:.3f} "
        f"val {float(val_right.float().mean()) / len(val):.3f} (shuffled split)"
    )


def timed(command: list[str], folder: str) -> tuple[float, float]:
    """Wall and processor seconds that a command takes as a whole process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(data: str | None, epochs: int, rounds: int) -> None:
    """Time both, in turn, and print the ratio."""
    alone = [sys.executable, __file__, "--alone", "--epochs", str(epochs)]
    overrides = ["experiment=article", f"trainer.max_epochs={epochs}"]
    if data:
        alone += ["--data", data]
        overrides += ["data=midi", f"data.path={data}"]
    ours = [sys.executable, str(ROOT / "scripts" / "train.py"), *overrides]
    ratios = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            (wall, cpu), (plain_wall, plain_cpu) = timed(ours, folder), timed(alone, folder)
        ratios.append(wall / plain_wall)
        print(
            f"round {number + 1}: composer train {wall:.1f} s, plain loop {plain_wall:.1f} s, "
            f"ratio {ratios[-1]:.3f} (processor time {cpu / plain_cpu:.3f})",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f} (smallest {min(ratios):.3f}, largest {max(ratios):.3f})")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a MIDI file instead of the embedded piece")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    data = str(Path(arguments.data).resolve()) if arguments.data else None
    if arguments.alone:
        plain(data, arguments.epochs)
    else:
        compare(data, arguments.epochs, arguments.rounds)


if __name__ == "__main__":
    main()
