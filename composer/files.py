"""Files written all or nothing, and names and paths of files for messages."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from composer.errors import ComposerError

_NAME_LENGTH = 64


def main_process() -> bool:
    """Return whether this process writes the run directory: of several that train together, the first.

    Lightning starts the others with their number in the environment, and so do torchrun and Slurm.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def safe_name(text: str) -> str:
    """Return a safe folder name (`[A-Za-z0-9._-]+`, at most 64 characters) from overrides or any other text.

    Where something had to be left out, a digest keeps the names apart.
    """
    plain = text.replace("=", "-").replace(",", "_") or "unnamed"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"(?<=\de)\+", "", plain)).lstrip("-_.") or "unnamed"
    if name == plain and len(name) <= _NAME_LENGTH:
        return name
    room = _NAME_LENGTH - 9
    if len(name) > room:
        # A search's numbers have many digits.
        name = re.sub(r"\d+\.\d{5,}(e[+-]?\d+)?", lambda number: f"{float(number[0]):.4g}", name)
    if len(name) > room:
        # `model.dropout` as `dropout`.
        name = re.sub(r"(^|_)[a-z_]+\.(?=[a-z])", r"\1", name)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[:room]}-{digest}"


def display_path(path: Path) -> Path:
    """Return a path as a user would type it: relative where it lies below the current folder."""
    path = path.absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def program(name: str) -> str:
    """Return a program of this environment as the user can type it: its path where the environment is not activated."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found is not None and Path(found) == beside or not beside.exists() else str(display_path(beside))


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file through a temporary one in the same folder: sync it, rename it, sync the folder.

    Args:
        path: the file; its folder is made when missing.
        write: gets a binary stream.

    Raises:
        ComposerError: the disk is full or the folder cannot be written; what was at `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> ComposerError:
    """Return the line for a file that cannot be written."""
    way_out = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return ComposerError(f"{path}: cannot be written ({error.strerror or error}){way_out}")


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file all or nothing."""
    write_atomic(path, lambda stream: stream.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file all or nothing."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file all or nothing; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ComposerError: the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ComposerError(f"{path}: not found") from error
    except (OSError, ValueError) as error:
        raise ComposerError(f"{path}: damaged ({error})") from error
    if not isinstance(value, dict):
        raise ComposerError(f"{path}: damaged (not a JSON object)")
    return value
