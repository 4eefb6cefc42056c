"""The code and configs that run: where they are, their digest and git commit, and a frozen copy for a sweep.

No torch: every command needs to know where its configs are.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from composer import __version__, plugins
from composer.config.paths import CONF_DIR, PACKAGE
from composer.files import read_json, unwritable
from composer.runs.layout import SWEEP

# Folder of a sweep with the code and configs that it began with; on Python's path of its jobs.
FROZEN = ".frozen"
# Folder of the frozen copy with the user's config folders, numbered in the order of Hydra's search path.
_SEARCH = "search"
# Folder of the frozen copy with the packages of plugins; on Python's path of the jobs too.
_PLUGINS = "plugins"


def _files(
    package: Path, conf: Path, search: Sequence[Path], extensions: Iterable[tuple[str, Path]]
) -> dict[str, Path]:
    """Return every file of the code and the configs, by its place in the frozen copy.

    Args:
        package: the code.
        conf: its configs.
        search: folders of the user's configs.
        extensions: files of plugins, by their path below the folder of their packages.
    """
    # Not the code alone: the chorales' manifest and the page of a player lie beside it.
    own = {path.relative_to(package): path for path in package.rglob("*") if path.is_file()}
    files = {
        f"{PACKAGE.name}/{place}": path
        for place, path in own.items()
        if not any(part == "__pycache__" or part.startswith(".") for part in place.parts)
    }
    files |= {f"{PACKAGE.name}/conf/{path.relative_to(conf)}": path for path in conf.rglob("*.yaml")}
    for number, user in enumerate(search):
        yaml = (path for pattern in ("*.yaml", "*.yml") for path in user.rglob(pattern))
        files |= {f"{_SEARCH}/{number}/{path.relative_to(user)}": path for path in yaml}
    files |= {f"{_PLUGINS}/{place}": path for place, path in extensions}
    return dict(sorted(files.items()))


def digest(search: Sequence[Path] = (), *, with_plugins: bool = False) -> str:
    """Return SHA-256 over the code and the configs that run now.

    Args:
        search: folders of the user's configs, which are part of it.
        with_plugins: whether the enabled plugins are part of it.
    """
    return _digest(_files(PACKAGE, CONF_DIR, search, plugins.frozen_files() if with_plugins else ()))


def frozen_digest(folder: Path) -> str:
    """Return the same of the frozen copy of a sweep."""
    package = folder / FROZEN / PACKAGE.name
    held = folder / FROZEN / _PLUGINS
    extensions = ((path.relative_to(held).as_posix(), path) for path in held.rglob("*") if path.is_file())
    used = ((place, path) for place, path in extensions if "__pycache__" not in place)
    return _digest(_files(package, package / "conf", frozen_search(folder), used))


def _digest(files: dict[str, Path]) -> str:
    total = hashlib.sha256()
    for name, path in files.items():
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def freeze(folder: Path, search: Sequence[Path] = ()) -> None:
    """Copy the code and the configs to `folder/.frozen`, all or nothing, with plugins and the user's config folders.

    Raises:
        ComposerError: the folder cannot be written.
    """
    frozen, beginning = folder / FROZEN, folder / f"{FROZEN}.tmp"
    try:
        shutil.rmtree(beginning, ignore_errors=True)
        for number in range(len(search)):
            (beginning / _SEARCH / str(number)).mkdir(parents=True)
        for name, path in _files(PACKAGE, CONF_DIR, search, plugins.frozen_files()).items():
            (beginning / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, beginning / name)
        beginning.rename(frozen)
    except OSError as error:
        raise unwritable(frozen, error) from error


def add_former_name(folder: Path) -> None:
    """Let the frozen code of a sweep find its version under the name that the distribution had before `lstm-composer`.

    Raises:
        ComposerError: the folder cannot be written.
    """
    about = folder / FROZEN / f"composer-{__version__}.dist-info" / "METADATA"
    try:
        about.parent.mkdir(exist_ok=True)
        about.write_text(f"Metadata-Version: 2.1\nName: composer\nVersion: {__version__}\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(about, error) from error


def frozen_conf(folder: Path) -> Path:
    """Return the frozen configs of a sweep."""
    return folder / FROZEN / PACKAGE.name / "conf"


def frozen_search(folder: Path) -> list[Path]:
    """Return the frozen copies of the user's config folders of a sweep, in the order of Hydra's search path."""
    found = folder / FROZEN / _SEARCH
    return [found / str(number) for number in range(len(list(found.iterdir())))] if found.is_dir() else []


def frozen_plugins(folder: Path) -> Path | None:
    """Return the folder with the frozen packages of plugins of a sweep; None where it has none."""
    found = folder / FROZEN / _PLUGINS
    return found if found.is_dir() else None


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
