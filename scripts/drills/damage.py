"""Each file of a run directory, and of a sweep, damaged in turn; then a command reads it.

The command must give what it gives for the undamaged files, or say something: a line and a status, or a warning. Other
results without a word are wrong data that was believed.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from composer import cli
from composer.errors import ComposerError
from composer.files import read_json
from drills.tally import QUICK, Outcome, Tally, files_of, without_times

RUN = "sweep/seed-0"
# By name: the arguments of a command that reads a run, or the sweep.
COMMANDS: dict[str, list[str]] = {
    "generate": ["generate", RUN, "events=20", "output=out"],
    "last": ["generate", RUN, "checkpoint=last", "events=20", "output=out"],
    "evaluate": ["evaluate", RUN, "samples=0", "figures=false", "context.windows=0", "output=out"],
    "export": ["export", RUN, "output=out/a.safetensors"],
    "report": ["report", RUN, "temperatures=[1.0]", "events=20", "output=out/page.html"],
    "compare": ["compare", "sweep", "figures=false", "output=out"],
    "finished": ["train", f"resume={RUN}"],
    "resume": ["train", f"resume={RUN}", "trainer.max_epochs=3"],
}
# Notes for people, a lock, and what another command writes anew: what they hold decides nothing.
# Far more than any of the commands needs.
_MOST_SECONDS = 60
_MOST_BYTES = 6 << 30
_UNREAD = (".lock", "train.log", "log")


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Damage `count` files, and read each by a command that is drawn."""
    # A file that is read without end is then an error, and not the end of the machine.
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, hard))
    with _inside(folder):
        for seed in (0, 1):
            assert _call(["train", *QUICK, f"seed={seed}", "trainer.max_epochs=2", f"hydra.run.dir=sweep/seed-{seed}"])
        Path("sweep").rename("whole")
        expected = {name: _read(arguments) for name, arguments in COMMANDS.items()}
        for name, (outcome, _) in expected.items():
            assert outcome.status == 0, f"{name}: {outcome.err}"
        paths = sorted(path for path in files_of(Path("whole")) if not path.endswith(_UNREAD) and "seed-0" in path)
        for number in range(count):
            path, name = paths[number % len(paths)], rng.choice(list(COMMANDS))
            damage = rng.choice(DAMAGES)
            _case(tally, rng, path, name, damage, expected[name])


def _case(
    tally: Tally,
    rng: random.Random,
    path: str,
    name: str,
    damage: Callable[[Path, random.Random], str],
    expected: tuple[Outcome, dict[str, object]],
) -> None:
    done = ""

    def break_it() -> None:
        nonlocal done
        done = damage(Path("sweep") / path, rng)

    outcome, results = _read(COMMANDS[name], break_it)
    case = f"{name}, {path} {done}"
    if problem := outcome.problem:
        tally.lose(case, problem)
    elif outcome.status:
        lines = outcome.err.strip().splitlines()
        if len(lines) > 3:
            tally.lose(case, f"{len(lines)} lines of errors")
        else:
            tally.survive("refused in a line")
    elif outcome.err.strip() != expected[0].err.strip():
        tally.survive("read with a warning")
    elif "in training, or stopped without a record" in str(results.get("page.html", "")):
        tally.survive("shown as not ended")
    # Resuming prints where it goes on; what counts is its end.
    elif (outcome.out != expected[0].out and not results.keys() & {"metrics.csv"}) or results != expected[1]:
        differing = [key for key in {**results, **expected[1]} if results.get(key) != expected[1].get(key)]
        tally.lose(case, f"believed: other {', '.join(differing[:3]) or 'output'}")
    else:
        tally.survive("read as before")


def _read(arguments: list[str], break_it: Callable[[], None] | None = None) -> tuple[Outcome, dict[str, object]]:
    """Run a command on a fresh copy of the sweep; return how it ended, and what it made."""
    for left in ("sweep", "out"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree("whole", "sweep")
    Path("out").mkdir()
    if break_it is not None:
        break_it()
    outcome = _call(arguments)
    results: dict[str, object] = {
        path: without_times(text.decode("latin-1")) for path, text in files_of(Path("out")).items()
    }
    if arguments[0] == "train":
        results |= _trained(Path(RUN))
    return outcome, results


def _trained(folder: Path) -> dict[str, object]:
    """Return what a resumed run ends with: its table and its summary without times."""
    found: dict[str, object] = {}
    if (folder / "metrics.csv").is_file():
        found["metrics.csv"] = (folder / "metrics.csv").read_text(encoding="utf-8", errors="replace")
    with contextlib.suppress(ComposerError):
        summary = read_json(folder / "summary.json")
        found |= {f"summary.json {key}": value for key, value in summary.items() if key != "seconds"}
    return found


def _call(arguments: list[str]) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(_MOST_SECONDS)
        try:
            status = cli.run(arguments[0], arguments[1:])
        except Exception:  # what the drill looks for
            traceback.print_exc()
            status = 1
        finally:
            signal.alarm(0)
    return Outcome(status, without_times(out.getvalue()), without_times(err.getvalue()))


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"still busy after {_MOST_SECONDS} s")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _flip(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    if not content:
        return "is empty"
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"flipped at byte {place}"


def _digit(path: Path, rng: random.Random) -> str:
    """Change a digit of a text, after which it is as well formed as before."""
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return _flip(path, rng)
    place = rng.choice(places)
    content[place] = 48 + (content[place] - 48 + rng.randrange(1, 10)) % 10
    path.write_bytes(content)
    return f"with another digit at byte {place}"


def _cut(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    length = rng.randrange(len(content) + 1)
    path.write_bytes(content[:length])
    return f"cut to {length} of {len(content)} bytes"


def _lengthen(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    path.write_bytes(content + rng.choice([b"\0" * 40, b"x", lines[-1] if lines else b"x", content]))
    return "with more at its end"


def _remove(path: Path, rng: random.Random) -> str:
    path.unlink()
    return "missing"


def _folder(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def _device(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.symlink_to("/dev/zero")
    return "a device"


def _pipe(path: Path, rng: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def _garbage(path: Path, rng: random.Random) -> str:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, 10_000])))
    return "of random bytes"


DAMAGES = [_flip, _flip, _digit, _digit, _cut, _lengthen, _remove, _folder, _device, _pipe, _garbage]
