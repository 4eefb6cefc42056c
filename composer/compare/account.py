"""Account of a sweep for its report: a title in words, and what was trained, from the records of the runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from composer.compare.captions import capitalised, weights
from composer.compare.effects import SPLITS, Comparison
from composer.compare.runs import Run, content_sha256, shown_value, tree
from composer.config.data import split_title
from composer.files import printable

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# Groups whose keys are clear without them.
_CLEAR = ("data", "model", "loss", "encoding", "trainer", "loss_terms")
_WORDS = {
    "lr": "learning rate",
    "num_layers": "layers",
    "train_share": "share of the training pieces",
    "max_epochs": "epochs",
    "data.split": "split of the validation windows",
    "data": "music",
}
_VERSIONS = ("composer", "torch", "pytorch-lightning", "python")
# Values and pieces that are listed; more are counted.
_MAX_LISTED = 4
_HASH = 12
# Of a group without a name: it does nothing.
_OFF = (None, "none", "null", "")


def title(c: Comparison) -> str:
    """Return a title in words, such as `Regularizer: none against l1, five seeds each`."""
    counts = sorted({len({run.seed for run in arm.counted}) for arm in c.sweep.arms if arm.counted})
    low, high = counts[0], counts[-1]
    each = " each" if len(c.sweep.arms) > 1 else ""
    seeds = (
        f"{_number(high)} seed{'s' * (high != 1)}{each}" if low == high else f"{_number(low)} to {_number(high)} seeds"
    )
    keys = c.sweep.swept
    if not keys:
        return f"{capitalised(c.sweep.name)}: one arm, {seeds}"
    if len(keys) == 1:
        values = [arm.swept.get(keys[0], "-") for arm in c.sweep.arms]
        return f"{capitalised(words(keys[0]))}: {_against(values)}, {seeds}"
    named = _listed([words(key) for key in keys])
    return f"{capitalised(named)}: {_number(len(c.sweep.arms))} arms, {seeds}"


def words(key: str) -> str:
    """Return a config key in words: `model.hidden_size` is `hidden size`."""
    key = key.removesuffix(".name")
    group, _, rest = key.partition(".")
    last = _WORDS.get(key) or _WORDS.get(rest) or rest.replace(".", " ").replace("_", " ")
    return (_WORDS.get(key) or group.replace("_", " ")) if not rest else last if group in _CLEAR else f"{group} {last}"


def trained(c: Comparison) -> list[tuple[str, str]]:
    """Return what was trained as pairs of a name and a value, what the records lack left out.

    Swept values are listed as such; other differences between the runs are in `Sweep.notes`.
    """
    rows = [
        ("swept", _listed(c.sweep.swept) or "nothing but the seed"),
        ("arms", "; ".join(arm.label for arm in c.sweep.arms)),
        ("runs", _runs(c)),
        ("seeds", ", ".join(map(str, sorted({run.seed for run in c.sweep.counted if run.seed is not None})))),
        ("figures of", f"the {weights(c)}"),
        ("music", _of(c, _music)),
        ("music, SHA-256", _of(c, lambda run: (content_sha256(run) or "")[:_HASH])),
        ("part", _of(c, lambda run: _config(run, "data.part"))),
        ("split", _of(c, _split)),
        ("windows", _of(c, _windows)),
        ("val targets inside training windows (overlap)", _leak(c)),
        ("epochs", _of(c, _epochs)),
        ("model", _group(c, "model")),
        ("parameters", _of(c, _parameters)),
        ("regularizer", _group(c, "regularizer")),
        ("optimizer", _group(c, "optimizer")),
        ("scheduler", _group(c, "scheduler")),
        ("augmentation", _group(c, "augmentation")),
        ("batch", _of(c, lambda run: _config(run, "data.batch_size"))),
        ("device", _of(c, _device)),
        ("versions", _of(c, _versions)),
        ("code", _of(c, _code)),
        ("trained", _date(c)),
        ("command", _command(c)),
    ]
    return [(name, value) for name, value in rows if value not in _OFF]


def _of(c: Comparison, read: Callable[[Run], str]) -> str:
    """Return the value of the runs; where it differs each value with how many runs have it, if these are few."""
    found: dict[str, int] = {}
    for run in c.sweep.counted:
        value = read(run)
        if value:
            found[value] = found.get(value, 0) + 1
    if len(found) > _MAX_LISTED:
        return f"{len(found)} different, see runs.csv and the configs of the runs"
    return " / ".join(
        f"{value} ({number} run{'s' * (number != 1)})" if len(found) > 1 else value for value, number in found.items()
    )


def _runs(c: Comparison) -> str:
    runs = [run for arm in c.sweep.arms for run in arm.runs]
    return f"{len(runs)}, of which {len(c.sweep.counted)} count"


def _music(run: Run) -> str:
    data = tree(run.manifest.get("data"))
    names = [str(name) for name in data.get("pieces") or []]
    pieces = run.summary.get("pieces")
    number = pieces if isinstance(pieces, int) else len(names)
    events = data.get("events")
    parts = ["; ".join(names) if 0 < len(names) <= _MAX_LISTED else f"{number:,} pieces" if number else ""]
    parts.append(f"{events:,} events" if isinstance(events, int) else "")
    source = _config(run, "data.source")
    return printable(", ".join(part for part in parts if part) + f" (data={source})" * bool(source))


def _split(run: Run) -> str:
    kind = str(run.summary.get("split") or _config(run, "data.split"))
    pieces = run.summary.get("pieces")
    shares = [
        f"{split_title(name, kind, pieces if isinstance(pieces, int) else 1)} {float(share):.0%}"
        for name in SPLITS
        if isinstance(share := run.config.get(f"data.{name}_fraction"), (int, float))
    ]
    return ", ".join(shares) or kind


def _windows(run: Run) -> str:
    counts = [
        f"{run.summary[key]:,} {part}"
        for part in ("train", "val", "test")
        if isinstance(run.summary.get(key := f"windows_{part}"), int)
    ]
    size = _config(run, "data.window_size")
    return ", ".join(counts) + (f"; {size} events each" if size and counts else "")


def _leak(c: Comparison) -> str:
    leaks = [leak for run in c.sweep.counted if isinstance(leak := run.summary.get("leak_rate"), (int, float))]
    ends = dict.fromkeys(f"{end:.1%}" for end in (min(leaks, default=0), max(leaks, default=0)))
    return " to ".join(ends) if leaks else ""


def _epochs(run: Run) -> str:
    epochs, steps = run.summary.get("epochs"), run.summary.get("steps")
    most = _config(run, "trainer.max_epochs")
    shown = f"{epochs} of at most {most}" if isinstance(epochs, int) and str(epochs) != most else most
    return shown + (f", {steps:,} steps" if shown and isinstance(steps, int) else "")


def _group(c: Comparison, group: str) -> str:
    """Return the name of a component with those of its values that do something: `lstm: hidden_size=64, ...`."""
    swept = [key.removeprefix(f"{group}.") for key in c.sweep.swept if key.startswith(f"{group}.")]
    return _of(c, lambda run: _component(run, group, swept))


def _component(run: Run, group: str, swept: Sequence[str]) -> str:
    key = f"{group}.name"
    name = run.config.get(key)
    if name in _OFF:
        return "none" if key in run.config else ""
    prefix = f"{group}."
    values = {key.removeprefix(prefix): run.config[key] for key in run.config if key.startswith(prefix)}
    del values["name"]
    shown = [
        f"{key} swept" if key in swept else f"{key}={shown_value(value)}"
        for key, value in values.items()
        if key in swept or not _idle(value)
    ]
    return f"{name}: {', '.join(shown)}" if shown else str(name)


def _idle(value: Any) -> bool:
    return value in _OFF or value is False or value == 0


def _parameters(run: Run) -> str:
    number = run.summary.get("parameters")
    return f"{number:,}" if isinstance(number, int) else ""


def _device(run: Run) -> str:
    device, threads = run.manifest.get("device"), run.manifest.get("threads")
    return f"{device}, {threads} thread{'s' * (threads != 1)} each" if device and threads else str(device or "")


def _versions(run: Run) -> str:
    versions = tree(run.manifest.get("versions"))
    return ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions)


def _code(run: Run) -> str:
    git, digest = tree(run.manifest.get("git")), run.manifest.get("code_sha256")
    parts = [f"commit {str(git['commit'])[:_HASH]}"] if git.get("commit") else []
    parts += ["with uncommitted changes"] if git.get("dirty") else []
    parts += [f"SHA-256 {digest[:_HASH]}"] if isinstance(digest, str) else []
    return ", ".join(parts)


def _date(c: Comparison) -> str:
    days = sorted({str(run.manifest["started"])[:10] for run in c.sweep.counted if run.manifest.get("started")})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else ""


def _command(c: Comparison) -> str:
    command, overrides = (c.sweep.about.get(name) for name in ("command", "overrides"))
    if not isinstance(command, list) or not command:  # of an earlier version
        command = ["train", "-m", *overrides] if isinstance(overrides, list) and overrides else []
    return printable(shlex.join(["composer", *map(str, command)])) if command else ""


def _config(run: Run, key: str) -> str:
    value = run.config.get(key)
    return "" if value is None else shown_value(value)


def _against(values: Sequence[str]) -> str:
    if len(values) == 2:
        return f"{values[0]} against {values[1]}"
    return _listed(values) if len(values) <= 2 * _MAX_LISTED else f"{_number(len(values))} values"


def _listed(values: Iterable[str]) -> str:
    found = list(values)
    return f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else "".join(found)


def _number(value: int) -> str:
    return _NUMBERS[value] if value < len(_NUMBERS) else str(value)
