"""Catalogue: which files of a models directory are listed."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

import server.catalogue.catalogue
from llamabind import GgufHeader, read_gguf_header
from llamabind.native.load_failure import shards
from server.catalogue.catalogue import Catalogue
from server.catalogue.model_file import ModelFile
from tests.support.gguf_files import gguf_header_bytes, write_gguf


def _scan(*directories: Path) -> Mapping[str, ModelFile]:
    return Catalogue(directories).scan()


def test_models_are_found_in_sub_folders_by_relative_path(tmp_path: Path) -> None:
    write_gguf(tmp_path / "b.gguf")
    write_gguf(tmp_path / "org" / "a model.GGUF")
    (tmp_path / "notes.txt").write_text("no model")
    files = _scan(tmp_path)
    assert list(files) == ["b.gguf", "org/a model.GGUF"]
    header = files["b.gguf"].header
    assert header is not None
    assert header.context_length == 2048
    assert files["b.gguf"].size == (tmp_path / "b.gguf").stat().st_size


def test_a_directory_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert _scan(tmp_path / "missing") == {}


def test_the_first_directory_wins_where_ids_are_equal(tmp_path: Path) -> None:
    write_gguf(tmp_path / "mine" / "m.gguf", "x")
    write_gguf(tmp_path / "bundled" / "m.gguf")
    files = _scan(tmp_path / "mine", tmp_path / "bundled")
    assert files["m.gguf"].path == tmp_path / "mine" / "m.gguf"


def test_files_that_belong_to_models_and_hidden_files_are_not_listed(tmp_path: Path) -> None:
    for name in ("mmproj-x", "X-MMPROJ-f16", "mtp-x", "eagle3-x", "dflash-x", "imatrix_x"):
        write_gguf(tmp_path / f"{name}.gguf")
    write_gguf(tmp_path / "sub" / "drafter.gguf", general__architecture="eagle3")
    write_gguf(tmp_path / "lora.gguf", general__type="adapter")
    write_gguf(tmp_path / ".hidden.gguf")
    write_gguf(tmp_path / ".cache" / "m.gguf")
    assert _scan(tmp_path) == {}


def test_a_broken_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model at all")
    (tmp_path / "cut.gguf").write_bytes(gguf_header_bytes()[:60])
    (tmp_path / "empty.gguf").touch()
    files = _scan(tmp_path)
    assert [file.reason for file in files.values()] == ["corrupt_file"] * 3
    assert "not a GGUF file" in (files["bad.gguf"].broken or "")


def test_a_split_model_is_one_model_with_the_size_of_all_its_files(tmp_path: Path) -> None:
    paths = [write_gguf(tmp_path / f"big-0000{n}-of-00003.gguf") for n in (1, 2, 3)]
    files = _scan(tmp_path)
    assert list(files) == ["big-00001-of-00003.gguf"]
    file = files["big-00001-of-00003.gguf"]
    assert file.broken is None
    assert file.size == sum(path.stat().st_size for path in paths)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_shard_is_named(tmp_path: Path, missing: int) -> None:
    for number in {1, 2, 3} - {missing}:
        write_gguf(tmp_path / f"big-0000{number}-of-00003.gguf")
    files = _scan(tmp_path)
    assert list(files) == ["big-00001-of-00003.gguf"]
    file = files["big-00001-of-00003.gguf"]
    assert file.reason == "missing_shard"
    assert f"big-0000{missing}-of-00003.gguf" in (file.broken or "")


@pytest.mark.parametrize("name", ["a-00000-of-00000.gguf", "a-00003-of-00002.gguf"])
def test_a_name_with_invalid_shard_numbers_is_a_model_of_its_own(tmp_path: Path, name: str) -> None:
    path = write_gguf(tmp_path / name)
    file = _scan(tmp_path)[name]
    assert file.broken is None
    assert shards(path) == [path]


def test_links_out_of_the_directory_are_not_listed_and_links_inside_are(tmp_path: Path) -> None:
    outside = write_gguf(tmp_path / "outside" / "secret.gguf")
    models = tmp_path / "models"
    inside = write_gguf(models / "real.gguf")
    (models / "alias.gguf").symlink_to(inside)
    (models / "leak.gguf").symlink_to(outside)
    (models / "folder").symlink_to(outside.parent)
    (models / "dangling.gguf").symlink_to(models / "nothing.gguf")
    (models / "loop.gguf").symlink_to(models / "loop.gguf")
    assert list(_scan(models)) == ["alias.gguf", "real.gguf"]


def test_a_models_directory_may_be_a_link(tmp_path: Path) -> None:
    write_gguf(tmp_path / "real" / "m.gguf")
    (tmp_path / "models").symlink_to(tmp_path / "real")
    assert list(_scan(tmp_path / "models")) == ["m.gguf"]


def test_pipes_folders_and_unprintable_names_are_not_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()
    write_gguf(tmp_path / "line\nbreak.gguf")
    write_gguf(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.gguf")))
    assert _scan(tmp_path) == {}


def test_headers_are_read_again_only_when_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def read(path: Path) -> GgufHeader:
        reads.append(path)
        return read_gguf_header(path)

    monkeypatch.setattr(server.catalogue.catalogue, "read_gguf_header", read)
    path = write_gguf(tmp_path / "m.gguf")
    catalogue = Catalogue([tmp_path])
    catalogue.scan()
    catalogue.scan()
    assert reads == [path]
    path.write_bytes(b"gone bad")
    assert catalogue.scan()["m.gguf"].reason == "corrupt_file"
    path.unlink()
    assert catalogue.scan() == {}


@pytest.mark.parametrize("only", [None, "locked.gguf"])
def test_an_unreadable_file_is_listed_with_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str | None
) -> None:
    for name in ("locked.gguf", "m.gguf"):
        write_gguf(tmp_path / name)
    stat = Path.stat

    def fails_for_one(path: Path, **more: bool) -> os.stat_result:
        if path.name == "locked.gguf":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", fails_for_one)
    files = Catalogue([tmp_path], only=only).scan()
    assert list(files) == (["locked.gguf"] if only else ["locked.gguf", "m.gguf"])
    locked = files["locked.gguf"]
    assert locked.broken == "the file cannot be read: Permission denied"
    assert (locked.reason, locked.size) == ("corrupt_file", 0)
    assert all(not file.broken for file in files.values() if file is not locked)


def test_a_file_with_a_time_out_of_range_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "m.gguf")
    stat = Path.stat

    def far_away(path: Path, **more: bool) -> os.stat_result:
        found = list(stat(path, **more))
        found[8] = 1 << 60  # st_mtime
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", far_away)
    assert _scan(tmp_path)["m.gguf"].modified.year == 1970
