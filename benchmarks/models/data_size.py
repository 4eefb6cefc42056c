"""More or less music: `ablation=data_size` on the chorales, with the curve that fits it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.models.jobs import Job
from benchmarks.models.recipes import CHAINED, LSTM, PLACE
from benchmarks.models.scores import whole_pieces
from benchmarks.models.tables import provenance, spread, table

SHARES = (0.125, 0.25, 0.5, 1.0)
SEEDS = range(2)
BUDGET = (
    *("data.windows_per_epoch=4000", "data.eval_windows=4000", "trainer.max_epochs=15"),
    *("trainer.check_val_every_n_epoch=5", "sampling.n=1", "sampling.events=100", "sampling_grid.pieces=0"),
)


def jobs(folder: Path, music: Path) -> list[Job]:
    """Return the trainings; every share trains as many steps."""
    return [
        Job(
            folder / f"share{share}-seed{seed}",
            (
                "ablation=data_size",
                "hydra.mode=RUN",
                *LSTM,
                CHAINED,
                *PLACE,
                *BUDGET,
                f"data.train_share={share}",
                f"seed={seed}",
            ),
        )
        for share in SHARES
        for seed in SEEDS
    ]


def tables(done: list[Job]) -> dict[str, str]:
    """Return the text of docs/benchmarks.md: a row a share, and the power law through them."""
    rows, points = [], []
    for share in SHARES:
        own = [job for job in done if job.folder.name.startswith(f"share{share}-")]
        if not own:
            continue
        windows = own[0].summary["windows_train"]
        whole = [whole_pieces(job) for job in own]
        notes = [found["nats_per_note"] for found in whole]
        table_accuracy = own[0].summary["baselines"]["markov"]["accuracy/test"]
        accuracy = [job.summary["accuracy/test"] for job in own]
        points.append((windows, float(np.mean(notes))))
        rows.append((f"{share:g}", f"{windows:,}", spread(notes), spread(accuracy), f"{table_accuracy:.3f}"))
    head = ("share of the training pieces", "windows", "nats per note, test", "accuracy, test", "Markov table")
    text = table(head, rows)
    if len(points) >= 3:
        sizes, nats = np.array(points, np.float64).T
        slope, intercept = np.polyfit(np.log(sizes), np.log(nats), 1)
        error = float(np.abs(np.exp(intercept) * sizes**slope - nats).max())
        less = 100 * (1 - 2**slope)
        text += (
            f"\n\nThe power law through the means is {np.exp(intercept):.2f} · windows^({slope:.3f}), at most "
            f"{error:.3f} nats from each: twice the music takes {less:.0f} % off the nats per note."
        )
    return {"data_size": f"{text}\n\n{provenance(done)}"}
