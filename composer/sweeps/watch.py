"""What a sweep shows while it runs: a line when a job begins and ends, and meanwhile how far the running ones are.

Everything is read from the folder of the sweep, where the jobs write it whatever launcher runs them, by a thread of the
process that began the sweep: `job.json` says how a job stands, `metrics.csv` how many epochs it has trained.
"""

from __future__ import annotations

import heapq
import math
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import yaml

from composer.errors import ComposerError
from composer.progress import LiveLine, due, duration
from composer.runs.layout import CONFIG, JOB, METRICS
from composer.sweeps.jobs import Job, describe, job_name, numbered, shortened

# Seconds between two looks at the folder of the sweep.
_LOOK_EVERY = 0.5
# A row of `metrics.csv` has some 500 bytes, a config some 3,000.
_MAX_ROW_BYTES = 16_384
_MAX_CONFIG_BYTES = 1 << 20
# Characters below which a name says nothing.
_LEAST_NAME = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is going to do, from its config.

    Attributes:
        epochs: at most.
        split: how its validation windows were chosen.
        early: whether it may stop before its last epoch.
    """

    epochs: int
    split: str
    early: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The last whole row of `metrics.csv`.

    Attributes:
        epoch: the number of finished epochs.
        figure: name of the figure to show.
        value: of it.
        validated: whether it is of the validation windows.
    """

    epoch: int
    figure: str
    value: float
    validated: bool


def read_plan(folder: Path) -> Plan | None:
    """Return what the job in a folder is going to do; None before it has written its config."""
    try:
        with (folder / CONFIG).open("rb") as stream:
            config = yaml.safe_load(stream.read(_MAX_CONFIG_BYTES))
        trainer = config["trainer"]
        early = trainer.get("early_stopping_patience") is not None
        early = early or "early_stopping" in (config.get("callbacks") or {})
        return Plan(int(trainer["max_epochs"]), str(config["data"]["split"]), early)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None


def read_row(folder: Path) -> Row | None:
    """Return the last whole row of a job's `metrics.csv`; None before the first epoch has ended.

    A row that is being written, and one that is damaged, count as not there.
    """
    try:
        with (folder / METRICS).open("rb") as stream:
            head = stream.readline(_MAX_ROW_BYTES)
            size = stream.seek(0, 2)
            stream.seek(max(len(head), size - 2 * _MAX_ROW_BYTES))
            lines = stream.read().split(b"\n")[:-1]
        keys = head.decode("utf-8").rstrip("\n").split(",")
        cells = dict(zip(keys, lines[-1].decode("utf-8").split(","), strict=True))
        epoch = int(cells["epoch"])
        for key in ("accuracy/val", "loss/train"):
            value = float(cells.get(key) or "nan")
            if not math.isnan(value):
                return Row(epoch, key.partition("/")[0], value, key.endswith("/val"))
        return None
    except (OSError, ValueError, KeyError, IndexError):
        return None


# ---- the time that is left


def epochs_left_seconds(done: Sequence[tuple[int, float]], epochs: int, now: float) -> float | None:
    """Return the seconds until the last epoch of a job ends; None before a first epoch says how long one takes.

    Args:
        done: numbers of finished epochs and when they had finished, in seconds: at the start of the job, at the first
            look that found more, and at the last one.
        epochs: of the job in all.
        now: the present.
    """
    (epoch, last) = done[-1]
    # The first interval may hold a part of the start: it is used while there is no other.
    begun = next((point for point in done[1:] if point[0] < epoch), done[0])
    if epoch <= begun[0]:
        return None
    rate = (last - begun[1]) / (epoch - begun[0])
    return max((epochs - epoch) * rate - (now - last), 0.0)


def sweep_left_seconds(running: Sequence[float], waiting: int, job_seconds: float) -> float:
    """Return the seconds until the last job of a sweep ends.

    Args:
        running: seconds that each running job needs yet; as many run at once until none waits.
        waiting: number of jobs that have not begun.
        job_seconds: what one of them takes.
    """
    ends = list(running) or [0.0]
    heapq.heapify(ends)
    for _ in range(waiting):
        heapq.heapreplace(ends, ends[0] + job_seconds)
    return max(ends)


