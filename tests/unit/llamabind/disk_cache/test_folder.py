"""PrefixFolder: what is written is read; the limit, and files that are not believed."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import sys
import threading
from array import array
from pathlib import Path

import numpy as np
import pytest

from llamabind.context.saved_state import SavedState
from llamabind.disk_cache.folder import PrefixFolder
from llamabind.engine.slot_file import SlotContent, content_parts

KEY = bytes(range(32))
_LIMIT = 100_000


def _name(number: int) -> str:
    return f"{'a' * 32}-{number:032x}.prefix"


def _content(n_bytes: int = 1000, key: bytes = KEY) -> SlotContent:
    state = SavedState(np.arange(n_bytes).astype(np.uint8), is_sequence=True)
    return SlotContent(key, array("i", [5, 6, 7]), state)


@pytest.fixture
def folder(tmp_path):
    opened = PrefixFolder(tmp_path, _LIMIT)
    yield opened
    opened.close()


@pytest.fixture
def files(folder, tmp_path):
    return tmp_path / "llamabind-prefixes"


def test_a_written_file_is_private_and_read_back(folder, files):
    written = _content()
    found = folder.write(_name(1), written)
    file = files / _name(1)
    assert found.n_bytes == file.stat().st_size == sum(map(len, content_parts(written)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.stat().st_mode) == 0o700
    read = folder.read(_name(1), KEY)
    assert (read.key, read.tokens) == (KEY, written.tokens)
    np.testing.assert_array_equal(read.state.data, written.state.data)
    head = folder.read_head(_name(1))
    assert (head.key, head.tokens) == (KEY, written.tokens)
    assert folder.files("a" * 32) == [found]
    assert folder.files("b" * 32) == []


def test_every_truncation_and_every_kind_of_damage_is_removed_with_one_line(folder, files, caplog):
    folder.write(_name(1), _content(100))
    raw = (files / _name(1)).read_bytes()
    damages = [raw[:n] for n in range(len(raw))]
    damages += [raw[:n] + bytes([raw[n] ^ 0x40]) + raw[n + 1 :] for n in range(0, len(raw), 7)]
    damages += [raw + b"x", b"GGUF" * 100]
    for damage in damages:
        (files / _name(1)).write_bytes(damage)
        caplog.clear()
        assert folder.read(_name(1), KEY) is None
        assert len(caplog.records) == 1
        assert not (files / _name(1)).exists()


def test_a_file_of_another_key_is_not_believed(folder):
    folder.write(_name(1), _content(key=bytes(32)))
    assert folder.read(_name(1), KEY) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_removed(folder, files, mode):
    folder.write(_name(1), _content())
    (files / _name(1)).chmod(mode)
    assert folder.read_head(_name(1)) is None
    assert not (files / _name(1)).exists()


def test_links_and_pipes_are_removed_and_what_they_name_is_kept(folder, files, tmp_path):
    folder.write(_name(1), _content())
    target = tmp_path / "target"
    (files / _name(1)).rename(target)
    (files / _name(1)).symlink_to(target)
    os.mkfifo(files / _name(2))
    for number in (1, 2):
        assert folder.read(_name(number), KEY) is None
        assert not os.path.lexists(files / _name(number))
    assert target.exists()


@pytest.mark.parametrize("kind", ["pipe", "socket", "dangling link", "link to itself", "empty"])
def test_what_is_no_file_of_ours_is_removed_with_one_line(folder, files, caplog, kind):
    path = files / _name(1)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "empty":
        path.touch(mode=0o600)
    else:
        path.symlink_to(path if kind == "link to itself" else files / "missing")
    (found,) = folder.files()
    assert folder.read_head(found.name) is None
    assert len(caplog.records) == 1
    assert _name(1) in caplog.text
    assert not os.path.lexists(path)


def test_a_folder_with_the_name_of_a_file_is_left_alone_with_one_line(folder, files, caplog):
    (files / _name(1) / "inside").mkdir(parents=True)
    for _ in range(3):
        assert folder.files() == []
        assert folder.write(_name(1), _content()) is None, "its name is taken"
    assert folder.write(_name(2), _content()) is not None
    assert [record.getMessage() for record in caplog.records] == [
        f"the kept prefix {_name(1)} is not used: it is a folder; remove it"
    ]
    assert sorted(entry.name for entry in files.iterdir()) == [_name(1), _name(2), "lock"]


def test_a_file_that_cannot_be_read_is_reported_once(folder, files, caplog, monkeypatch):
    folder.write(_name(1), _content())

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read a file of mode 0
    for _ in range(3):
        assert folder.read_head(_name(1)) is None
    assert len(caplog.records) == 1
    assert "Permission denied" in caplog.text
    assert (files / _name(1)).exists()


@pytest.mark.parametrize("kind", ["folder", "dangling link", "socket"])
def test_a_lock_that_is_no_file_is_an_error_that_names_it(folder, files, kind):
    path = files / "lock"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to(files / "missing")
    with pytest.raises(OSError, match="lock"):
        folder.write(_name(1), _content())
    assert not (files / "missing").exists()


def test_a_missing_file_is_no_news(folder, caplog):
    assert folder.read(_name(1), KEY) is None
    assert caplog.records == []


def test_a_file_that_cannot_be_read_for_now_is_kept(folder, files, caplog, monkeypatch):
    folder.write(_name(1), _content())

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert folder.read(_name(1), KEY) is None
    assert "Too many open files" in caplog.text
    assert folder.read(_name(1), KEY) is not None


def test_the_least_recently_used_files_are_removed(folder, files):
    for number in range(4):
        folder.write(_name(number), _content(20_000))
        os.utime(files / _name(number), (number, number))
    folder.touch(_name(0))
    folder.write(_name(9), _content(50_000))
    assert {found.name for found in folder.files()} == {_name(0), _name(3), _name(9)}
    assert folder.write(_name(10), _content(_LIMIT)) is None, "larger than the whole limit"
    assert len(folder.files()) == 3


def test_a_disk_that_is_too_full_is_an_error_and_keeps_the_files(folder, files, monkeypatch):
    folder.write(_name(1), _content(1000))
    full = os.statvfs_result((4096, 4096, 100, 10, 6, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(OSError, match="No space left") as caught:
        folder.write(_name(2), _content(60_000))
    assert caught.value.errno == errno.ENOSPC
    assert [found.name for found in folder.files()] == [_name(1)]


def test_unfinished_files_are_removed_at_the_next_start_unless_one_is_being_written(
    folder, files, tmp_path
):
    part = files / f".{_name(1)}.123.part"
    part.write_bytes(b"half")
    with folder._locked():
        PrefixFolder(tmp_path, _LIMIT).close()
        assert part.exists()
    PrefixFolder(tmp_path, _LIMIT).close()
    assert not part.exists()


def test_a_failed_write_leaves_no_file(folder, files, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        folder.write(_name(1), _content())
    assert [entry.name for entry in files.iterdir()] == ["lock"]


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_folder_that_was_removed_is_made_again(folder, files, tmp_path, is_moved):
    folder.write(_name(1), _content())
    if is_moved:
        files.rename(tmp_path / "moved")
    else:
        shutil.rmtree(files)
    written = folder.write(_name(2), _content())
    assert folder.files() == [written]
    assert stat.S_IMODE(files.stat().st_mode) == 0o700
    assert folder.read(_name(2), KEY) is not None


def test_a_link_that_replaced_the_folder_is_refused(folder, files, tmp_path):
    files.rename(tmp_path / "moved")
    files.symlink_to(tmp_path / "moved")
    with pytest.raises(OSError, match="llamabind-prefixes"):
        folder.write(_name(1), _content())


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, mode):
    (tmp_path / "llamabind-prefixes").mkdir()
    (tmp_path / "llamabind-prefixes").chmod(mode)
    with pytest.raises(PermissionError, match="other users can write to it"):
        PrefixFolder(tmp_path, _LIMIT)


def test_a_link_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "llamabind-prefixes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="llamabind-prefixes"):
        PrefixFolder(tmp_path, _LIMIT)


def test_files_of_others_are_left_alone(folder, files):
    (files / "notes.txt").write_text("mine")
    folder.write(_name(1), _content())
    assert (files / "notes.txt").exists()
    assert [found.name for found in folder.files()] == [_name(1)]


def _write_many(path: Path, first: int, sizes: list[int]) -> None:
    folder = PrefixFolder(path, _LIMIT)
    for number in range(first, first + 20):
        folder.write(_name(number), _content(15_000))
        sizes.append(sum(found.n_bytes for found in folder.files()))
    folder.close()


def test_several_writers_keep_the_limit_together(tmp_path):
    # Each opens the folder and its lock by itself, as processes do.
    sizes: list[int] = []
    writers = [
        threading.Thread(target=_write_many, args=(tmp_path, 1000 * number, sizes))
        for number in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(sizes) == 60
    assert max(sizes) <= _LIMIT
    folder = PrefixFolder(tmp_path, _LIMIT)
    for found in folder.files():
        assert folder.read(found.name, KEY) is not None
    folder.close()


def test_a_read_state_outlives_its_file_and_can_be_copied(folder, files):
    written = _content()
    folder.write(_name(1), written)
    read = folder.read(_name(1), KEY)
    folder.remove(_name(1))
    np.testing.assert_array_equal(read.state.data, written.state.data)
    copy = read.state.in_memory()
    assert (copy.is_sequence, copy.flags) == (True, 0)
    assert copy.data.flags.owndata
    np.testing.assert_array_equal(copy.data, written.state.data)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems read the file")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENODEV])
def test_a_file_that_cannot_be_mapped_is_read(folder, monkeypatch, number):
    written = _content()
    folder.write(_name(1), written)
    assert not folder.read(_name(1), KEY).state.data.flags.owndata, "it is mapped"

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(mmap, "mmap", refuse)
    read = folder.read(_name(1), KEY).state
    assert read.data.base is None or isinstance(read.data.base, np.ndarray)
    np.testing.assert_array_equal(read.data, written.state.data)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems read the file")
def test_a_disk_that_fails_while_a_file_is_mapped_is_a_warning(folder, files, monkeypatch, caplog):
    folder.write(_name(1), _content())

    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(mmap, "mmap", fail)
    assert folder.read(_name(1), KEY) is None
    assert "is not used" in caplog.text
    assert (files / _name(1)).exists()
