"""The JSB chorales on their published split: nats per time step, with published figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.models.choice import slug
from benchmarks.models.jobs import Job
from benchmarks.models.recipes import CHAINED, KINDS, matched, network, parameters, sizes_of
from benchmarks.models.scores import whole_pieces
from benchmarks.models.tables import difference, provenance, table

DATA = (
    *("data=jsb_chorales", "encoding=score", "data.windows_per_epoch=4000", "data.eval_windows=4000"),
    *("trainer.check_val_every_n_epoch=3", "sampling.n=4", "sampling_grid.pieces=2"),
)
EPOCHS = 30
LARGER, WIDER = "LSTM with attention, 256 units", (*KINDS["LSTM with attention"], CHAINED)


def jobs(folder: Path, music: Path) -> list[Job]:
    """Return the trainings."""
    kinds = matched(folder, {kind: (*overrides, CHAINED) for kind, overrides in KINDS.items()}, DATA, EPOCHS)
    kinds[LARGER] = (*WIDER, "model.hidden_size=256", f"trainer.max_epochs={EPOCHS}")
    return [Job(folder / slug(kind), (*overrides, *DATA)) for kind, overrides in kinds.items()]


def tables(done: list[Job]) -> dict[str, str]:
    """Return the text of docs/benchmarks.md."""
    found = {job.folder.name: whole_pieces(job) for job in done}
    plan: dict[str, Any] = json.loads((done[0].folder.parent / "matched.json").read_text(encoding="utf-8"))
    base = found.get(slug("LSTM"))
    rows = []
    for kind in (*KINDS, LARGER):
        own = found.get(slug(kind))
        if own is None or base is None:
            continue
        job = next(job for job in done if job.folder.name == slug(kind))
        pairs = zip(by_beat(own), by_beat(base), strict=True)
        size = plan[kind]["parameters"] if kind in plan else parameters(network(WIDER, sizes_of(DATA), 256))
        rows.append(
            (
                kind,
                f"{size:,}",
                f"{job.summary['seconds']:.0f}",
                f"{own['nats_per_beat']:.2f}",
                "-" if kind == "LSTM" else difference([a - b for a, b in pairs], 2),
                f"{own['nats_per_note']:.2f}",
                f"{job.summary['accuracy/test']:.3f}",
            )
        )
    head = (
        "network",
        "parameters",
        "seconds",
        "nats per time step",
        "minus the LSTM's, by piece",
        "nats per note",
        "accuracy",
    )
    return {"jsb": f"{table(head, rows)}\n\n{provenance(done)}"}


def by_beat(found: dict[str, Any]) -> list[float]:
    """Return the nats per beat of each piece, in the order of their names."""
    pieces = sorted(found["by_piece"], key=lambda piece: str(piece["piece"]))
    return [piece["nats"] / piece["beats"] for piece in pieces]
