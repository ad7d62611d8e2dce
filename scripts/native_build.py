#!/usr/bin/env python3
"""Builds llama.cpp with vendor/CMakeLists.txt, or finds a finished build in the per-user cache.

The top-level CMakeLists.txt runs this while it is configured, and scripts/build_peers for the
benchmarks' llama-server. The key of a build is a hash of all that its content depends on
(`describe`). A build enters the cache in one rename, so a half-written one is never used; an
interrupted build continues where it stopped. With LLAMABIND_NATIVE_CACHE=off, or a cache folder
that cannot be written to, it builds in the caller's work folder. LLAMABIND_NATIVE_CACHE=only fails
instead of building.
"""

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build_facts import PROJECT, describe, is_on
from llama_source import (
    CacheNotWritableError,
    LlamaSource,
    LlamaSourceError,
    cache_dir,
    find_source,
    read_pin,
)

KEEP_UNUSED_SECONDS = 60 * 24 * 3600
# vendor/CMakeLists.txt sets these; without a check a user's value would be ignored silently.
RESERVED = {
    *("BUILD_SHARED_LIBS", "GGML_STATIC", "LLAMA_USE_SYSTEM_GGML", "LLAMA_BUILD_COMMON"),
    *("LLAMA_BUILD_MTMD", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_SERVER", "LLAMA_BUILD_TESTS"),
    *("LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP", "LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI"),
    *("LLAMA_BUILD_NUMBER", "LLAMA_BUILD_COMMIT"),
}
OURS = {"LLAMABIND_BUILD_PEERS"}


class NativeBuildError(Exception):
    """llama.cpp cannot be built with the given definitions; the message says why."""


@dataclass(frozen=True, slots=True)
class CMake:
    """The CMake to run, the generator and the build program ("" leaves the choice to CMake)."""

    program: str = "cmake"
    generator: str = ""
    make_program: str = ""

    def run(self, *arguments: str) -> bool:
        # stdout is for the JSON result only; the output of the build goes to stderr.
        command = [self.program, *arguments]
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0

    def configure(self, build: Path, definitions: dict[str, str]) -> bool:
        generator = ["-G", self.generator] if self.generator else []
        if self.make_program:
            definitions = definitions | {"CMAKE_MAKE_PROGRAM": self.make_program}
        given = [f"-D{name}={value}" for name, value in sorted(definitions.items())]
        return self.run("-S", str(PROJECT), "-B", str(build), *generator, *given)

    def build(self, build: Path) -> bool:
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
        return self.run("--build", str(build), "--config", "Release", "--parallel", jobs)

    def install(self, build: Path, prefix: Path) -> bool:
        folder = ("--prefix", str(prefix))
        return self.run("--install", str(build), "--config", "Release", "--strip", *folder)


@dataclass(frozen=True, slots=True)
class NativeBuild:
    """A finished build of `source`: `prefix` contains lib/, and bin/ for llama-server's build."""

    prefix: Path
    source: LlamaSource
    is_cached: bool  # whether `prefix` is in the cache, not in the caller's work folder


def native_build(definitions: dict[str, str], *, work: Path, cmake: CMake) -> NativeBuild:
    """Find the build for the user's `definitions` in the cache, or build it.

    `work` is the folder for builds that must not or cannot go into the cache. Raises
    NativeBuildError if it cannot be built and LlamaSourceError if the source is unavailable.
    """
    source = _source(work)
    check_definitions(definitions, source.path)
    facts = describe(definitions, source)
    entries = _entries_folder(source, work)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
    entry = entries / key
    is_made = (entry / "facts.json").is_file()
    if not is_made and os.environ.get("LLAMABIND_NATIVE_CACHE", "").lower() == "only":
        raise NativeBuildError(
            f"{entry} is not in the cache, and LLAMABIND_NATIVE_CACHE=only forbids to build it"
        )
    with _locked(entries / f"{key}.lock"):
        if not (entry / "facts.json").is_file():
            _make(entry, definitions, facts, source=source, cmake=cmake)
        os.utime(entry)
    return NativeBuild(entry, source, is_cached=work not in entry.parents)


def _source(work: Path) -> LlamaSource:
    try:
        return find_source()
    except CacheNotWritableError:
        return find_source(cache=work / "cache")


def _entries_folder(source: LlamaSource, work: Path) -> Path:
    """The cache's folder of builds, or one in `work` if the cache cannot or must not be used."""
    private = work / "native"
    private.mkdir(parents=True, exist_ok=True)
    # The content of a source that is not the pinned one has no key.
    if not source.is_pinned or os.environ.get("LLAMABIND_NATIVE_CACHE", "").lower() == "off":
        return private
    shared = cache_dir() / "native"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=shared).close()
    except OSError as error:
        _log(f"building in {private}, because the cache folder cannot be written to: {error}")
        return private
    return shared


def check_definitions(definitions: dict[str, str], source: Path) -> None:
    """Raise for an option that llama.cpp does not know or that our build sets: it would do
    nothing.
    """
    known: set[str] | None = None
    for name in definitions:
        if name in RESERVED:
            raise NativeBuildError(
                f"{name} is set by llamabind's own build (vendor/CMakeLists.txt): leave it out"
            )
        if name in OURS or not re.match(r"(GGML|LLAMA|LLAMABIND|MTMD)_", name):
            continue
        known = known or _options_of(source) | OURS
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise NativeBuildError(
                f"{name} is not an option of this llama.cpp{hint} (CMake would ignore it)"
            )


