"""The code and configs that run: where they are, their digest and git commit, and a frozen copy for a sweep.

No torch: every command needs to know where its configs are.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from composer.config.paths import CONF_DIR, PACKAGE
from composer.files import read_json, unwritable
from composer.runs.layout import SWEEP

# Folder of a sweep with the code and configs that it began with; on Python's path of its jobs.
FROZEN = ".frozen"


def _files(package: Path, conf: Path) -> dict[str, Path]:
    """Return every file of the code and the configs, by its place in the frozen copy."""
    # Not the code alone: the chorales' manifest and the page of a player lie beside it.
    own = {path.relative_to(package): path for path in package.rglob("*") if path.is_file()}
    files = {
        f"{PACKAGE.name}/{place}": path
        for place, path in own.items()
        if not any(part == "__pycache__" or part.startswith(".") for part in place.parts)
    }
    files |= {f"{PACKAGE.name}/conf/{path.relative_to(conf)}": path for path in conf.rglob("*.yaml")}
    return dict(sorted(files.items()))


def digest(root: Path | None = None) -> str:
    """Return SHA-256 over the code and the configs that run now, or over a frozen copy of them in `root`."""
    package, conf = (PACKAGE, CONF_DIR) if root is None else (root / PACKAGE.name, root / PACKAGE.name / "conf")
    total = hashlib.sha256()
    for name, path in _files(package, conf).items():
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def freeze(folder: Path) -> None:
    """Copy the code and the configs to `folder/.frozen`, all or nothing.

    Raises:
        ComposerError: the folder cannot be written.
    """
    frozen, beginning = folder / FROZEN, folder / f"{FROZEN}.tmp"
    try:
        shutil.rmtree(beginning, ignore_errors=True)
        for name, path in _files(PACKAGE, CONF_DIR).items():
            (beginning / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, beginning / name)
        beginning.rename(frozen)
    except OSError as error:
        raise unwritable(frozen, error) from error


def frozen_conf(folder: Path) -> Path:
    """Return the frozen configs of a sweep."""
    return folder / FROZEN / PACKAGE.name / "conf"


def git_state() -> dict[str, Any] | None:
    """Return commit and dirtiness of the checkout that the code comes from; None for an installed wheel."""
    root = PACKAGE.parent
    if (root.parent / SWEEP).exists():
        # A frozen copy: what the checkout was when the sweep began.
        state = read_json(root.parent / SWEEP).get("git")
        return state if isinstance(state, dict) else None
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    # Without optional locks: a run that is killed here must not leave a lock in the user's repository.
    return subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout.strip()