# ---- what is shown


@dataclass
class Running:
    """A job that runs, as far as its folder tells.

    Attributes:
        job: what `job.json` says.
        began: when it was first seen, in seconds of the monotonic clock.
        plan: None before its config is there.
        row: None before the first epoch has ended.
        done: numbers of finished epochs and when each was seen: at its start, at the first change, at the last.
    """

    job: Job
    began: float
    plan: Plan | None = None
    row: Row | None = None
    done: list[tuple[int, float]] = field(default_factory=list)

    def look(self, now: float) -> None:
        """Read how far it is."""
        self.plan = self.plan or read_plan(self.job.folder)
        self.row = read_row(self.job.folder) or self.row
        epoch = 0 if self.row is None else self.row.epoch
        if self.plan is None:
            return  # the process starts: this is no time of an epoch
        if not self.done or epoch < self.done[-1][0]:
            # A job that goes on begins with the rows of before, cut back to its checkpoint.
            self.done = [(epoch, now)]
        elif epoch > self.done[-1][0]:
            self.done = [*self.done[:2], (epoch, now)]

    @property
    def trained(self) -> bool:
        """Whether its last epoch has ended."""
        return self.plan is not None and self.row is not None and self.row.epoch >= self.plan.epochs

    def left(self, now: float, ending: float | None, whole: float | None) -> float | None:
        """Return the seconds that it needs yet; None where nothing says so.

        Args:
            now: the present.
            ending: seconds that other jobs took after their last epoch; None where none has ended.
            whole: seconds that other jobs took in all.
        """
        if self.trained:
            return None if ending is None or not self.done else ending - (now - self.done[-1][1])
        if self.plan is not None and len(self.done) > 1:
            epochs = epochs_left_seconds(self.done, self.plan.epochs, now)
            if epochs is not None:
                return epochs + (ending or 0.0)
        return None if whole is None else whole - (now - self.began)

    def place(self, now: float, *, brief: bool = False) -> str:
        """Return where it is: its epoch, or what it does before the first and after the last."""
        if self.trained:
            return "scoring" if brief else "trained; scoring and composing"
        if self.plan is None:
            return "starting" if brief else f"starting, {duration(round(now - self.began))}"
        epoch = 0 if self.row is None else self.row.epoch
        return f"epoch {epoch}/{self.plan.epochs}" if brief else f"epoch {epoch} of {self.plan.epochs}"

    def figure(self, *, brief: bool = False) -> str:
        """Return its last figure with the split that it is of; empty before the first epoch has ended."""
        if self.row is None:
            return ""
        split = "" if self.plan is None else f" ({self.plan.split})"
        if not self.row.validated:
            return f"train {self.row.figure} {self.row.value:.3f}"
        return (
            f"{self.row.figure} {self.row.value:.3f}{split}"
            if brief
            else (f"val{split} {self.row.figure} {self.row.value:.3f}")
        )


