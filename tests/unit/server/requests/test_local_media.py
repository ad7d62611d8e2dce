"""A file: URL reaches the files of one folder only, even if links in it change during the read."""

import os
from pathlib import Path

import psutil
import pytest

from server.errors import InvalidRequestError
from server.requests.local_media import LocalMedia

LIMIT = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "cat.png").write_bytes(b"cat")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "cat.png").write_bytes(b"secret")
    return folder


def read(folder: Path, name: str) -> bytes:
    return LocalMedia(folder).read(f"file:///{name}", "image", LIMIT)


@pytest.mark.parametrize(
    "name", ["inner/cat.png", "link.png", "other/cat.png", "inner/../inner/cat.png"]
)
def test_a_file_below_the_folder_is_read_also_by_links(folder: Path, name: str) -> None:
    (folder / "link.png").symlink_to("inner/cat.png")
    (folder / "other").symlink_to("inner")
    assert read(folder, name) == b"cat"


@pytest.mark.parametrize(
    "name", ["out/cat.png", "../outside/cat.png", "cat", "inner", ".", "missing", "pipe"]
)
def test_what_is_no_file_below_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / "out").symlink_to("../outside")
    (folder / "cat").symlink_to("../outside/cat.png")
    os.mkfifo(folder / "pipe")
    n_open = psutil.Process().num_fds()
    with pytest.raises(InvalidRequestError, match="no file"):
        read(folder, name)
    assert psutil.Process().num_fds() == n_open


@pytest.mark.parametrize("part", ["inner", "inner/cat.png"])
def test_a_link_that_replaces_a_part_after_the_check_is_refused(
    folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = os.path.realpath

    def swap(path: Path) -> str:
        found = resolve(path)
        if Path(path).name == "cat.png":
            (folder / part).rename(folder / "moved")
            outside = folder.parent / "outside"
            (folder / part).symlink_to(outside if part == "inner" else outside / "cat.png")
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(InvalidRequestError):
        read(folder, "inner/cat.png")


def test_a_larger_file_is_refused(folder: Path) -> None:
    (folder / "large").write_bytes(bytes(LIMIT + 1))
    with pytest.raises(InvalidRequestError, match="larger than"):
        read(folder, "large")
