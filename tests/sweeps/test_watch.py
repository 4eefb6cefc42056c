"""What a sweep shows while it runs: time that is left, the line on the running jobs, and those on their ends."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from composer.files import write_json
from composer.runs.layout import CONFIG, JOB, METRICS, SUMMARY
from composer.sweeps import watch
from composer.sweeps.jobs import Job, shortened, table
from composer.sweeps.standing import epochs_left_seconds, read_row, sweep_left_seconds
from composer.sweeps.watch import Watch

HEAD = "epoch,step,loss/train,accuracy/val\n"


def job(sweep: Path, number: int, **values: object) -> Job:
    """Write a job of a fake sweep."""
    folder = sweep / f"seed-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    made = Job(number=number, overrides=[], swept={"regularizer": "l1", "seed": str(number)}, folder=folder)
    for key, value in values.items():
        setattr(made, key, value)
    made.write()
    # Written within one tick of the clock of the file system.
    changed = time.time_ns() + next(TICKS)
    os.utime(folder / JOB, ns=(changed, changed))
    return made


TICKS = iter(range(0, 10**12, 10**7))


def trains(found: Job, epochs: int, *, of: int = 200, patience: str = "null", value: float | str = 0.512) -> None:
    trainer = f"trainer:\n  max_epochs: {of}\n  early_stopping_patience: {patience}\n"
    (found.folder / CONFIG).write_text(f"data:\n  split: shuffled\n{trainer}callbacks: {{}}\n")
    rows = "".join(f"{epoch},{epoch * 7},1.5,{value}\n" for epoch in range(1, epochs + 1))
    if epochs:
        (found.folder / METRICS).write_text(HEAD + rows)


def completes(found: Job, seconds: float) -> None:
    write_json(found.folder / SUMMARY, {"status": "completed", "split": "shuffled", "accuracy/val": 0.512})
    job(found.folder.parent, found.number, status="completed", seconds=seconds)


# Arithmetic


@pytest.mark.parametrize(
    ("done", "now", "expected"),
    [
        ([(0, 0.0)], 5.0, None),
        ([(0, 0.0), (1, 30.0)], 30.0, 270.0),  # the only interval, from the start
        ([(0, 0.0), (1, 30.0), (5, 38.0)], 38.0, 10.0),  # without the start: 2 s per epoch
        ([(0, 0.0), (1, 30.0), (5, 38.0)], 39.0, 9.0),  # a second later
        ([(0, 0.0), (1, 30.0), (5, 38.0)], 90.0, 0.0),  # never negative
        ([(7, 0.0)], 5.0, None),  # continued: what was there says nothing
        ([(7, 0.0), (9, 4.0)], 4.0, 2.0),
    ],
)
def test_time_left_of_a_job_follows_from_its_epochs(
    done: list[tuple[int, float]], now: float, expected: float | None
) -> None:
    assert epochs_left_seconds(done, 10, now) == expected


def test_time_left_of_a_sweep_fills_the_places_that_get_free() -> None:
    assert sweep_left_seconds([40.0], 0, 99.0) == 40.0
    assert sweep_left_seconds([40.0], 3, 100.0) == 340.0
    # Two at once: the first place is free after 10 s, then at 110, the second at 90.
    assert sweep_left_seconds([90.0, 10.0], 2, 100.0) == 190.0
    assert sweep_left_seconds([], 2, 50.0) == 100.0


# What is read


def test_row_that_is_being_written_counts_as_not_there(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    assert read_row(tmp_path) is None
    for text, epoch in ((HEAD[:9], None), (HEAD, None), (f"{HEAD}1,7,1.5,0.2\n2,14,1.4,0.", 1), (f"{HEAD}1,7\n", None)):
        path.write_text(text)
        row = read_row(tmp_path)
        assert (None if row is None else row.epoch) == epoch
    path.write_text(f"{HEAD}1,7,1.5,nan\n")
    row = read_row(tmp_path)
    assert row is not None
    assert (row.figure, row.value, row.validated) == ("loss", 1.5, False)


def test_last_row_of_a_long_table_is_found(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(HEAD + "".join(f"{k},{k},1.5,0.25\n" for k in range(1, 5001)))
    row = read_row(tmp_path)
    assert row is not None
    assert row.epoch == 5000


# What is shown


def test_line_has_the_place_the_figure_and_both_times(tmp_path: Path) -> None:
    shown = Watch(tmp_path, 10, now=0.0)
    first = job(tmp_path, 2)
    assert shown.look(0.0) == ["job 3 of 10  regularizer=l1,seed=2  starts"]
    assert shown.line(3.0) == "job 3 of 10  regularizer=l1,seed=2  starting, 3 s"
    trains(first, 0)
    shown.look(5.0)
    for epoch in (1, 41):
        trains(first, epoch)
        shown.look(5.0 + epoch)
    assert shown.line(46.0) == (
        "job 3 of 10  regularizer=l1,seed=2  epoch 41 of 200  val (shuffled) accuracy 0.512  "
        "about 3 min left; sweep about 33 min left"
    )
    for columns in (100, 80, 60):
        assert len(shown.line(46.0, columns)) <= columns
        assert shown.line(46.0, columns).startswith("job 3")
    assert shown.line(46.0, 79) == "job 3/10  epoch 41/200  accuracy 0.512 (shuffled)  job 3 min, sweep 33 min left"


def test_jobs_that_ended_say_how_long_others_take(tmp_path: Path) -> None:
    shown = Watch(tmp_path, 3, now=0.0)
    first = job(tmp_path, 0)
    shown.look(0.0)
    trains(first, 0, of=4)
    shown.look(10.0)
    trains(first, 4, of=4)
    shown.look(14.0)
    assert shown.line(15.0).endswith("trained; scoring and composing  val (shuffled) accuracy 0.512")
    completes(first, 30.0)
    job(tmp_path, 1)
    assert shown.look(30.0) == [
        "job 1 of 3  regularizer=l1,seed=0  completed in 30 s  accuracy/val (shuffled) 0.512",
        "job 2 of 3  regularizer=l1,seed=1  starts",
    ]
    assert shown.line(35.0).endswith("starting, 5 s  about 25 s left; sweep about 55 s left")


def test_time_is_at_most_where_a_job_may_stop_early(tmp_path: Path) -> None:
    shown = Watch(tmp_path, 2, now=0.0)
    first = job(tmp_path, 0)
    trains(first, 0, of=5, patience="3")
    shown.look(0.0)
    trains(first, 1, of=5)
    shown.look(10.0)
    assert shown.line(10.0).endswith("at most 40 s left; sweep at most 90 s left")


def test_jobs_of_a_parallel_launcher_are_shown_together(tmp_path: Path) -> None:
    job(tmp_path, 0, status="completed", seconds=20.0)
    shown = Watch(tmp_path, 4, now=0.0)
    for number in (1, 2):
        trains(job(tmp_path, number), 0, of=5)
    assert len(shown.look(0.0)) == 2
    trains(Job.read(tmp_path / "seed-1"), 1, of=5)
    trains(Job.read(tmp_path / "seed-2"), 3, of=5)
    shown.look(6.0)
    assert shown.line(6.0) == (
        "1 of 4 done, 2 running: regularizer=l1,seed=1 epoch 1 of 5, regularizer=l1,seed=2 epoch 3 of 5  "
        "about 34 s left"
    )
    assert shown.line(6.0, 79) == "1 of 4 done, 2 running: job 2 epoch 1/5, job 3 epoch 3/5  about 34 s left"
    assert shown.line(6.0, 72) == "1 of 4 done, 2 running, epochs: job 2 1/5, job 3 3/5  about 34 s left"
    assert shown.line(6.0, 60) == "1 of 4 done, 2 running  about 34 s left"


def test_jobs_of_before_are_shown_when_they_are_passed_over(tmp_path: Path) -> None:
    done = job(tmp_path, 0, status="completed", seconds=20.0)
    job(tmp_path, 1, status="running")  # was lost with its machine
    shown = Watch(tmp_path, 2, now=0.0)
    assert shown.look(0.0) == []
    assert shown.line(0.0) == ""
    job(tmp_path, 0, status="completed", seconds=20.0)
    assert shown.look(1.0) == ["job 1 of 2  regularizer=l1,seed=0  completed in 20 s  (from before)"]
    assert done.folder.exists()


def test_sweep_of_unknown_length_numbers_its_jobs(tmp_path: Path) -> None:
    shown = Watch(tmp_path, None, now=0.0)
    job(tmp_path, 0, status="killed", error="killed by SIGKILL (out of memory?)", seconds=0.4)
    assert shown.look(0.0) == ["job 1  regularizer=l1,seed=0  ended after 0.4 s  killed by SIGKILL (out of memory?)"]


def test_table_of_jobs_stays_within_the_columns(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / SUMMARY, {"split": "shuffled", "accuracy/val": 0.5, "loss/val": 5.25})
    swept = {"regularizer.parameters": "[lstm.weight_ih_l0,lstm.weight_hh_l0,linear.weight]", "seed": "12"}
    (tmp_path / "b").mkdir()
    found = [
        Job(number=0, overrides=[], swept=swept, status="completed", seconds=41, folder=tmp_path / "a"),
        Job(number=1, overrides=[], swept=swept, status="failed", error="no " * 60, folder=tmp_path / "b"),
    ]
    lines = table(found, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "figures of the validation windows: val (shuffled)"
    assert re.fullmatch(r"\[lstm.+\.\..+,12  completed  41 s +0\.500  5\.250", lines[2])
    assert swept["regularizer.parameters"] in "\n".join(table(found))


def test_shortened_name_keeps_what_differs() -> None:
    assert shortened("regularizer=l1,seed=2", 21) == "regularizer=l1,seed=2"
    assert shortened("regularizer=l1,seed=2", 12) == "l1,seed=2"
    assert shortened("model.dropout=0.25,seed=2", 20) == "dropout=0.25,seed=2"
    assert shortened("regularizer=l1,seed=2", 5) == "l1,2"
    assert shortened("a_name_without_keys", 12) == "a_nam.._keys"
    assert shortened("short", 12) == "short"


# For real


def test_terminal_shows_one_line_that_is_wiped_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, out = Terminal(), io.StringIO()
    monkeypatch.setattr(watch, "sys", SimpleNamespace(stderr=terminal, stdout=out))
    with watch.watching(tmp_path, 1):
        job(tmp_path, 0)
        watch.look()
        deadline = time.monotonic() + 10
        while "starting" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        watch.announce("SIGINT: running jobs save and end")
    assert out.getvalue() == "job 1 of 1  regularizer=l1,seed=0  starts\nSIGINT: running jobs save and end\n"
    assert "\rjob 1 of 1  regularizer=l1,seed=0  starting" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.nightly)])
def test_sweep_in_a_pipe_speaks_for_itself_alone(launcher: str, tmp_path: Path) -> None:
    quick = ["model.hidden_size=4", "sampling.events=5", "sampling_grid.pieces=0", "logging.sample_media=false"]
    swept = ["trainer.max_epochs=2", "seed=range(0,2)", f"hydra/launcher={launcher}"]
    command = [sys.executable, "-m", "composer.cli", "train", "-m", *quick, *swept]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300)
    assert "HYDRA" not in done.stdout + done.stderr
    assert "Parallel" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("sweep      outputs/train/sweep-")
    assert lines[1] == "jobs       2; the log of each: <job>/train.log in that folder"
    for number in (0, 1):
        assert lines.count(f"job {number + 1} of 2  seed={number}  starts") == 1
        ended = rf"job {number + 1} of 2  seed={number}  completed in .+ s  accuracy/val \(shuffled\) 0\.\d+"
        assert len([line for line in lines if re.fullmatch(ended, line)]) == 1
    again = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300)
    assert again.stdout.count("(from before)") == 2
