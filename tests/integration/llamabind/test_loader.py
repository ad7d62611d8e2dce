"""Where libraries are searched, and the errors if they are missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from llamabind._capi import loader
from llamabind._capi.loader import library_file, open_library
from llamabind.errors import LibraryError, LibraryNotFoundError
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("platform", "file"),
    [("linux", "libllama.so"), ("darwin", "libllama.dylib"), ("win32", "llama.dll")],
)
def test_a_library_is_named_as_its_platform_does(
    platform: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert library_file("llama") == file


@pytest.mark.usefixtures("unopened")
def test_a_folder_without_libllama_is_refused_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMABIND_LIB_DIR", str(tmp_path))
    with pytest.raises(LibraryNotFoundError) as refused:
        open_library("llama")
    assert str(tmp_path / library_file("llama")) in str(refused.value)
    assert "LLAMABIND_LIB_DIR" in str(refused.value)


@pytest.mark.usefixtures("unopened")
def test_a_file_other_than_a_library_is_refused_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("llama", "ggml", "ggml-base"):
        (tmp_path / library_file(library)).write_text("no library")
    monkeypatch.setenv("LLAMABIND_LIB_DIR", str(tmp_path))
    with pytest.raises(LibraryError) as refused:
        open_library("llama")
    assert f"{tmp_path / library_file('ggml-base')} cannot be loaded" in str(refused.value)


def test_importing_all_bindings_opens_no_library(tmp_path: Path) -> None:
    """Also where no library is, as in a checkout that was never built."""
    code = (
        "from llamabind._capi import ggml, llama, loader, mtmd, shim, types, enums\n"
        "assert loader._opened == {}, loader._opened\n"
        "try:\n"
        "    llama.llama_max_devices()\n"
        "except loader.LibraryNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "LLAMABIND_LIB_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert str(tmp_path) in done.stdout


def test_a_function_may_not_be_declared_without_the_width_of_an_int() -> None:
    def llama_nonsense(n: int) -> None: ...

    with pytest.raises(TypeError, match="is not an annotation of a C type"):
        loader.Declaration("llama_nonsense", "llama", llama_nonsense).signature()
