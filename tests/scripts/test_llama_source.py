"""llama.cpp's source: the submodule, or the pinned sdist by hash, never an incomplete tree."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import llama_source
import pytest
from llama_source import (
    CacheNotWritableError,
    LlamaSourceError,
    Pin,
    cache_dir,
    find_source,
    pip_download,
    read_pin,
)

# An sdist that contains its build backend, so that pip needs no index for it.
BACKEND = """
from pathlib import Path

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    info = Path(directory) / "fake_llama-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: fake-llama\\nVersion: 1.0\\n")
    return info.name

def build_wheel(directory, config_settings=None, metadata_directory=None):
    raise NotImplementedError
"""
FILES = {
    "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'b'\nbackend-path = ['.']\n",
    "b.py": BACKEND,
    "PKG-INFO": "Metadata-Version: 2.1\nName: fake-llama\nVersion: 1.0\n",
    "vendor/llama.cpp/CMakeLists.txt": "project(fake)\n",
    "vendor/llama.cpp/.git": "gitdir: ../../.git/modules/nowhere\n",
    "vendor/llama.cpp/include/llama.h": "// header\n",
    "vendor/other/CMakeLists.txt": "not llama.cpp\n",
}


def _make_sdist(folder: Path, files: dict[str, str] = FILES) -> Path:
    archive = folder / "fake_llama-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"fake_llama-1.0/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive


def _make_pin(archive: Path) -> Pin:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Pin("c" * 40, 7, "fake-llama==1.0", digest, "vendor/llama.cpp")


class FakeDownload:
    """Replaces pip: copies `archive` and counts its calls."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.calls = 0

    def __call__(self, pin: Pin, folder: Path) -> Path:
        self.calls += 1
        return Path(shutil.copy(self.archive, folder))


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    return _make_sdist(tmp_path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMABIND_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LLAMABIND_ALLOW_OTHER_COMMIT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    """The empty folder of the submodule, as in a clone without --recursive."""
    folder = tmp_path / "submodule"
    folder.mkdir()
    return folder


def _make_submodule(folder: Path) -> str:
    (folder / "CMakeLists.txt").write_text("project(llama)\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


def test_the_pin_file_names_a_whole_commit_and_a_hash() -> None:
    pin = read_pin()
    assert len(pin.commit) == 40
    assert len(pin.sdist_sha256) == 64
    assert pin.sdist_name == "llama-cpp-python"


def test_only_llama_cpps_tree_is_unpacked_from_the_sdist(
    sdist: Path, cache: Path, absent: Path
) -> None:
    source = find_source(pin=_make_pin(sdist), submodule=absent, download=FakeDownload(sdist))
    found = {path.relative_to(source.path).as_posix() for path in source.path.rglob("*")}
    assert found - {llama_source.MARKER} == {"CMakeLists.txt", "include", "include/llama.h"}
    assert (source.path.parent, source.is_pinned) == (cache, True)
    assert list(absent.iterdir()) == []


def test_python_without_extraction_filters_unpacks_it_too(
    sdist: Path, cache: Path, absent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian 12's Python is 3.11.2; these came with 3.11.4.
    monkeypatch.delattr(tarfile.TarInfo, "replace", raising=False)
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    test_only_llama_cpps_tree_is_unpacked_from_the_sdist(sdist, cache, absent)


def test_a_complete_cache_is_used_without_a_download(
    sdist: Path, cache: Path, absent: Path
) -> None:
    download = FakeDownload(sdist)
    for _ in range(2):
        find_source(pin=_make_pin(sdist), submodule=absent, download=download)
    assert download.calls == 1
    assert [path.name[0] for path in cache.iterdir()] == ["l"]  # the work folder was removed


@pytest.mark.parametrize("damage", ["missing file", "shorter file", "no marker", "broken marker"])
def test_a_damaged_cache_is_fetched_again(
    sdist: Path, cache: Path, absent: Path, damage: str
) -> None:
    download = FakeDownload(sdist)
    path = find_source(pin=_make_pin(sdist), submodule=absent, download=download).path
    if damage == "missing file":
        (path / "include" / "llama.h").unlink()
    elif damage == "shorter file":
        (path / "CMakeLists.txt").write_text("pro")
    elif damage == "no marker":
        (path / llama_source.MARKER).unlink()
    else:
        (path / llama_source.MARKER).write_text('{"sdist_sha256": ')
    again = find_source(pin=_make_pin(sdist), submodule=absent, download=download).path
    assert (again / "include" / "llama.h").read_text() == "// header\n"
    assert (again / "CMakeLists.txt").read_text() == "project(fake)\n"
    assert download.calls == 2


def test_files_that_tools_add_to_the_cached_tree_are_ignored(
    sdist: Path, cache: Path, absent: Path
) -> None:
    download = FakeDownload(sdist)
    path = find_source(pin=_make_pin(sdist), submodule=absent, download=download).path
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "x.pyc").write_bytes(b"x")
    find_source(pin=_make_pin(sdist), submodule=absent, download=download)
    assert download.calls == 1


def test_a_wrong_hash_is_an_error_that_says_what_to_do(
    sdist: Path, cache: Path, absent: Path
) -> None:
    pin = replace(_make_pin(sdist), sdist_sha256="0" * 64)
    with pytest.raises(LlamaSourceError, match="do not build it") as caught:
        find_source(pin=pin, submodule=absent, download=FakeDownload(sdist))
    assert "git submodule update --init" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_an_sdist_without_llama_cpp_is_refused(tmp_path: Path, cache: Path, absent: Path) -> None:
    files = {name: text for name, text in FILES.items() if "llama.cpp" not in name}
    archive = _make_sdist(tmp_path, files)
    with pytest.raises(LlamaSourceError, match=r"contains no llama\.cpp below vendor/llama\.cpp"):
        find_source(pin=_make_pin(archive), submodule=absent, download=FakeDownload(archive))


def test_two_builds_at_once_both_get_a_complete_tree(
    sdist: Path, cache: Path, absent: Path
) -> None:
    both_downloaded = threading.Barrier(2, timeout=30)
    found: list[Path] = []

    def download(pin: Pin, folder: Path) -> Path:
        archive = Path(shutil.copy(sdist, folder))
        both_downloaded.wait()
        return archive

    def run() -> None:
        source = find_source(pin=_make_pin(sdist), submodule=absent, download=download)
        found.append(source.path)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert (found[0] / "include" / "llama.h").is_file()
    assert list(cache.iterdir()) == [found[0]]


def test_the_submodule_at_the_pinned_commit_is_preferred(sdist: Path, absent: Path) -> None:
    pin = replace(_make_pin(sdist), commit=_make_submodule(absent))
    source = find_source(pin=pin, submodule=absent, download=FakeDownload(sdist))
    assert (source.path, source.commit, source.is_pinned) == (absent, pin.commit, True)


def test_another_commit_is_refused_unless_allowed(
    sdist: Path, cache: Path, absent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = _make_submodule(absent)
    with pytest.raises(LlamaSourceError, match=f"is at commit {commit}, but.*submodule update"):
        find_source(pin=_make_pin(sdist), submodule=absent)
    monkeypatch.setenv("LLAMABIND_ALLOW_OTHER_COMMIT", "1")
    source = find_source(pin=_make_pin(sdist), submodule=absent)
    assert (source.path, source.commit, source.is_pinned) == (absent, commit, False)


def test_a_submodule_with_changed_files_is_not_the_pinned_commit(
    sdist: Path, cache: Path, absent: Path
) -> None:
    pin = replace(_make_pin(sdist), commit=_make_submodule(absent))
    (absent / "CMakeLists.txt").write_text("project(changed)\n")
    with pytest.raises(LlamaSourceError, match=f"{pin.commit}-dirty"):
        find_source(pin=pin, submodule=absent)


def test_a_tree_without_git_does_not_get_the_commit_of_the_repository_around_it(
    sdist: Path, cache: Path, tmp_path: Path
) -> None:
    commit = _make_submodule(tmp_path)
    inner = tmp_path / "vendor"
    inner.mkdir()
    (inner / "CMakeLists.txt").write_text("project(llama)\n")
    with pytest.raises(LlamaSourceError, match="commit unknown"):
        find_source(pin=replace(_make_pin(sdist), commit=commit), submodule=inner)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMABIND_CACHE_DIR", "/chosen")
    assert cache_dir() == Path("/chosen")
    monkeypatch.setenv("LLAMABIND_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/llamabind")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/llamabind")


def test_a_cache_that_cannot_be_written_is_named(sdist: Path, tmp_path: Path, absent: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheNotWritableError, match="set LLAMABIND_CACHE_DIR"):
        find_source(pin=_make_pin(sdist), submodule=absent, cache=tmp_path / "file" / "cache")


@pytest.fixture
def offline_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configures pip to find packages in the returned folder only."""
    index = tmp_path / "index"
    index.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return index


def test_pip_fetches_the_pinned_file_by_hash(
    sdist: Path, offline_pip: Path, tmp_path: Path
) -> None:
    shutil.copy(sdist, offline_pip)
    work = tmp_path / "work"
    work.mkdir()
    archive = pip_download(_make_pin(sdist), work)
    assert archive.read_bytes() == sdist.read_bytes()
    with pytest.raises(LlamaSourceError, match=r"is not the pinned one.*pip cache purge"):
        pip_download(replace(_make_pin(sdist), sdist_sha256="0" * 64), work)


def test_the_error_for_a_missing_sdist_quotes_pip(
    sdist: Path, offline_pip: Path, tmp_path: Path
) -> None:
    with pytest.raises(LlamaSourceError, match="No matching distribution found for fake-llama"):
        pip_download(_make_pin(sdist), tmp_path / "index")


def test_the_program_prints_the_error_and_exits_with_1(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(pin: Pin, folder: Path) -> Path:
        raise LlamaSourceError("pip could not fetch it")

    monkeypatch.setattr(llama_source, "pip_download", refuse)
    monkeypatch.setattr(
        llama_source, "find_source", lambda **given: find_source(**given, submodule=cache)
    )
    assert llama_source.main() == 1
    assert capsys.readouterr() == ("", "error: pip could not fetch it\n")


def test_the_marker_names_the_sdist_of_the_tree(sdist: Path, cache: Path, absent: Path) -> None:
    pin = _make_pin(sdist)
    path = find_source(pin=pin, submodule=absent, download=FakeDownload(sdist)).path
    marker = json.loads((path / llama_source.MARKER).read_text())
    assert marker["sdist_sha256"] == pin.sdist_sha256
    assert marker["files"]["include/llama.h"] == len("// header\n")
