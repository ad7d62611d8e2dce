"""The cache of native builds: equal requests share a build; an incomplete one is never used."""

import os
import platform
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import build_facts
import native_build
import pytest
from build_facts import CSRC, PROJECT, describe, is_on
from llama_source import LlamaSource
from native_build import (
    CMake,
    NativeBuildError,
    check_backends,
    check_definitions,
)

CMAKE_LISTS = """
option(GGML_CUDA "ggml: use CUDA" OFF)
option(GGML_CCACHE "" ON)
option(GGML_CUDA_GRAPHS "" OFF)
llama_option_depr(WARNING LLAMA_CUDA GGML_CUDA)
set(MTMD_VIDEO ON CACHE BOOL "")
target_compile_definitions(ggml PUBLIC GGML_USE_CUDA)
"""


@pytest.fixture
def source(tmp_path: Path) -> LlamaSource:
    tree = tmp_path / "source"
    for folder in ("common", "ggml/src/ggml-cuda", "src", "tools/mtmd", "vendor", "cmake"):
        (tree / folder).mkdir(parents=True)
    (tree / "CMakeLists.txt").write_text("project(llama)\n")
    (tree / "ggml" / "CMakeLists.txt").write_text(CMAKE_LISTS)
    return LlamaSource(tree, "c" * 40, is_pinned=True)


@pytest.fixture
def cache(source: LlamaSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMABIND_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LLAMABIND_NATIVE_CACHE", raising=False)
    monkeypatch.setattr(native_build, "_source", lambda work: source)
    return tmp_path / "cache"


@dataclass(frozen=True, slots=True)
class FakeCMake(CMake):
    """Makes a lib/ folder instead of building; fails at the step named `fails`."""

    fails: str = ""
    steps: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)

    def configure(self, build: Path, definitions: dict[str, str]) -> bool:
        build.mkdir(parents=True, exist_ok=True)
        self.definitions.update(definitions)
        return self._step("configure")

    def build(self, build: Path) -> bool:
        (build / "objects").touch()
        return self._step("build")

    def install(self, build: Path, prefix: Path) -> bool:
        (prefix / "lib").mkdir(parents=True)
        (prefix / "lib" / "libllama.so").write_text("library")
        return self._step("install")

    def _step(self, name: str) -> bool:
        self.steps.append(name)
        return name != self.fails


def _build(tmp_path: Path, cmake: CMake, **definitions: str) -> native_build.NativeBuild:
    return native_build.native_build(definitions, work=tmp_path / "work", cmake=cmake)


def test_the_same_request_is_built_once(cache: Path, tmp_path: Path) -> None:
    cmake = FakeCMake()
    first = _build(tmp_path, cmake, GGML_CUDA_GRAPHS="ON")
    again = _build(tmp_path, cmake, GGML_CUDA_GRAPHS="ON")
    assert cmake.steps == ["configure", "build", "install"]
    assert first == again
    assert first.is_cached
    assert (first.prefix / "lib" / "libllama.so").is_file()
    assert first.prefix.parent == cache / "native"


