"""What is wrong with a request is told before the work, and nothing but a regular file is written over."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from composer import cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of Unix")


def line(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> str:
    """The one line of a command that fails, without what stands before it."""
    assert cli.run(command, list(arguments)) != 0
    (found,) = capsys.readouterr().err.splitlines()
    return found.removeprefix(f"composer {command}: ")


# Everything but a new name and a regular file, by the words of the message.
OCCUPIED = [("pipe", "a pipe"), ("link", "a pipe"), ("folder", "a folder"), ("/dev/null", "a device")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a pipe, a link to it, a folder, a file and a checkpoint that no test reads."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    Path("folder").mkdir()
    Path("file.mid").write_bytes(b"")
    Path("a.ckpt").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(("name", "kind"), OCCUPIED)
def test_a_page_is_written_over_a_regular_file_alone(
    name: str, kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mode = Path(name).lstat().st_mode
    assert line(capsys, "report", "folder", f"output={name}") == f"{name}: {kind}, which is never written over; " + (
        "choose another name"
    )
    assert Path(name).lstat().st_mode == mode


@pytest.mark.parametrize("inner", ["pipe", "link", "/dev/null", "file.mid"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "a.ckpt"),
        ("evaluate", "a.ckpt"),
        ("export", "a.ckpt"),
        ("report", "folder"),
        ("render", "file.mid"),
        ("copying", "file.mid", "folder"),
        ("explore",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_makes_a_folder_of_a_special_file(
    arguments: tuple[str, ...], inner: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = stat.S_IFMT(Path(inner).lstat().st_mode)
    found = line(capsys, *arguments, f"output={inner}/x.safetensors")
    assert found.startswith(f"{inner}: ")
    assert found.endswith(", not a folder; choose another name")
    assert stat.S_IFMT(Path(inner).lstat().st_mode) == kind


REQUESTS = [
    (("train", "data=midi", "data.path=none.mid"), "none.mid: no such file or folder"),
    (("train", "resume=none"), "resume=none: no such run directory"),
    (("train", "-m", "seed=0,1", "data=midi", "data.path=none"), "none: no such file or folder"),
    (("generate", "none"), "run=none: no such run directory or checkpoint file"),
    (("generate", "a.ckpt", "primer=none.mid"), "none.mid: not found"),
    (("generate", "a.ckpt", "continue_from=pipe"), "pipe: a pipe, not a regular file"),
    (("generate", "a.ckpt", "temperature=0"), "temperature=0.0: must be null, or finite and above 0; method=greedy"),
    (("generate", "a.ckpt", "seconds=60", "events=100"), "seconds=60 events=100: seconds sets the length and events"),
    (("generate", "a.ckpt", "seconds=1e9"), "seconds=1000000000.0: must be null, or above 0 and at most 86400 (a day)"),
    (("generate", "a.ckpt", "n=1000000000", "events=1"), "events=1: must be at most 1,000,000 events in all"),
    (("train", "sampling.seconds=60", "sampling.events=9"), "sampling.seconds=60 sampling.events=9: "),
    (("evaluate", "none"), "run=none: no such run directory or checkpoint file"),
    (("evaluate", "a.ckpt", "data.path=none"), "none: no such file or folder"),
    (("report", "none"), "none: no such folder; composer report takes a run's or a sweep's"),
    (("render", "none.mid"), "none.mid: not found"),
    (("render", "pipe"), "pipe: a pipe, not a regular file"),
    (("render", "/dev/zero"), "/dev/zero: a device, not a regular file"),
    (("render", "file.mid", "soundfont=none.sf2"), "none.sf2: not found"),
    (("explore", "data=midi", "data.path=none"), "none: no such file or folder"),
]


@pytest.mark.parametrize(("arguments", "words"), REQUESTS, ids=lambda value: "-".join(value)[:40])
def test_a_request_is_refused_before_the_work(
    arguments: tuple[str, ...], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    assert line(capsys, *arguments).startswith(words)
    assert sorted(here.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root every folder can be written, but for one of a read-only file system.
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path).name == "folder"))
    found = line(capsys, "generate", "a.ckpt", "output=folder/inner")
    assert found == "folder: no file can be written here; choose another folder"
