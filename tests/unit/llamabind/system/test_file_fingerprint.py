"""FileStamp: files that differ have other fingerprints."""

import os
from pathlib import Path

import pytest

from llamabind.system.file_fingerprint import FileChangedError, FileStamp

_SIZE = 3 << 20


def _write(path: Path, data: bytes | bytearray, time: int = 1_000) -> str:
    path.write_bytes(data)
    os.utime(path, ns=(time, time))
    return FileStamp.of(path).fingerprint()


def test_copies_with_the_same_time_are_the_same_file(tmp_path):
    data = os.urandom(_SIZE)
    assert _write(tmp_path / "a", data) == _write(tmp_path / "b", data)


def test_another_time_size_head_tail_or_middle_is_another_file(tmp_path):
    data = bytearray(os.urandom(_SIZE))
    known = {_write(tmp_path / "a", data)}
    known.add(_write(tmp_path / "a", data, time=2_000))
    known.add(_write(tmp_path / "a", data[:-1]))
    for position in (0, 1000, _SIZE // 2, _SIZE - 1):
        changed = data[:]
        changed[position] ^= 1
        known.add(_write(tmp_path / "a", changed))
    assert len(known) == 7


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_short_files_have_fingerprints(tmp_path, size):
    assert len(_write(tmp_path / "a", bytes(size))) == 64


def test_a_file_that_was_replaced_after_its_stamp_is_noticed(tmp_path):
    _write(tmp_path / "a", bytes(100))
    stamp = FileStamp.of(tmp_path / "a")
    _write(tmp_path / "a", bytes(100), time=2_000)
    with pytest.raises(FileChangedError, match="was replaced"):
        stamp.fingerprint()
