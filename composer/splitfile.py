"""A CSV file that says which pieces train, validate and test, such as MAESTRO's (Hawthorne et al. 2019).

Two of its columns count: `midi_filename`, a path below the folder of the pieces, and `split`: `train`, `validation` or
`test`.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from composer.errors import ComposerError
from composer.splits import Part

_COLUMNS = ("midi_filename", "split")


def split_file(root: Path, given: str | None) -> Path:
    """The CSV file: the one given, also as a path below the folder, or the only one in the folder.

    Raises:
        ComposerError: there is none, or several.
    """
    if given is not None:
        path = Path(given).expanduser()
        for candidate in (path, root / path):
            if candidate.is_file():
                return candidate
        raise ComposerError(f"data.split_file={given}: no such file")
    found = sorted(path for path in root.glob("*.csv") if path.is_file())
    if len(found) != 1:
        what = "no CSV file" if not found else f"{len(found)} CSV files"
        raise ComposerError(f"data.split=file: {what} in {root}; name the one with the parts: data.split_file=NAME.csv")
    return found[0]


def read_split_file(path: Path) -> dict[str, Part]:
    """The part of each path that the file names.

    Raises:
        ComposerError: it cannot be read, lacks a column, says another part, or names a path twice.
    """
    parts: dict[str, Part] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            lacking = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if lacking:
                raise ComposerError(f"{path}: has no column {lacking[0]}; it needs {' and '.join(_COLUMNS)}")
            for row in reader:
                name = PurePosixPath((row["midi_filename"] or "").strip().replace("\\", "/")).as_posix()
                part = (row["split"] or "").strip()
                if part not in Part.__members__:
                    raise ComposerError(
                        f"{path}, line {reader.line_num}: split={part}: must be {', '.join(Part.__members__)}"
                    )
                if parts.setdefault(name, Part[part]) is not Part[part]:
                    raise ComposerError(f"{path}, line {reader.line_num}: {name} is named twice, with different splits")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ComposerError(f"{path}: cannot be read as CSV ({error})") from error
    return parts
