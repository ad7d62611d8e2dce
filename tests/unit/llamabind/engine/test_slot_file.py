"""Slot files: a written file is read back; damaged files and those of other models are refused."""

from array import array
from pathlib import Path

import numpy as np
import pytest

from llamabind.context.saved_state import SavedState
from llamabind.engine.slot_file import SlotContent, read_slot_file, write_slot_file
from llamabind.errors import StateError

KEY = bytes(range(32))
_LIMIT = 1 << 20


def _write(path: Path) -> SlotContent:
    state = SavedState(np.arange(100, dtype=np.uint8), is_sequence=True)
    content = SlotContent(KEY, array("i", [5, 6, 7]), state)
    assert write_slot_file(path, content) == path.stat().st_size
    return content


def test_a_written_file_is_read_back_and_no_partial_file_is_left(tmp_path):
    path = tmp_path / "a.bin"
    written = _write(path)
    read, n_bytes = read_slot_file(path, KEY, _LIMIT)
    assert (read.key, read.tokens) == (written.key, written.tokens)
    np.testing.assert_array_equal(read.state.data, written.state.data)
    assert n_bytes == path.stat().st_size
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_of_another_model_is_refused(tmp_path):
    _write(tmp_path / "a.bin")
    with pytest.raises(StateError, match="another model"):
        read_slot_file(tmp_path / "a.bin", bytes(32), _LIMIT)


def test_every_truncation_and_every_changed_byte_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    _write(path)
    raw = path.read_bytes()
    for n in range(len(raw)):
        path.write_bytes(raw[:n])
        with pytest.raises(StateError):
            read_slot_file(path, KEY, _LIMIT)
        path.write_bytes(raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :])
        with pytest.raises(StateError):
            read_slot_file(path, KEY, _LIMIT)


def test_missing_files_links_and_large_files_are_refused_without_naming_their_folder(tmp_path):
    path = tmp_path / "a.bin"
    _write(path)
    with pytest.raises(StateError, match="larger"):
        read_slot_file(path, KEY, 10)
    link = tmp_path / "link"
    link.symlink_to(path)
    for bad in (tmp_path / "none", link, tmp_path):
        with pytest.raises(StateError, match="cannot be read") as caught:
            read_slot_file(bad, KEY, _LIMIT)
        assert str(tmp_path.parent) not in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    with pytest.raises(StateError, match="cannot be written"):
        _write(tmp_path / "none" / "a.bin")
