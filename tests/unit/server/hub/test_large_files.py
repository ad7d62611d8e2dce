"""Files over 50 GB come by hf-xet, which has no fake here: its call is replaced."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.hub import large_files
from server.hub.library import CorruptFileError, NeedsXetError
from server.hub.messages import Fetch
from server.hub.repo_files import RepoFile

_DATA = b"a large file"
_FILE = RepoFile("m.gguf", len(_DATA), sha256=hashlib.sha256(_DATA).hexdigest())


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    def metadata(_: str) -> Any:
        return SimpleNamespace(xet_file_data=object())

    monkeypatch.setattr(large_files, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(large_files, "is_xet_available", lambda: True)
    return Fetch(1, str(tmp_path), "org/repo", "main", "0" * 40, (_FILE,))


def _writes(data: bytes) -> Any:
    def xet_get(*, incomplete_path: Path, expected_size: int, **_: Any) -> None:
        assert expected_size == len(_DATA)
        assert not incomplete_path.exists()
        incomplete_path.write_bytes(data)

    return xet_get


def test_the_file_is_fetched_anew_and_checked(
    request_of: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"of an earlier attempt")
    monkeypatch.setattr(large_files, "xet_get", _writes(_DATA))
    large_files.fetch_by_xet(request_of, _FILE, part, lambda _: None)
    assert part.read_bytes() == _DATA


def test_wrong_bytes_are_removed(
    request_of: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "xet_get", _writes(b"another file"))
    with pytest.raises(CorruptFileError, match=r"m\.gguf"):
        large_files.fetch_by_xet(request_of, _FILE, tmp_path / "part", lambda _: None)
    assert not (tmp_path / "part").exists()


def test_without_the_package_the_error_says_what_to_install(
    request_of: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "is_xet_available", lambda: False)
    with pytest.raises(NeedsXetError, match="pip install hf_xet"):
        large_files.fetch_by_xet(request_of, _FILE, tmp_path / "part", lambda _: None)
