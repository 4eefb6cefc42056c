"""Closed, full and unread standard streams, and encodings without some signs, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PROGRAM = """
import sys
from composer import standard_streams
standard_streams.set_up()
print("one ♪ \\udcff")
opened = open("file", "w")
print(opened.fileno() > 2, file=sys.stderr)
print("two", flush=True)
opened.write("kept")
opened.close()
print(standard_streams.failure(), file=sys.stderr)
"""


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program above as `$PROGRAM` of a shell's command line."""
    given = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONIOENCODING": "utf-8", **environment}
    full = ["sh", "-c", command.replace("PROGRAM", '"$0" -c "$1"'), sys.executable, PROGRAM]
    return subprocess.run(full, cwd=folder, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_signs_that_the_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    done = shell("PROGRAM", tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stdout) == (0, "one \\u266a \\udcff\ntwo\n")
    assert done.stderr == "True\nNone\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    done = shell(f"PROGRAM {closed}", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "kept"
    assert "2>&-" in closed or done.stderr == "True\nNone\n"


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_a_full_device_is_told_at_the_end(tmp_path: Path) -> None:
    done = shell("PROGRAM >/dev/full", tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[1].startswith("standard output: cannot be written (No space left on device); ")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_reader_that_has_enough_is_no_failure(tmp_path: Path) -> None:
    done = shell("PROGRAM | :", tmp_path)
    assert (done.returncode, done.stderr) == (0, "True\nNone\n")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_a_command_with_full_output_writes_its_files(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    command = f"{sys.executable} -m composer.cli explore output=found >/dev/full"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    # Above it may be what a slow machine waits for.
    assert "composer: standard output: cannot be written (No space left on device); " in done.stderr
    assert (tmp_path / "found" / "explore.json").is_file()
