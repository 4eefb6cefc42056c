"""Kinds of network of equal size and equal training time on five sets of music, with the best Markov table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import music as files
from benchmarks.models.choice import slug
from benchmarks.models.jobs import Job
from benchmarks.models.recipes import CHAINED, KINDS, PLACE, SMALL, matched
from benchmarks.models.scores import mixtures
from benchmarks.models.tables import difference, provenance, spread, table

BASE = "LSTM"
# Kinds whose predictions are mixed with counts of the training windows (docs/models.md).
MIXED = ("LSTM", "LSTM with attention")


@dataclass(frozen=True)
class Set:
    """Music, and how it is held out.

    Attributes:
        title: for the tables.
        data: overrides.
        epochs: of the LSTM; the others train as long.
        repeats: overrides of each run, with the name of its folder.
        part: of the split that is reported.
    """

    title: str
    data: tuple[str, ...]
    epochs: int
    repeats: Mapping[str, tuple[str, ...]]
    part: str = "test"

    @property
    def batch(self) -> int:
        """`data.batch_size`."""
        return 10 if SMALL[0] in self.data else 30


def sets(folder: Path, music: Path) -> dict[str, Set]:
    """Return the sets."""
    made = folder.parent / "music"
    seeds = {f"seed{seed}": (f"seed={seed}",) for seed in range(3)}
    block = ("data=midi", "data.split=blocked", *SMALL)
    found = {
        "krebs": Set(
            "krebs, five folds",
            (*block, *PLACE, f"data.path={music / 'krebs.mid'}"),
            25,
            {f"fold{fold}": (f"data.fold={fold}",) for fold in range(5)},
            "val",
        ),
        "fur-elise": Set(
            "Für Elise, middle block", (*block, *PLACE, f"data.path={music / 'fur-elise.mid'}"), 25, seeds
        ),
        "k155": Set(
            "Mozart K. 155/3, middle block", (*block, *PLACE, f"data.path={files.second_piece(made)}"), 25, seeds
        ),
        "chorales": Set(
            "chorales, 48 test pieces",
            ("data=chorales", "encoding=score", *PLACE, "data.windows_per_epoch=4000", "data.eval_windows=4000"),
            15,
            {"seed0": ("trainer.check_val_every_n_epoch=5",)},
        ),
    }
    performed = ("data=midi", "data.split=file", "encoding=performance", "augmentation=all")
    budget = ("data.windows_per_epoch=1000", "data.eval_windows=4000", "trainer.check_val_every_n_epoch=4")
    for number, place in enumerate(files.folds(made, music), 1):
        data = (*performed, *budget, f"data.path={place}")
        found[f"maestro{number}"] = Set(f"{files.PERFORMANCES[number - 1]}", data, 24, {"seed0": ()})
    return found


def jobs(folder: Path, music: Path) -> list[Job]:
    """Return the trainings."""
    found = []
    chained = {kind: (*overrides, CHAINED) for kind, overrides in KINDS.items()}
    for name, own in sets(folder, music).items():
        kinds = matched(folder / name, chained, (*own.data, *next(iter(own.repeats.values()))), own.epochs, own.batch)
        for kind, overrides in kinds.items():
            for label, repeat in own.repeats.items():
                # Of the single pieces the best of nine samplings is chosen; of many, fewer pieces are composed.
                sampling = ("sampling.n=4", "sampling_grid.pieces=2")
                place = folder / name / f"{slug(kind)}-{label}"
                found.append(Job(place, (*overrides, *own.data, *repeat, *sampling)))
    return found


def tables(done: list[Job]) -> dict[str, str]:
    """Return the text of docs/benchmarks.md."""
    if not done:
        return {}
    folder = done[0].folder.parent.parent
    by_place = {(job.folder.parent.name, job.folder.name): job for job in done}
    rows: list[tuple[str, ...]] = []
    for name, own in sets(folder, _music_of(done)).items():
        plan: dict[str, Any] = json.loads((folder / name / "matched.json").read_text(encoding="utf-8"))
        runs = {kind: [by_place.get((name, f"{slug(kind)}-{label}")) for label in own.repeats] for kind in KINDS}
        base = [job for job in runs[BASE] if job]
        if len(base) < len(own.repeats):
            continue
        part = own.part
        reference = [job.summary[f"accuracy/{part}"] for job in base]
        means = {
            name: [job.summary["baselines"][name][f"accuracy/{part}"] for job in base]
            for name in base[0].summary["baselines"]
        }
        best = max(means, key=lambda name: sum(means[name]))
        tabled = means[best]
        title = {"markov": "Markov table", "nearest": "nearest context"}.get(best, best.replace("_", " "))
        rows.append((own.title, title, "-", "-", spread(tabled), *["-"] * 5))
        for kind in KINDS:
            mine = [job for job in runs[kind] if job]
            if len(mine) < len(own.repeats):
                continue
            accuracy = [job.summary[f"accuracy/{part}"] for job in mine]
            loss = [job.summary[f"loss/{part}"] for job in mine]
            differences = [a - b for a, b in zip(accuracy, tabled, strict=True)]
            quality = [job.summary["quality"] for job in mine if job.summary.get("quality")]
            distance = [each["distance"] for each in quality if each.get("distance") is not None]
            grid = [each["composed"]["on_grid"] for each in quality if each["composed"].get("on_grid") is not None]
            rows.append(
                (
                    "",
                    f"{kind}, {plan[kind]['parameters'] // 1000}k",
                    f"{sum(job.summary['seconds'] for job in mine) / len(mine):.0f}",
                    spread(loss, 2),
                    spread(accuracy),
                    difference(differences),
                    "-" if kind == BASE else difference([a - b for a, b in zip(accuracy, reference, strict=True)]),
                    spread(distance, 2),
                    spread(grid, 2),
                    f"{sum(bool(each.get('noise')) for each in quality)} of {len(quality)}",
                )
            )
        for kind in MIXED:
            mine = [job for job in runs[kind] if job]
            if len(mine) < len(own.repeats):
                continue
            rows.append(("", f"{kind} and counts", "-", spread(mixtures(mine, part), 2), *["-"] * 6))
    head = (
        *("music", "network, parameters", "seconds", "loss", "accuracy", "minus the baseline's", "minus the LSTM's"),
        *("distance", "on the grid", "noise"),
    )
    return {"sets": f"{table(head, rows)}\n\n{provenance(done)}"}


def _music_of(done: list[Job]) -> Path:
    """Return the folder of the user's files, as the runs name it."""
    paths = [text.partition("=")[2] for job in done for text in job.overrides if text.startswith("data.path=")]
    return next((Path(path).parent for path in paths if path.endswith("krebs.mid")), Path("."))
