"""The comparison of readers names what differs."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_what_is_missing_is_told_with_the_way_to_it(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("compare_readers: needs symusic and pretty_midi: pip install symusic pretty_midi")
