"""Which runs may be averaged and which arms compared: what differs besides the swept keys is named, not averaged.

Within an arm, runs on other data or with another config than most are left out. Between arms, the same differences
forbid a verdict. Code, versions, machine and threads move figures by rounding at best, so they are named and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from composer.compare.runs import PATH, Arm, Run, Sweep, content_sha256, shown_value, silent

# A swept key of these chooses the values of any other.
_CHOOSES_ALL = ("experiment", "ablation")
_WINDOWS = ("windows_train", "windows_val", "windows_test")
_CONTENT = "data.sha256"
# Keys that choose other music.
_FILES = (PATH, "data.source")
_NAMED_RUNS = 3


def check(sweep: Sweep, baseline: Arm) -> None:
    """Leave out what must not be averaged and note every difference that the swept keys do not explain.

    Sets `Run.left_out` and `Arm.confounded`, and adds to `Sweep.notes`.
    """
    for arm in sweep.arms:
        _leave_out_strangers(arm, sweep)
        _leave_out_repeats(arm)
    sweep.notes += [
        f"left out: {run.folder.name} ({arm.label}), because {run.left_out}"
        for arm in sweep.arms
        for run in arm.runs
        if run.left_out is not None
    ]
    for arm in sweep.arms:
        if arm is not baseline:
            _compare_arms(arm, baseline, sweep)
    for run in sweep.counted:
        if content_sha256(run) is None:
            sweep.notes.append(
                f"{run.folder.name}: its data cannot be checked, because its manifest does not record it"
            )
    sweep.notes += _other_circumstances(sweep)


def explained(key: str, swept: Iterable[str]) -> bool:
    """Return whether a swept key sets this config key: itself, its group, or an experiment."""
    return any(
        f"{key}.".startswith(f"{one.removesuffix('.name')}.") or one.split("/")[0] in _CHOOSES_ALL for one in swept
    )


def _facts(run: Run) -> dict[str, str]:
    """Return what the runs of an arm must share, as text by name."""
    facts = {key: shown_value(value) for key, value in run.config.items() if not silent(key) and key != PATH}
    content = content_sha256(run)
    # Where the content is not known the path has to do.
    return facts | ({_CONTENT: content} if content else {PATH: shown_value(run.config.get(PATH))})


def _differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of facts in which two runs differ; content and path are compared only where both tell them."""
    names = dict.fromkeys([*one, *other])
    unknown = {_CONTENT, PATH} - (one.keys() & other.keys())
    return [name for name in names if one.get(name) != other.get(name) and name not in unknown]


def _short(name: str, value: str | None) -> str:
    return "absent" if value is None else value[:12] if name == _CONTENT else value


def _leave_out_strangers(arm: Arm, sweep: Sweep) -> None:
    """Keep the runs that are like most of their arm; of two kinds as many, the one of more arms, then the first."""
    facts = {run: _facts(run) for run in arm.counted}
    everywhere = Counter(_facts(run).get(_CONTENT) for run in sweep.counted)
    kinds: list[list[Run]] = []
    for run in facts:
        like = next((kind for kind in kinds if not _differences(facts[kind[0]], facts[run])), None)
        kinds.append([run]) if like is None else like.append(run)
    if len(kinds) < 2:
        return
    kept = max(kinds, key=lambda kind: (len(kind), everywhere[facts[kind[0]].get(_CONTENT)], -kind[0].number))
    usual = facts[kept[0]]
    for run in facts:
        names = _differences(usual, facts[run])
        if names:
            parts = [f"{n} differs ({_short(n, facts[run].get(n))}, not {_short(n, usual.get(n))})" for n in names]
            run.left_out = ", ".join(parts)


def _leave_out_repeats(arm: Arm) -> None:
    """A seed, or a fold of it, counts once: the same run again is no further evidence."""
    last: dict[tuple[int | None, int | None], Run] = {}
    for run in arm.counted:
        key = (run.seed, run.fold)
        if key in last:
            last[key].left_out = f"{run.folder.name} repeats an earlier run of the same arm and seed"
        last[key] = run


