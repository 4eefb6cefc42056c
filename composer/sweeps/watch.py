"""What a sweep shows while it runs: a line when a job begins and ends, and meanwhile how far the running ones are.

Everything is read from the folder of the sweep, where the jobs write it whatever launcher runs them, by a thread of the
process that began the sweep: `job.json` says how a job stands, `metrics.csv` how many epochs it has trained.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from composer.errors import ComposerError
from composer.progress import LiveLine, due, duration
from composer.runs.layout import JOB
from composer.sweeps.jobs import Job, describe, job_name, numbered, shortened
from composer.sweeps.standing import Running, sweep_left_seconds

# Seconds between two looks at the folder of the sweep.
_LOOK_EVERY = 0.5
# Characters below which a name says nothing.
_MIN_NAME = 12


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
        [f"job {duration(left)}" if sweep is not None else duration(left) for left in known]
        + ([f"sweep {duration(sweep)}"] if sweep is not None else [])
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
        for room in range(len(name) - 1, _MIN_NAME - 1, -1):
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
        self.requests: queue.SimpleQueue[str | bool | None] = queue.SimpleQueue()
        self.said = self.watch.began
        self.thread = threading.Thread(target=self._run, daemon=True, name="sweep watch")

    def _run(self) -> None:
        asked: str | bool | None = True
        while asked is not None:
            try:
                asked = self.requests.get(timeout=_LOOK_EVERY)
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
        shower.requests.put(None)
        shower.thread.join()


def look() -> None:
    """Show now what has changed in the folder of the sweep; nothing in a process that did not begin it."""
    if _shower is not None:
        _shower.requests.put(True)


def announce(line: str) -> None:
    """Print a line between those on the jobs; a handler of a signal may call it."""
    if _shower is not None:
        _shower.requests.put(line)
    else:
        say_lines([line])
