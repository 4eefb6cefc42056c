"""Checks of a request before its work begins, without torch: paths that are not there, or cannot be written.

What these files hold is checked where they are read.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.files import check_folder_name, check_writable_name, display_path, special, user_path
from composer.music.midi import find_files
from composer.runs.layout import PRETRAINED, checkpoint_path, is_pretrained, run_path

# Commands whose `output` is a file; that of the others is a folder.
_WRITE_A_FILE = ("export", "report")
# Keys of a MIDI file that is read.
_FILES = ("file", "original", "continue_from")


def check(command: str, config: Any, folder: Path) -> None:
    """Refuse a request whose paths cannot be used.

    Args:
        command: its name.
        config: its typed config.
        folder: the directory that Hydra made for the command; the run directory of `train`.

    Raises:
        ComposerError: names the key or the path and what stands there.
    """
    run, data = getattr(config, "run", None), getattr(config, "data", None)
    if isinstance(run, str) and hasattr(config, "checkpoint"):
        checkpoint_path(run_path(run), config.checkpoint)
    if PRETRAINED in (run, getattr(config, "folder", None)) and Path(PRETRAINED).exists():
        warnings.warn(f"{PRETRAINED} is the run that comes with composer; your folder is ./{PRETRAINED}", stacklevel=2)
    for key in _FILES:
        if isinstance(path := getattr(config, key, None), str):
            check_readable(user_path(path))
    primer = getattr(config, "primer", None)
    if isinstance(primer, str) and primer.lower().endswith((".mid", ".midi")):
        check_readable(user_path(primer))
    if isinstance(font := getattr(config, "soundfont", None), str):
        check_readable(user_path(font))
    if command == "report" and config.folder is not None and not run_path(config.folder).is_dir():
        raise ComposerError(f"{config.folder}: no such folder; composer report takes a run's or a sweep's")
    if isinstance(path := getattr(data, "path", None), str) and getattr(data, "source", "midi") == "midi":
        _check_music(user_path(path))
    if command == "train":
        _check_folder(folder)
    elif hasattr(config, "output"):
        _check_output(command, config.output)


def _check_music(path: Path) -> None:
    """Refuse a path without MIDI files, and a file that is none.

    Raises:
        ComposerError: names the path.
    """
    find_files(path)
    if path.is_file() and special(path) is None and os.access(path, os.R_OK):
        with path.open("rb") as stream:
            begins = stream.read(4)
        # The reader reports an empty file and later faults.
        if begins and begins not in (b"MThd", b"RIFF"):
            raise ComposerError(f"{path}: not a MIDI file (it does not begin with MThd)")


def run_directory(run: str) -> Path:
    """Return the directory of `resume=RUN_DIR`.

    Raises:
        ComposerError: there is none, or it is the pretrained run.
    """
    folder = run_path(run)
    if is_pretrained(folder):
        raise ComposerError(
            f"resume={run}: the run that comes with composer has no training to go on with; train a run of your own: "
            "composer train"
        )
    if not run or not folder.is_dir():
        raise ComposerError(f"resume={run}: no such run directory")
    return folder


def _check_output(command: str, output: str | None) -> None:
    if output is None:
        _check_folder(Path("outputs") / command)
        return
    path = user_path(output)
    if command in _WRITE_A_FILE:
        check_writable_name(path)
        _check_folder(path.parent)
    else:
        _check_folder(path)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written.

    Raises:
        ComposerError: names it, or the nearest folder above it.
    """
    check_folder_name(folder)
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), None)
    if there is not None and not os.access(there, os.W_OK | os.X_OK):
        raise ComposerError(f"{display_path(there)}: no file can be written here; choose another folder")


def check_readable(path: Path) -> None:
    """Refuse a file that is not there, or is not a regular one.

    Raises:
        ComposerError: names it.
    """
    kind = special(path)
    if kind is not None:
        raise ComposerError(f"{path}: {kind}, not a regular file")
    if not path.is_file():
        raise ComposerError(f"{path}: not found")
    if not os.access(path, os.R_OK):
        raise ComposerError(f"{path}: cannot be read (Permission denied)")