class Watch:
    """The state of the jobs of a sweep, and the lines that show it."""

    def __init__(self, sweep: Path, total: int | None = None, now: float | None = None) -> None:
        """Remember what is there already, so that only what changes from now on is shown.

        Args:
            sweep: its folder.
            total: the number of its jobs; None where it is not known.
            now: the present, in seconds of the monotonic clock.
        """
        self.sweep, self.total = sweep, total
        self.began = time.monotonic() if now is None else now
        self.running: dict[Path, Running] = {}
        self._seen = {path: path.stat().st_mtime_ns for path in sweep.glob(f"*/{JOB}")}
        self._before = {path for path in self._seen if _status(path) == "completed"}
        self._settled: set[Path] = set()
        # Seconds of the jobs that were run from their beginning to their end, and of their time after the last epoch.
        self._whole: list[float] = []
        self._at_once = 1
        self._endings: list[float] = []

    def look(self, now: float, columns: int | None = None) -> list[str]:
        """Read the folder of the sweep; return a line for each job that has begun or ended since the last look.

        Args:
            now: the present.
            columns: characters within which the names of the jobs are shortened; None sets no limit.
        """
        changed = []
        for path in self.sweep.glob(f"*/{JOB}"):
            try:
                changed_at = path.stat().st_mtime_ns
                if self._seen.get(path) != changed_at:
                    changed.append(Job.read(path.parent))
                    self._seen[path] = changed_at
            except (OSError, ComposerError):
                continue  # removed meanwhile, or damaged
        lines = []
        for job in sorted(changed, key=lambda job: job.number):
            path = job.folder / JOB
            if job.status == "running":
                if path not in self.running:
                    lines.append(f"{numbered(job, self.total)}  {job_name(job)}  starts")
                self.running[path] = Running(job, now)
                self._settled.discard(path)
                self._before.discard(path)
            else:
                before = path in self._before
                lines.append(describe(job, self.total, columns, "  (from before)" * before))
                self._settle(path, job, now)
        for running in self.running.values():
            running.look(now)
        self._at_once = max(self._at_once, len(self.running))
        return lines

    def _settle(self, path: Path, job: Job, now: float) -> None:
        """Take a job that has ended from those that run, and learn from it how long one takes."""
        self._settled.add(path)
        running = self.running.pop(path, None)
        if running is None or job.status != "completed":
            return
        running.look(now)
        if running.done and running.done[0][0] == 0:  # it was not continued
            self._whole.append(job.seconds)
        if len(running.done) > 1:
            self._endings.append(now - running.done[-1][1])

    @property
    def done(self) -> int:
        """The number of jobs that have ended, those of before included."""
        return len(self._settled | self._before)

    def line(self, now: float, columns: int | None = None) -> str:
        """Return the line on the running jobs; empty where none runs.

        Args:
            now: the present.
            columns: the most characters that it may have; None sets no limit.
        """
        found = sorted(self.running.values(), key=lambda running: running.job.number)
        if not found:
            return ""
        whole, ending = _mean(self._whole), _mean(self._endings)
        lefts = [running.left(now, ending, whole) for running in found]
        about = "at most" if any(running.plan is not None and running.plan.early for running in found) else "about"
        # One that needs longer than others did is as good as done.
        known = [max(left, 1.0) for left in lefts if left is not None]
        sweep = None
        waiting = 0 if self.total is None else max(self.total - self.done - len(found), 0)
        if len(known) == len(found) and self.total is not None:
            if whole is None:
                whole = max(now - running.began + left for running, left in zip(found, known, strict=True))
            free = [0.0] * (self._at_once - len(known))  # a launcher takes a moment to begin the next
            sweep = sweep_left_seconds([*known, *free], waiting, whole)
        if len(found) == 1:
            lines = _of_one(found[0], self.total, now, known, sweep if waiting else None, about)
        else:
            lines = _of_several(found, self.total, self.done, now, sweep, about)
        return _fitting(lines, columns)


def _rough(seconds: float) -> str:
    return duration(max(round(seconds), 1))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _status(path: Path) -> str:
    try:
        return Job.read(path.parent).status
    except ComposerError:
        return ""


def _of_one(
    running: Running, total: int | None, now: float, known: list[float], sweep: float | None, about: str
) -> Iterator[str]:
    """Yield the line on the only job that runs, ever shorter."""
    number, name, figure = numbered(running.job, total), job_name(running.job), running.figure()
    left = f"{about} {_rough(known[0])} left" if known else ""
    rest = f"sweep {about} {_rough(sweep)} left" if sweep is not None else ""
    times = "; ".join(filter(None, [left, rest]))
    brief = ", ".join(
        [*(duration(left) for left in known), *([f"sweep {duration(sweep)}"] if sweep is not None else [])]
    )
    brief = f"{'at most ' * (about == 'at most')}{brief} left" if brief else ""
    yield _joined(number, name, running.place(now), figure, times)
    place, shortest = running.place(now, brief=True), number.replace(" of ", "/")
    for rows in (
        (number, running.place(now), figure, brief),
        (number, place, running.figure(brief=True), brief),
        (shortest, place, running.figure(brief=True), brief),
        (shortest, place, brief),
    ):
        without = _joined(*rows)
        for room in range(len(name) - 1, _LEAST_NAME - 1, -1):
            yield _joined(rows[0], shortened(name, room), *rows[1:])
        yield without


