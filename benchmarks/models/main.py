"""Train and measure everything that docs/article.md, docs/models.md and docs/benchmarks.md report.

    python -m benchmarks.models.main                     every study; a study that is done is not trained again
    python -m benchmarks.models.main article choice      some of them
    python -m benchmarks.models.main --list              what there is, and the time that it takes
    python -m benchmarks.models.main --tables            write the tables of what is done, and train nothing

Trainings are in outputs/benchmark/STUDY; the same command goes on where it was stopped. Studies of files need
`--music FOLDER` with krebs.mid, fur-elise.mid and Maestro_1.mid to Maestro_3.mid, and the chorales the package music21.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.models import article, choice, data_size, jsb, peers, sets
from benchmarks.models.jobs import ROOT, Job, run_all
from benchmarks.models.tables import write

FILES = ("krebs.mid", "fur-elise.mid", "Maestro_1.mid", "Maestro_2.mid", "Maestro_3.mid")


@dataclass(frozen=True)
class Study:
    """A part of the benchmark.

    Attributes:
        about: in words.
        trainings: how many.
        minutes: of one core for one of them, measured.
        jobs: its trainings, in a folder, with the folder of the music.
        tables: its tables by their place in the documents, from the trainings that are done.
        document: of the tables.
    """

    about: str
    trainings: int
    minutes: float
    jobs: Callable[[Path, Path], list[Job]]
    tables: Callable[[list[Job]], dict[str, str]]
    document: str


# `peers` takes sizes and times of `sets`, and comes after it.
STUDIES = {
    "choice": Study("ideas for a better LSTM, on folds", 60, 0.9, choice.jobs, choice.tables, "models.md"),
    "sets": Study("networks of equal size and time", 60, 1.2, sets.jobs, sets.tables, "benchmarks.md"),
    "jsb": Study("the JSB chorales, per time step", 5, 3.0, jsb.jobs, jsb.tables, "benchmarks.md"),
    "data_size": Study("more or less music", 8, 2.0, data_size.jobs, data_size.tables, "benchmarks.md"),
    "article": Study("the article's 0.97, read in every way", 80, 1.2, article.jobs, article.tables, "article.md"),
    "peers": Study("MidiTok with GPT-2, as large and as long", 8, 3.0, peers.jobs, peers.tables, "benchmarks.md"),
}


def main() -> None:
    """Run the studies that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--music", type=Path, default=Path("../shared/data"), help="folder of the MIDI files")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "benchmark", help="folder of the trainings")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="trainings at a time")
    parser.add_argument("--list", action="store_true", help="list the studies")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is done")
    asked = parser.parse_args()
    unknown = [name for name in asked.studies if name not in STUDIES]
    if unknown:
        parser.error(f"{unknown[0]} is no study; there are {', '.join(STUDIES)}")
    chosen = {name: STUDIES[name] for name in asked.studies or STUDIES}
    total = 0.0
    for name, study in chosen.items():
        folder = asked.output / name
        done = sum(1 for path in folder.rglob("*") if path.name == "summary.json" or path.match("peers/*-*.json"))
        minutes = max(0, study.trainings - done) * study.minutes / asked.workers
        total += minutes
        print(f"{name:<10} {study.about}: {done} of {study.trainings} done, about {minutes:.0f} min")
    print(f"{'all':<10} about {total:.0f} min with {asked.workers} workers", flush=True)
    if asked.list:
        return
    missing = [file for file in FILES if not (asked.music / file).exists()]
    if missing and not asked.tables:
        parser.error(f"--music {asked.music}: has no {missing[0]}; it needs {', '.join(FILES)}")
    for name, study in chosen.items():
        jobs = study.jobs(asked.output / name, asked.music.resolve())
        if not asked.tables:
            run_all(jobs, asked.workers, study.minutes)
        done_jobs = [job for job in jobs if job.done]
        if not done_jobs:
            print(f"{name}: nothing is done yet")
            continue
        for place, text in study.tables(done_jobs).items():
            print(f"\n{text}\n")
            write(study.document, place, text)


if __name__ == "__main__":
    main()