def _compare_arms(arm: Arm, baseline: Arm, sweep: Sweep) -> None:
    mine, others = arm.counted, baseline.counted
    if not mine or not others:
        return
    one, other = _facts(mine[0]), _facts(others[0])
    for name in _differences(other, one):
        if explained(name, sweep.swept) or (name == _CONTENT and any(explained(key, sweep.swept) for key in _FILES)):
            if name == _CONTENT:
                sweep.notes.append(
                    f"{arm.label}: trained on different music from {baseline.label}, because the data was swept"
                )
            continue
        values = f"{_short(name, one.get(name))}, in {baseline.label} {_short(name, other.get(name))}"
        arm.confounded.append(name)
        sweep.notes.append(
            f"{arm.label}: {name} differs too ({values}), so a difference cannot be attributed to the swept key"
        )
    if explained("data.window_size", sweep.swept) or any(key.split(".")[0] == "data" for key in sweep.swept):
        return
    by_seed = {(run.seed, run.fold): run for run in others}
    for run in mine:
        pair = by_seed.get((run.seed, run.fold))
        counts = [(name, run.summary.get(name), pair.summary.get(name)) for name in _WINDOWS] if pair else []
        for name, count, expected in counts:
            if count != expected:
                sweep.notes.append(f"{arm.label}: {name} of seed {run.seed} is {count}, in {baseline.label} {expected}")
                if name not in arm.confounded:
                    arm.confounded.append(name)


def _other_circumstances(sweep: Sweep) -> list[str]:
    """Return code, versions, machine and threads where the runs differ in them."""
    notes = [_spread(sweep, what, read) for what, read in (("code", _code), ("device", _device), ("threads", _threads))]
    packages = dict.fromkeys(name for run in sweep.counted for name in _versions(run))
    for package in packages:
        notes.append(_spread(sweep, f"version of {package}", lambda run, name=package: _versions(run).get(name)))  # type: ignore[misc]
    for module in dict.fromkeys(name for run in sweep.counted for name in _plugins(run)):
        notes.append(_spread(sweep, f"code of the plugin {module}", lambda run, name=module: _plugins(run).get(name)))  # type: ignore[misc]
    if any("copying" in run.summary for run in sweep.counted):
        # Changes no other figure.
        notes.append(_spread(sweep, "sampling (and so the composed pieces)", lambda run: _sampling(run, sweep)))
    found = [note for note in notes if note is not None]
    if any(_DIRTY in (_code(run) or "") for run in sweep.counted):
        found.append(
            "code: runs came from a checkout with uncommitted changes, so it is not certain that they ran the same code"
        )
    return found


def _plugins(run: Run) -> dict[str, str]:
    """Return the digest of each plugin of a run, by module."""
    known = run.manifest.get("plugins")
    found = known.items() if isinstance(known, dict) else ()
    return {name: str(about["sha256"])[:12] for name, about in found if isinstance(about, dict) and about.get("sha256")}


def _spread(sweep: Sweep, what: str, read: Callable[[Run], str | None]) -> str | None:
    """Return a line that says who has which value; None when all the runs that tell it agree."""
    runs: dict[str, list[tuple[Arm, Run]]] = {}
    for arm in sweep.arms:
        for run in arm.counted:
            value = read(run)
            if value is not None:
                runs.setdefault(value, []).append((arm, run))
    if len(runs) < 2:
        return None
    parts = []
    for value, members in sorted(runs.items(), key=lambda item: -len(item[1])):
        names = [run.folder.name for _, run in members]
        whole = [arm.label for arm in sweep.arms if arm.counted and all((arm, run) in members for run in arm.counted)]
        exact = whole and sum(len(arm.counted) for arm in sweep.arms if arm.label in whole) == len(members)
        listed = ", ".join(names[:_NAMED_RUNS]) + (f" and {len(names) - _NAMED_RUNS} more" * (len(names) > _NAMED_RUNS))
        parts.append(f"{value} in {'all of ' + '; '.join(whole) if exact else listed}")
    return f"{what} differs: {' | '.join(parts)}"


_DIRTY = "uncommitted changes"


def _code(run: Run) -> str | None:
    """Return the code's own digest where the run has one, else the commits that it was trained with."""
    accounts = [run.manifest, *(run.manifest.get("resumed") or [])]
    seen: list[str] = []
    for account in accounts:
        if not isinstance(account, dict):
            continue
        digest, git = account.get("code_sha256"), account.get("git")
        if isinstance(digest, str):
            seen.append(digest[:12])
        elif isinstance(git, dict):
            seen.append(f"commit {str(git.get('commit'))[:8]}" + (f" with {_DIRTY}" if git.get("dirty") else ""))
    return " then ".join(dict.fromkeys(seen)) or None


def _device(run: Run) -> str | None:
    return _text(run.manifest.get("device"))


def _threads(run: Run) -> str | None:
    return _text(run.manifest.get("threads"))


def _sampling(run: Run, sweep: Sweep) -> str:
    """Return how it composes, without what was swept."""
    keys = [key for key in run.config if key.startswith("sampling.") and not explained(key, sweep.swept)]
    return " ".join(f"{key.removeprefix('sampling.')}={shown_value(run.config[key])}" for key in keys)


def _versions(run: Run) -> dict[str, str]:
    versions = run.manifest.get("versions")
    return {key: str(value) for key, value in versions.items()} if isinstance(versions, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