def _of_several(
    found: Sequence[Running], total: int | None, done: int, now: float, sweep: float | None, about: str
) -> Iterator[str]:
    """Yield the line on several jobs that run, ever shorter."""
    of = f" of {total}" if total is not None else ""
    head = f"{done}{of} done, {len(found)} running"
    left = f"{about} {_rough(sweep)} left" if sweep is not None else ""
    yield _joined(f"{head}: {', '.join(f'{job_name(one.job)} {one.place(now)}' for one in found)}", left)
    places = [f"job {one.job.number + 1} {one.place(now, brief=True)}" for one in found]
    shortest = [place.replace("epoch ", "") for place in places]
    yield _joined(f"{head}: {', '.join(places)}", left)
    yield _joined(f"{head}, epochs: {', '.join(shortest)}", left)
    for number in range(len(found) - 1, 0, -1):
        yield _joined(f"{head}, epochs: {', '.join(shortest[:number])} and {len(found) - number} more", left)
    yield _joined(head, left)


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _fitting(lines: Iterator[str], columns: int | None) -> str:
    line = ""
    for line in lines:
        if columns is None or len(line) <= columns:
            return line
    return line


# ---- the thread


class _Shower:
    """The thread that looks and prints; all output of the sweep goes through it, so that lines do not mix."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        stream = _terminal_stream()
        self.live = None if stream is None else LiveLine(stream)
        # A `SimpleQueue` may be put into by a handler of a signal, whatever that interrupts. True: look now; None: end.
        self.asked: queue.SimpleQueue[str | bool | None] = queue.SimpleQueue()
        self.said = self.watch.began
        self.thread = threading.Thread(target=self._run, daemon=True, name="sweep watch")

    def _run(self) -> None:
        asked: str | bool | None = True
        while asked is not None:
            try:
                asked = self.asked.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                asked = True
            now = time.monotonic()
            lines = self.watch.look(now, None if self.live is None else self.live.columns)
            if isinstance(asked, str):
                lines.append(asked)
            self._show(lines, now)
        if self.live is not None:
            self.live.wipe()

    def _show(self, lines: list[str], now: float) -> None:
        if lines:
            self.said = now
            if self.live is not None:
                self.live.wipe()
            say_lines(lines)
        if self.live is not None:
            self.live.show(self.watch.line(now, self.live.columns))
        elif due(now, self.watch.began, self.said) and (line := self.watch.line(now)):
            self.said = now
            say_lines([line])


def _terminal_stream() -> TextIO | None:
    return next((stream for stream in (sys.stderr, sys.stdout) if stream.isatty()), None)


def say_lines(lines: Sequence[str]) -> None:
    """Print lines in one piece: processes of a launcher may share the terminal."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


# Of the sweep that this process began; None in the processes that a launcher started.
_shower: _Shower | None = None


@contextmanager
def watching(sweep: Path, total: int | None) -> Iterator[None]:
    """Show how the jobs of a sweep stand; for the process that begins it.

    Args:
        sweep: its folder.
        total: the number of its jobs; None where it is not known.
    """
    global _shower
    shower = _shower = _Shower(Watch(sweep, total))
    shower.thread.start()
    try:
        yield
    finally:
        _shower = None
        shower.asked.put(None)
        shower.thread.join()


def look() -> None:
    """Show now what has changed in the folder of the sweep; nothing in a process that did not begin it."""
    if _shower is not None:
        _shower.asked.put(True)


def announce(line: str) -> None:
    """Print a line between those on the jobs; a handler of a signal may call it."""
    if _shower is not None:
        _shower.asked.put(line)
    else:
        say_lines([line])
