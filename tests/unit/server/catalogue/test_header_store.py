"""HeaderStore: headers that outlive the server, and files that cannot be believed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import server.catalogue.catalogue
from llamabind import read_gguf_header
from server.catalogue.catalogue import Catalogue
from server.catalogue.header_store import HeaderStore, Stamp
from tests.support.gguf_files import write_gguf


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "m.gguf"
    write_gguf(path, tokenizer__chat_template="x" * 50)
    return path


@pytest.fixture
def file(tmp_path: Path, model: Path) -> Path:
    """A file in which the header of `model` was remembered."""
    file = tmp_path / "cache" / "headers"
    _scan(model, file)
    return file


def _scan(model: Path, file: Path | None) -> None:
    Catalogue([model.parent], headers=HeaderStore(file)).scan()


def _known(model: Path, file: Path) -> bool:
    header = HeaderStore(file).get(model, Stamp.of(model.stat()))
    assert header is None or header == read_gguf_header(model)
    return header is not None


def test_the_next_start_does_not_read_the_model_again(
    model: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Catalogue([model.parent]).scan()
    monkeypatch.setattr(server.catalogue.catalogue, "read_gguf_header", None)
    assert Catalogue([model.parent], headers=HeaderStore(file)).scan() == expected
    assert [path.name for path in file.parent.iterdir()] == ["headers"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_file_of_the_same_size_and_time_in_its_place_is_read(model: Path, file: Path) -> None:
    stat = model.stat()
    other = model.with_suffix(".new")
    other.write_bytes(model.read_bytes().replace(b"x" * 50, b"y" * 50))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(model)
    assert (model.stat().st_size, model.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert not _known(model, file)
    _scan(model, file)
    assert _known(model, file)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, msgspec.msgpack.encode({"format": 1})])
def test_a_corrupt_file_is_ignored_and_replaced(model: Path, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert not _known(model, file)
    _scan(model, file)
    assert _known(model, file)


@pytest.mark.parametrize("n_cut", [1, 30])
def test_a_file_that_was_cut_off_is_ignored(model: Path, file: Path, n_cut: int) -> None:
    file.write_bytes(file.read_bytes()[:-n_cut])
    assert not _known(model, file)


@pytest.mark.parametrize("other", [{"format": 2}, {"version": "0.0.1"}])
def test_a_file_of_another_version_is_ignored(
    model: Path, file: Path, other: dict[str, Any]
) -> None:
    document = msgspec.msgpack.decode(file.read_bytes())
    file.write_bytes(msgspec.msgpack.encode(document | other))
    assert not _known(model, file)


def test_folders_whose_names_are_not_unicode_are_read_each_time(model: Path, file: Path) -> None:
    other = Path(os.fsdecode(os.fsencode(model.parent) + b"/caf\xe9/a.gguf"))
    write_gguf(other)
    for _ in range(2):
        assert len(Catalogue([model.parent], headers=HeaderStore(file)).scan()) == 2
    assert not _known(other, file)
    assert _known(model, file)


def test_the_file_never_grows_beyond_what_is_read(model: Path, file: Path) -> None:
    stamp = Stamp.of(model.stat())
    store, header = HeaderStore(file), read_gguf_header(model)
    text = {"tokenizer.chat_template": "x" * 100_000}
    for number in range(300):
        store.put(Path(f"/m/{number}.gguf"), stamp, replace(header, metadata=text))
    store.save()
    assert 8 << 20 < file.stat().st_size < 16 << 20
    assert HeaderStore(file).get(Path("/m/299.gguf"), stamp) is not None


def test_headers_with_very_long_texts_and_damaged_models_are_not_remembered(
    model: Path, tmp_path: Path
) -> None:
    long = model.with_name("long.gguf")
    write_gguf(long, tokenizer__chat_template="x" * 200_000)
    model.with_name("bad.gguf").write_bytes(b"GGUF")
    file = tmp_path / "cache" / "headers"
    _scan(model, file)
    assert _known(model, file)
    assert not _known(long, file)
    assert len(msgspec.msgpack.decode(file.read_bytes())["entries"]) == 1


def test_only_the_latest_headers_are_kept(model: Path, file: Path) -> None:
    store, header = HeaderStore(file), read_gguf_header(model)
    stamp = Stamp.of(model.stat())
    for number in range(600):
        store.put(Path(f"/m/{number}.gguf"), stamp, header)
    store.save()
    kept = HeaderStore(file)
    assert kept.get(Path("/m/87.gguf"), stamp) is None
    assert kept.get(Path("/m/88.gguf"), stamp) == header


def test_a_folder_that_cannot_be_written_is_no_failure(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _scan(model, tmp_path / "file" / "headers")


def test_without_a_file_nothing_is_remembered(model: Path) -> None:
    store = HeaderStore()
    stamp = Stamp.of(model.stat())
    store.put(model, stamp, read_gguf_header(model))
    store.save()
    assert store.get(model, stamp) is None