def _options_of(source: Path) -> set[str]:
    """Every GGML_, LLAMA_ and MTMD_ name in llama.cpp's CMake files."""
    folders = ("cmake", "common", "ggml", "src", "tools/mtmd", "vendor")
    files = [source / "CMakeLists.txt"]
    for folder in folders:
        files += [*(source / folder).rglob("CMakeLists.txt"), *(source / folder).rglob("*.cmake")]
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
    names = set(re.findall(r"\b(?:GGML|LLAMA|MTMD)_[A-Z0-9_]*[A-Z0-9]\b", text))
    # Macros that CMake sets for the compiler look like options but are not.
    return {name for name in names if not name.startswith("GGML_USE_")}


def _drop_foreign_tree(tree: Path) -> None:
    """Remove another checkout's interrupted build tree: CMake refuses to continue it."""
    try:
        cache = (tree / "CMakeCache.txt").read_text(encoding="utf-8")
    except OSError:
        return
    if f"CMAKE_HOME_DIRECTORY:INTERNAL={PROJECT}\n" not in cache:
        shutil.rmtree(tree, ignore_errors=True)


def _launcher_of(tree: Path) -> dict[str, str]:
    """The definitions that keep an interrupted build's compiler launcher (ccache or sccache).

    ggml compiles through a launcher if configuring finds one (GGML_CCACHE). CMake repeats a search
    that found none, so a ccache that was installed since would change the command of every step,
    and ninja would compile everything again. A launcher that was removed since cannot be kept.
    """
    try:
        cache = (tree / "CMakeCache.txt").read_text(encoding="utf-8")
    except OSError:
        return {}
    searched = re.findall(r"^GGML_S?CCACHE_FOUND:\w+=(.*)$", cache, flags=re.MULTILINE)
    has_launcher = any(Path(path).is_file() for path in searched)
    return {"GGML_CCACHE": "OFF"} if searched and not has_launcher else {}


def _make(
    entry: Path,
    definitions: dict[str, str],
    facts: dict[str, object],
    *,
    source: LlamaSource,
    cmake: CMake,
) -> None:
    """Build and rename the result to `entry`; the caller holds its lock."""
    tree = entry.with_name(f"{entry.name}.build")
    requested = " ".join(f"-D{name}={value}" for name, value in definitions.items()) or "no options"
    pin = read_pin()
    ours = {
        "LLAMA_CPP_DIR": str(source.path),
        "LLAMABIND_BUILD_NUMBER": str(pin.build_number if source.is_pinned else 0),
        "LLAMABIND_BUILD_COMMIT": source.commit[:9],
    }
    _log(f"building llama.cpp {source.commit[:9]} with {requested}; this takes minutes")
    started = time.monotonic()
    _drop_foreign_tree(tree)
    if not cmake.configure(tree, _launcher_of(tree) | definitions | ours):
        shutil.rmtree(tree, ignore_errors=True)  # CMake's cache also keeps what it did not find
        raise NativeBuildError(
            f"llama.cpp cannot be configured with {requested}: see CMake's error above"
        )
    if not cmake.build(tree):
        raise NativeBuildError(f"llama.cpp does not compile with {requested}: see the error above")
    stage = entry.with_name(f"{entry.name}.stage")
    shutil.rmtree(stage, ignore_errors=True)
    if not cmake.install(tree, stage):
        raise NativeBuildError(f"the build of llama.cpp cannot be installed to {stage}")
    check_backends(definitions, source.path, stage / "lib")
    (stage / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    shutil.rmtree(entry, ignore_errors=True)
    stage.rename(entry)
    shutil.rmtree(tree, ignore_errors=True)
    _log(f"llama.cpp was built in {time.monotonic() - started:.0f} s: {entry}")
    _forget_unused(entry.parent)


def check_backends(definitions: dict[str, str], source: Path, lib: Path) -> None:
    """Raise if a requested backend has no library in `lib`, rather than fall back to the CPU."""
    for name, value in definitions.items():
        backend = name.lower().replace("_", "-")  # GGML_CUDA -> ggml-cuda
        is_backend = (source / "ggml" / "src" / backend).is_dir()
        if is_backend and is_on(value) and not any(lib.glob(f"*{backend}*")):
            raise NativeBuildError(f"{name}={value} was given, but {backend} was not built")


def _forget_unused(entries: Path) -> None:
    """Remove builds and trees of interrupted builds that were not used for two months."""
    for path in entries.iterdir():
        if path.is_dir() and time.time() - path.stat().st_mtime > KEEP_UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`: a second equal build waits for the result of the first."""
    try:
        import fcntl
    except ImportError:  # Windows: no lock, but pip does not run two builds at once
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _log(f"waiting for another build of the same llama.cpp ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _log(message: str) -> None:
    print(f"-- llamabind: {message}", file=sys.stderr, flush=True)


def main() -> int:
    """Print the build as JSON; errors go to stderr as one message, with exit status 1."""
    parser = argparse.ArgumentParser(
        description="build llama.cpp, or find a build of it in the cache"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for builds that are not cached"
    )
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--generator", default="")
    parser.add_argument("--make-program", default="")
    parser.add_argument("-D", dest="definitions", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    pairs = (text.partition("=") for text in arguments.definitions)
    definitions = {name.partition(":")[0]: value for name, _, value in pairs}
    cmake = CMake(arguments.cmake, arguments.generator, arguments.make_program)
    try:
        result = native_build(definitions, work=arguments.work.absolute(), cmake=cmake)
    except (NativeBuildError, LlamaSourceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    fields = {"prefix": str(result.prefix), "source": str(result.source.path)}
    print(json.dumps(fields | {"cached": result.is_cached, "commit": result.source.commit}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
