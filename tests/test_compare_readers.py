"""The comparison of readers names what differs."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from composer.config.data import TimeUnit
from composer.music.events import prelude_piece
from composer.music.midi import write_midi

SCRIPT = Path(__file__).parent.parent / "scripts" / "compare_readers.py"


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({60: [0.0, 1.0]}, {60: [0.0, 1.0015]}, ""),
        ({60: [0.0, 1.0]}, {60: [0.0, 1.003]}, "other onsets"),
        ({60: [0.0]}, {60: [0.0, 0.0]}, "they: two notes of a pitch at one moment"),
        ({60: [0.0]}, {60: [0.0, 1.0]}, "they: more notes"),
        ({60: [0.0], 62: [1.0]}, {60: [0.0]}, "they: fewer notes"),
        ({60: [0.0]}, {61: [0.0]}, "other notes"),
    ],
)
def test_the_difference_is_named(ours: object, theirs: object, words: str) -> None:
    assert runpy.run_path(str(SCRIPT))["difference"](ours, theirs) == words


@pytest.mark.slow
def test_made_up_files_are_alike_or_told_what_is_missing(tmp_path: Path) -> None:
    for number in range(3):
        piece = prelude_piece(TimeUnit.beats)
        write_midi(tmp_path / f"{number}.mid", replace(piece, events=piece.events[: 40 + number]))
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    missing = [name for name in ("symusic", "pretty_midi") if importlib.util.find_spec(name) is None]
    if missing:
        assert done.returncode == 1
        assert done.stderr.startswith(f"compare_readers: needs {' and '.join(missing)}: pip install ")
    else:
        assert done.stdout == "symusic: 3 files: 3 alike\npretty_midi: 3 files: 3 alike\n"
