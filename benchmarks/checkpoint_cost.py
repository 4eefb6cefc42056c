"""What a checkpoint costs: bytes, milliseconds, and the share of training time at a cadence.

    python benchmarks/checkpoint_cost.py

Trains one short epoch for each size, then writes that run's whole state (weights, Adam's moments, positions) again and
again as training does: serialised, SHA-256, written, synced, renamed, the folder synced.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.commands.train import start
from composer.config.compose import compose
from composer.runs import checkpoint as ckpt
from composer.runs.layout import LAST, PREVIOUS

REPEATS = 30
CADENCE_SECONDS = 30


def main() -> None:
    """Print a table."""
    print(f"{'hidden size':>11}{'bytes':>14}{'median ms':>11}{'largest ms':>12}{f'share at {CADENCE_SECONDS} s':>15}")
    for hidden_size in (128, 512, 1024):
        config = compose(f"model.hidden_size={hidden_size}", "data.batch_size=512", "trainer.max_epochs=1")
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                start(config, Path(folder) / "run")
            path = Path(folder) / "run" / "checkpoints" / LAST
            values, times = ckpt.load(path), []
            for _ in range(REPEATS):
                started = time.perf_counter()
                ckpt.keep(path, path.with_name(PREVIOUS))
                ckpt.save(path, values)
                times.append(1000 * (time.perf_counter() - started))
            share = statistics.median(times) / 1000 / CADENCE_SECONDS
            size = path.stat().st_size
        print(f"{hidden_size:>11}{size:>14,}{statistics.median(times):>11.1f}{max(times):>12.1f}{share:>15.3%}")


if __name__ == "__main__":
    main()