def test_two_equal_requests_at_once_build_once(cache: Path, tmp_path: Path) -> None:
    cmake = FakeCMake()
    found: list[native_build.NativeBuild] = []
    threads = [
        threading.Thread(target=lambda: found.append(_build(tmp_path, cmake))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cmake.steps == ["configure", "build", "install"]
    assert found[0] == found[1] == found[2]


def test_cache_only_uses_a_cached_build_and_never_builds(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMABIND_NATIVE_CACHE", "only")
    cmake = FakeCMake()
    with pytest.raises(NativeBuildError, match="is not in the cache"):
        _build(tmp_path, cmake)
    assert cmake.steps == []
    monkeypatch.delenv("LLAMABIND_NATIVE_CACHE")
    built = _build(tmp_path, cmake)
    monkeypatch.setenv("LLAMABIND_NATIVE_CACHE", "only")
    assert _build(tmp_path, cmake) == built


@pytest.mark.parametrize("step", ["configure", "build", "install"])
def test_a_failed_build_is_not_used_later(cache: Path, tmp_path: Path, step: str) -> None:
    with pytest.raises(NativeBuildError):
        _build(tmp_path, FakeCMake(fails=step))
    cmake = FakeCMake()
    _build(tmp_path, cmake)
    assert cmake.steps == ["configure", "build", "install"]


def test_an_interrupted_build_of_another_checkout_starts_again(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(NativeBuildError):
        _build(tmp_path, FakeCMake(fails="build"))
    [tree] = (cache / "native").glob("*.build")
    (tree / "CMakeCache.txt").write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere/vendor\n")
    (tree / "stale").touch()
    with pytest.raises(NativeBuildError):
        _build(tmp_path, FakeCMake(fails="build"))
    assert not (tree / "stale").exists()


def test_a_build_that_failed_to_compile_continues_with_its_objects(
    cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(NativeBuildError, match="does not compile with no options"):
        _build(tmp_path, FakeCMake(fails="build"))
    [tree] = (cache / "native").glob("*.build")
    (tree / "CMakeCache.txt").write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={PROJECT}\n")
    with pytest.raises(NativeBuildError):
        _build(tmp_path, FakeCMake(fails="build"))
    assert (tree / "objects").exists()
    _build(tmp_path, FakeCMake())
    assert list((cache / "native").glob("*.build")) == []


@pytest.mark.parametrize(
    ("launcher", "definitions", "expected"),
    [
        ("GGML_CCACHE_FOUND-NOTFOUND", {}, "OFF"),
        ("/usr/bin/removed-ccache", {}, "OFF"),
        ("GGML_CCACHE_FOUND-NOTFOUND", {"GGML_CCACHE": "ON"}, "ON"),
        (sys.executable, {}, None),
    ],
)
def test_a_continued_build_keeps_its_compiler_launcher(
    cache: Path, tmp_path: Path, launcher: str, definitions: dict[str, str], expected: str | None
) -> None:
    """A launcher that appears later would change the command of every step."""
    with pytest.raises(NativeBuildError):
        _build(tmp_path, FakeCMake(fails="build"), **definitions)
    [tree] = (cache / "native").glob("*.build")
    (tree / "CMakeCache.txt").write_text(
        f"CMAKE_HOME_DIRECTORY:INTERNAL={PROJECT}\nGGML_CCACHE_FOUND:FILEPATH={launcher}\n"
    )
    cmake = FakeCMake()
    _build(tmp_path, cmake, **definitions)
    assert cmake.definitions.get("GGML_CCACHE") == expected


def test_an_entry_without_its_last_file_is_built_again(cache: Path, tmp_path: Path) -> None:
    built = _build(tmp_path, FakeCMake())
    (built.prefix / "facts.json").unlink()
    cmake = FakeCMake()
    assert _build(tmp_path, cmake) == built
    assert cmake.steps == ["configure", "build", "install"]


def test_the_cache_can_be_switched_off(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMABIND_NATIVE_CACHE", "off")
    built = _build(tmp_path, FakeCMake())
    assert not built.is_cached
    assert tmp_path / "work" in built.prefix.parents
    assert not (cache / "native").exists()


def test_without_a_writable_cache_it_builds_in_the_work_folder(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("in the way")
    built = _build(tmp_path, FakeCMake())
    assert not built.is_cached
    assert "cannot be written to" in capsys.readouterr().err


def test_a_source_that_is_not_the_pinned_one_is_not_cached(
    cache: Path, tmp_path: Path, source: LlamaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LlamaSource(source.path, "d" * 40, is_pinned=False)
    monkeypatch.setattr(native_build, "_source", lambda work: other)
    assert not _build(tmp_path, FakeCMake()).is_cached


def test_builds_that_were_not_used_for_two_months_are_removed(cache: Path, tmp_path: Path) -> None:
    old = _build(tmp_path, FakeCMake()).prefix
    os.utime(old, (0, 0))
    new = _build(tmp_path, FakeCMake(), GGML_CUDA_GRAPHS="ON").prefix
    assert not old.exists()
    assert new.exists()


def test_the_facts_contain_all_that_changes_the_result(
    source: LlamaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CC", "CXX", "CXXFLAGS"):
        monkeypatch.delenv(name, raising=False)
    plain = describe({}, source)
    assert describe({}, source) == plain
    assert describe({"GGML_LTO": "ON"}, source) != plain
    assert describe({}, LlamaSource(source.path, "d" * 40, is_pinned=True)) != plain
    monkeypatch.setenv("CXXFLAGS", "-O1")
    assert describe({}, source) != plain
    monkeypatch.delenv("CXXFLAGS")
    monkeypatch.setenv("CC", "no-such-compiler --flag")
    compilers = describe({}, source)["compilers"]
    assert isinstance(compilers, list)
    assert "no-such-compiler --flag: not found" in compilers


def test_only_a_native_build_depends_on_the_processor(
    source: LlamaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    portable = describe({"GGML_NATIVE": "OFF"}, source)
    native = describe({}, source)
    monkeypatch.setattr(build_facts, "_processor", lambda: "another processor")
    assert describe({"GGML_NATIVE": "OFF"}, source) == portable
    assert describe({}, source) != native


def test_only_a_native_build_depends_on_whether_the_kernel_allows_amx(
    source: LlamaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same CPU may have AMX under one kernel and not under another: see vendor/amx_run.cpp."""
    facts = []
    for granted in (False, True):
        monkeypatch.setattr(build_facts, "_kernel_grants_amx", lambda granted=granted: granted)
        facts.append((describe({"GGML_NATIVE": "OFF"}, source), describe({}, source)))
    (portable, native), (portable_again, native_with_amx) = facts
    assert portable == portable_again
    assert native != native_with_amx


def test_the_kernels_amx_support_is_queried_only_on_x86_64_linux(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    if platform.machine() == "x86_64" and "amx_tile" not in listed:
        assert build_facts._kernel_grants_amx() is False
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert build_facts._kernel_grants_amx() is None


def test_every_file_that_vendors_build_reads_is_part_of_the_key(source: LlamaSource) -> None:
    """A change of a file that is not part of the key would not cause a new build."""
    project = describe({"LLAMABIND_BUILD_PEERS": "ON", "GGML_CUDA": "ON"}, source)["project"]
    assert isinstance(project, dict)
    vendor = PROJECT
    texts = [path.read_text(encoding="utf-8") for path in vendor.glob("*.cmake")]
    texts.append((vendor / "CMakeLists.txt").read_text(encoding="utf-8"))
    code = re.sub(r"#.*", "", "\n".join(texts))
    named = set(re.findall(r"[\w-]+\.(?:cmake|cpp|h)\b", code))
    ours = {*vendor.iterdir(), *CSRC.iterdir()}
    assert {path.name for path in ours if path.name in named and path.is_file()} <= set(project)
    assert {"amx.cmake", "amx_probe.cpp", "amx_run.cpp", "cpu_features_probe.cpp"} <= set(project)


def test_optional_files_are_part_of_the_key_only_if_the_build_includes_them(
    source: LlamaSource,
) -> None:
    def names(**definitions: str) -> set[str]:
        project = describe(definitions, source)["project"]
        assert isinstance(project, dict)
        return set(project)

    plain = names(GGML_CUDA="OFF", LLAMABIND_BUILD_PEERS="OFF")
    assert names() == plain
    assert names(GGML_CUDA="ON") == plain | {"cuda.cmake"}
    assert names(LLAMABIND_BUILD_PEERS="ON") == plain | {"peers.cmake"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("GGML_CUDDA", "GGML_CUDDA is not an option .* did you mean GGML_CUDA"),
        ("GGML_USE_CUDA", "did you mean .*GGML_CUDA"),
        ("LLAMA_NO_SUCH_THING_AT_ALL", r"not an option of this llama\.cpp \("),
        ("LLAMABIND_BUILD_PEER", "did you mean LLAMABIND_BUILD_PEERS"),
        ("BUILD_SHARED_LIBS", "is set by llamabind's own build"),
        ("LLAMA_BUILD_SERVER", "is set by llamabind's own build"),
    ],
)
def test_an_option_without_effect_is_refused(source: LlamaSource, name: str, sentence: str) -> None:
    with pytest.raises(NativeBuildError, match=sentence):
        check_definitions({name: "ON"}, source.path)


def test_options_of_llama_cpp_and_of_cmake_are_accepted(source: LlamaSource) -> None:
    known = ("GGML_CUDA", "LLAMA_CUDA", "MTMD_VIDEO", "LLAMABIND_BUILD_PEERS", "CMAKE_BUILD_TYPE")
    check_definitions(dict.fromkeys(known, "ON"), source.path)


def test_a_requested_backend_that_was_not_built_is_an_error(
    source: LlamaSource, tmp_path: Path
) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    check_backends({"GGML_CUDA": "OFF", "GGML_CUDA_GRAPHS": "ON"}, source.path, lib)
    with pytest.raises(NativeBuildError, match="GGML_CUDA=ON was given, but ggml-cuda"):
        check_backends({"GGML_CUDA": "ON"}, source.path, lib)
    (lib / "libggml-cuda.so").touch()
    check_backends({"GGML_CUDA": "ON"}, source.path, lib)


@pytest.mark.parametrize("value", ["", "0", "off", "No", "FALSE", "n", "ignore", "X-NOTFOUND"])
def test_values_that_cmake_takes_as_false_are_off(value: str) -> None:
    assert not is_on(value)


@pytest.mark.parametrize("value", ["1", "on", "YES", "TRUE", "y", "2"])
def test_values_that_cmake_takes_as_true_are_on(value: str) -> None:
    assert is_on(value)
