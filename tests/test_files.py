"""Reading and writing by `composer.files`: regular files only, all or nothing."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from composer.errors import ComposerError
from composer.files import check_writable_name, read_json, read_regular, read_text, write_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of Unix")


@pytest.fixture
def specials(tmp_path: Path) -> dict[str, Path]:
    """A pipe, a socket, a device, a folder, and links to them."""
    found = {"a pipe": tmp_path / "pipe", "a socket": tmp_path / "socket", "a folder": tmp_path / "folder"}
    os.mkfifo(found["a pipe"])
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
    found["a folder"].mkdir()
    found["a device"] = Path("/dev/zero")
    return found


def links(specials: dict[str, Path], tmp_path: Path) -> list[tuple[str, Path]]:
    """Each special file, and a link to it."""
    both = []
    for number, (kind, path) in enumerate(specials.items()):
        link = tmp_path / f"link{number}"
        link.symlink_to(path)
        both += [(kind, path), (kind, link)]
    return both


def test_only_regular_files_are_read(specials: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in links(specials, tmp_path):
        with pytest.raises(ComposerError) as caught:
            read_regular(path, 100)
        assert str(caught.value) == f"{path}: {kind}, not a regular file"


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 5) == b"12345"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456")
    with pytest.raises(ComposerError, match="larger than 5 bytes, the most that is read of such a file"):
        read_regular(tmp_path / "file", 5)


def test_a_file_that_grows_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    status = os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, 10, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda descriptor: status)
    assert len(read_regular(tmp_path / "file", 100)) == 100
    with pytest.raises(ComposerError, match="larger than 99 bytes"):
        read_regular(tmp_path / "file", 99)


def test_a_name_with_a_null_byte_is_refused() -> None:
    with pytest.raises(ComposerError, match="cannot be read"):
        read_regular(Path("a\0b"), 5)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab\xff")
    with pytest.raises(ComposerError, match="byte 2 is not UTF-8"):
        read_text(tmp_path / "file", 100)
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfab")
    assert read_text(tmp_path / "file", 100) == "ab"


@pytest.mark.parametrize("text", ['{"a": ' + "1" * 5000 + "}", "[" * 100_000, "[]", "{"])
def test_damaged_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ComposerError, match=r"a\.json: damaged"):
        read_json(tmp_path / "a.json")


def test_nothing_but_regular_files_is_written_over(specials: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in links(specials, tmp_path):
        before = path.lstat()
        with pytest.raises(ComposerError) as caught:
            write_text(path, "text")
        assert str(caught.value) == f"{path}: {kind}, which is never written over; choose another name"
        assert stat.S_IFMT(path.lstat().st_mode) == stat.S_IFMT(before.st_mode)
        assert path.lstat().st_ino == before.st_ino


def test_no_folder_is_made_in_a_special_file(specials: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "pipe", tmp_path / "socket", tmp_path / "file", Path("/dev/null")):
        for path in (place / "x", place / "x" / "y"):
            with pytest.raises(ComposerError, match=f"{place}: .*, not a folder; choose another name"):
                write_text(path, "text")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "kept"
    assert (tmp_path / "link").read_text() == "new"


def test_a_link_in_the_place_of_the_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to(tmp_path / "target")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "target").read_text() == "kept"


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_a_new_name_in_a_new_folder_is_free(tmp_path: Path) -> None:
    check_writable_name(tmp_path / "a" / "b" / "c.txt")
    assert list(tmp_path.iterdir()) == []
