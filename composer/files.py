"""Files written all or nothing, and names and paths of files for messages."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from composer.errors import ComposerError

_NAME_LENGTH = 64
_CHUNK = 1 << 20
# Far above any JSON file that is written here.
MAX_JSON_BYTES = 256 << 20
# The key of the checksum of all others.
_CHECKSUM = "checksum"


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
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
    return f"{name[:room]}-{digest}"


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path as a user gives it, `~` being the home folder where there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111, Path.expanduser raises without a home folder


# Control characters but for the tab and the line feed, which change a terminal; characters that turn the direction of
# what follows; halves of characters, which stand for bytes of a file name that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text from outside, such as a file's name or title, with escapes for what is no printable character."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def csv_cell(value: object) -> object:
    """Return a cell of a table in which a spreadsheet sees no formula: a text that begins like one gets an apostrophe.

    Numbers stay as they are. (OWASP, "CSV Injection".)
    """
    if not isinstance(value, str) or value[:1] not in tuple("=+-@\t\r"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def display_path(path: Path) -> Path:
    """Return a path as a user would type it: relative where it lies below the current folder."""
    path = path.absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def program(name: str) -> str:
    """Return a program of this environment as the user can type it: its path where the environment is not activated."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found is not None and Path(found) == beside or not beside.exists() else str(display_path(beside))


def read_regular(path: Path, limit: int, error: type[ComposerError] = ComposerError) -> bytes:
    """Read a regular file, or a link to one, of at most `limit` bytes.

    The size is counted while reading: that of a device is stated as 0, and a file may grow. A pipe is not waited for.

    Args:
        path: the file.
        limit: in bytes; of a larger file at most one byte more is read.
        error: what to raise.

    Raises:
        ComposerError: (or `error`) the file is missing, cannot be read, is larger, or is a device, pipe, socket or
            folder.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            kind = kind_of(status.st_mode)
            if kind is not None:
                raise error(f"{path}: {kind}, not a regular file")
            # Room is taken for what is asked for. One byte more than stated shows that the file grows.
            content = stream.read(min(status.st_size, limit) + 1)
            while status.st_size < len(content) <= limit and (more := stream.read(_CHUNK)):
                content += more
    except FileNotFoundError as missing:
        raise error(f"{path}: not found") from missing
    except (OSError, ValueError) as problem:  # ValueError: a name with a null byte
        # A socket cannot be opened at all.
        kind = special(path)
        if kind is not None:
            raise error(f"{path}: {kind}, not a regular file") from problem
        raise error(f"{path}: cannot be read ({getattr(problem, 'strerror', None) or problem})") from problem
    if len(content) > limit:
        raise error(f"{path}: larger than {limit:,} bytes, the most that is read of such a file")
    return content


def read_text(path: Path, limit: int, error: type[ComposerError] = ComposerError) -> str:
    """Read a regular UTF-8 text file; as `read_regular`, with a byte order mark left out.

    Raises:
        ComposerError: (or `error`) also where it is not UTF-8.
    """
    content = read_regular(path, limit, error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: damaged (byte {problem.start} is not UTF-8 text)") from problem


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(mode: int) -> str | None:
    """Return what a mode of `os.stat` says a path is: `a device`, `a folder` ...; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no file")


def special(path: Path) -> str | None:
    """Return what stands at a path that is no regular file: `a device`, `a folder` ...; links are followed.

    None where a regular file stands there or nothing does, or where it cannot be said.
    """
    try:
        return kind_of(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def check_writable_name(path: Path) -> None:
    """Refuse a name at which no file can be written: only a regular file is written over, or a new name taken.

    Raises:
        ComposerError: a device, pipe, socket or folder, or a link to one, stands at the path, or something that is no
            folder stands where its folder should be.
    """
    kind = special(path)
    if kind is not None:
        raise ComposerError(f"{path}: {kind}, which is never written over; choose another name")
    check_folder_name(path.parent)


def check_folder_name(folder: Path) -> None:
    """Refuse a folder that cannot be made, or used, because a file or a device stands at it or at one above it.

    Raises:
        ComposerError: names what stands there.
    """
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except NotADirectoryError:
            continue  # a place above it is no folder
        except (OSError, ValueError):
            # A link to nothing would be followed by mkdir, which then fails.
            if place.is_symlink():
                raise ComposerError(f"{place}: a link to nothing, not a folder; choose another name") from None
            continue
        if not stat.S_ISDIR(mode):
            raise ComposerError(f"{place}: {kind_of(mode) or 'a file'}, not a folder; choose another name")
        return


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file through a temporary one in the same folder: sync it, rename it, sync the folder.

    Args:
        path: the file; its folder is made when missing.
        write: gets a binary stream.

    Raises:
        ComposerError: the disk is full or the folder cannot be written; what was at `path` is untouched. Or what is
            there is no regular file.
    """
    check_writable_name(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.unlink(missing_ok=True)  # of a process that was killed, or a link that waits there
            with temporary.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def temporary_name(path: Path) -> Path:
    """Return the name under which a file is written before it gets its own, in the same folder."""
    # Of a long name a digest, since the suffix must fit into the longest name that a folder may hold.
    name = path.name if len(os.fsencode(path.name)) < 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{name}.{os.getpid()}.tmp")


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
    """Write a text file all or nothing; bytes of a file name that are not UTF-8 are written as escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: dict[str, Any], *, checked: bool = False) -> None:
    """Write a JSON file all or nothing; NaN and infinity, which JSON lacks, become null.

    Args:
        path: the file.
        value: what it holds.
        checked: add a checksum of the values, by which `read_json` notices a changed digit.
    """
    plain = _plain(value)
    if checked:
        plain[_CHECKSUM] = _checksum(plain)
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, without the checksum that `write_json` adds.

    Raises:
        ComposerError: the file is missing or damaged, or its checksum does not match.
    """
    text = read_text(path, MAX_JSON_BYTES)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ComposerError(f"{path}: damaged ({error})") from error
    if not isinstance(value, dict):
        raise ComposerError(f"{path}: damaged (not a JSON object)")
    checksum = value.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(value):
        raise ComposerError(f"{path}: damaged or edited (its checksum does not match)")
    return value
