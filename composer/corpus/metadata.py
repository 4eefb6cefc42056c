"""The CSV file of a corpus, such as MAESTRO's: the part of the split and the groups of its pieces.

The columns that are read are `midi_filename`, a path below the folder of the pieces; `split`: `train`, `validation` or
`test` (as in Hawthorne et al. 2019); and one named by the user, whose equal values make a group.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from enum import Enum
from pathlib import Path, PurePosixPath

from composer.errors import ComposerError
from composer.files import read_text, user_path

_NAME, _SPLIT = "midi_filename", "split"
# A row of a million files needs less.
_MAX_BYTES = 256 << 20


class SplitPart(Enum):
    """The part of a piece in a split that is read from a file; the names are those of MAESTRO."""

    train = "train"
    validation = "validation"
    test = "test"


def split_file(root: Path, given: str | None, setting: str = "data.split=file") -> Path:
    """Return the path of the CSV file: the one given, also as a path below the folder, or the only one in the folder.

    Args:
        root: the folder.
        given: as `data.split_file`.
        setting: the key that needs the file, with its value, for messages.

    Raises:
        ComposerError: there is no such file, or several.
    """
    if given is not None:
        path = user_path(given)
        for candidate in (path, root / path):
            if candidate.is_file():
                return candidate
        raise ComposerError(f"data.split_file={given}: no such file")
    found = sorted(path for path in root.glob("*.csv") if path.is_file())
    if len(found) != 1:
        what = "no CSV file" if not found else f"{len(found)} CSV files"
        raise ComposerError(f"{setting}: {what} in {root}; name the file with data.split_file=NAME.csv")
    return found[0]


def read_split_file(path: Path) -> dict[str, SplitPart]:
    """Return the part of each path that the file names.

    Raises:
        ComposerError: the file cannot be read, lacks a column, has an unknown part, or names a path twice.
    """
    parts: dict[str, SplitPart] = {}
    for line, name, part in _rows(path, _SPLIT):
        if part not in SplitPart.__members__:
            raise ComposerError(f"{path}, line {line}: split={part}: must be {', '.join(SplitPart.__members__)}")
        if parts.setdefault(name, SplitPart[part]) is not SplitPart[part]:
            raise ComposerError(f"{path}, line {line}: {name} is named twice, with different splits")
    return parts


def read_groups(path: Path, column: str) -> dict[str, str]:
    """Return the value of a column for each path that the file names, except where it is empty.

    Raises:
        ComposerError: the file cannot be read, lacks the column, or names a path twice with different values.
    """
    groups: dict[str, str] = {}
    for line, name, group in _rows(path, column):
        if group and groups.setdefault(name, group) != group:
            raise ComposerError(f"{path}, line {line}: {name} is named twice, with different values of {column}")
    return groups


def _rows(path: Path, column: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line of each row, the path that it names, and its value of a column."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, _MAX_BYTES), newline=""))
        there = reader.fieldnames or ()
        lacking = [name for name in (_NAME, column) if name not in there]
        if lacking:
            has = f"; it has {', '.join(map(str, there))}" if _NAME in there else ""
            raise ComposerError(f"{path}: has no column {lacking[0]}; it needs {_NAME} and {column}{has}")
        for row in reader:
            name = PurePosixPath((row[_NAME] or "").strip().replace("\\", "/")).as_posix()
            yield reader.line_num, name, (row[column] or "").strip()
    except csv.Error as error:
        raise ComposerError(f"{path}: cannot be read as CSV ({error})") from error
