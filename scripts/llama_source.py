#!/usr/bin/env python3
"""Finds or fetches llama.cpp's pinned source, for the build, tests and scripts.

It is the submodule vendor/llama.cpp if that is checked out at the pinned commit; otherwise the same
tree from the source distribution that vendor/llama.cpp.json pins, fetched by hash with pip and
unpacked once into the per-user cache. Run as a program it prints the path.

LLAMABIND_CACHE_DIR           the cache folder; default $XDG_CACHE_HOME/llamabind or
~/.cache/llamabind
LLAMABIND_ALLOW_OTHER_COMMIT  1 accepts a submodule at another commit than the pinned one
"""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PIN_FILE = ROOT / "vendor" / "llama.cpp.json"
SUBMODULE = ROOT / "vendor" / "llama.cpp"
MARKER = ".llamabind-source.json"


class LlamaSourceError(Exception):
    """llama.cpp's source is not available; the message says what to do."""


class CacheNotWritableError(LlamaSourceError):
    """The source is not in the cache, and the cache cannot be written to."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The llama.cpp commit that we build and the source distribution with the same tree."""

    commit: str
    build_number: int
    sdist: str  # a requirement, "name==version"
    sdist_sha256: str
    sdist_path: str  # path of llama.cpp's tree below the sdist's top folder

    @property
    def sdist_name(self) -> str:
        return self.sdist.partition("==")[0]


@dataclass(frozen=True, slots=True)
class LlamaSource:
    """A tree of llama.cpp; `commit` is "unknown" if git cannot report it."""

    path: Path
    commit: str
    is_pinned: bool


Download = Callable[[Pin, Path], Path]


def read_pin(path: Path = PIN_FILE) -> Pin:
    """Reads vendor/llama.cpp.json."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Pin(**{name: fields[name] for name in Pin.__dataclass_fields__})


def cache_dir() -> Path:
    """The per-user cache folder; it need not exist."""
    if chosen := os.environ.get("LLAMABIND_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "llamabind"


def llama_cpp_source(cache: Path | None = None) -> Path:
    """The folder of llama.cpp's source, fetched first if needed. Raises LlamaSourceError."""
    return find_source(cache=cache).path


def find_source(
    *,
    pin: Pin | None = None,
    submodule: Path = SUBMODULE,
    cache: Path | None = None,
    download: Download | None = None,
) -> LlamaSource:
    """As llama_cpp_source(), with the commit; tests replace the paths and the download."""
    pin = pin or read_pin()
    if (submodule / "CMakeLists.txt").is_file():
        return _checked_out(submodule, pin)
    entry = (cache or cache_dir()) / f"llama.cpp-{pin.commit[:12]}-{pin.sdist_sha256[:8]}"
    if not _is_complete(entry, pin):
        _fetch(entry, pin, download or pip_download)
    return LlamaSource(entry, pin.commit, is_pinned=True)


def _checked_out(submodule: Path, pin: Pin) -> LlamaSource:
    commit = _git_head(submodule)
    if commit == pin.commit:
        return LlamaSource(submodule, commit, is_pinned=True)
    if os.environ.get("LLAMABIND_ALLOW_OTHER_COMMIT") == "1":
        return LlamaSource(submodule, commit, is_pinned=False)
    raise LlamaSourceError(
        f"{submodule} is at commit {commit}, but llamabind is written for {pin.commit}: run "
        "`git submodule update vendor/llama.cpp`, or set LLAMABIND_ALLOW_OTHER_COMMIT=1 to build "
        "another llama.cpp knowingly"
    )


def _git_head(folder: Path) -> str:
    """The commit checked out in `folder` itself, with "-dirty" if files differ from it."""
    # Without its own .git, git would report on the repository around the folder.
    if not (folder / ".git").exists():
        return "unknown"
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pip_download(pin: Pin, folder: Path) -> Path:
    """Fetch the pinned sdist into `folder` with pip, from the index that pip is configured for."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin.sdist} --hash=sha256:{pin.sdist_sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--no-binary", pin.sdist_name, "--require-hashes", "--dest", str(folder)),
        *("--requirement", str(requirements)),
    ]
    # pip runs the sdist's own build backend for its metadata, which must not see our flags.
    env = {k: v for k, v in os.environ.items() if k != "CMAKE_ARGS" and not k.startswith("SKBUILD")}
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    archives = sorted(folder.glob("*.tar.gz"))
    if result.returncode == 0 and len(archives) == 1:
        return archives[0]
    said = (result.stdout + result.stderr).strip()
    if "DO NOT MATCH THE HASHES" in said:
        raise _wrong_hash(pin, said)
    raise LlamaSourceError(
        f"pip could not fetch {pin.sdist}, which carries llama.cpp's source: check pip's "
        "configuration (index, proxy, network), or check out the submodule with "
        f"`git submodule update --init vendor/llama.cpp`. pip said:\n{said}"
    )


def _wrong_hash(pin: Pin, detail: str) -> LlamaSourceError:
    return LlamaSourceError(
        f"the source distribution of {pin.sdist} is not the pinned one (sha256 "
        f"{pin.sdist_sha256}): do not build it. Run `pip cache purge` and try again; if it "
        "happens again the package index serves a changed file: use another index, or check out "
        f"the submodule with `git submodule update --init vendor/llama.cpp`. Detail:\n{detail}"
    )


def _fetch(entry: Path, pin: Pin, download: Download) -> None:
    """Fetch the source and rename it to `entry`, so that builds never see an incomplete tree."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=entry.parent))
    except OSError as error:
        raise CacheNotWritableError(
            f"cannot write to the cache folder {entry.parent} ({error}): set LLAMABIND_CACHE_DIR "
            "to a writable folder"
        ) from error
    try:
        archive = download(pin, work)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != pin.sdist_sha256:
            raise _wrong_hash(pin, f"{archive.name} has sha256 {digest}")
        tree = work / "tree"
        _unpack(archive, pin.sdist_path, tree)
        _write_marker(tree, pin)
        _publish(tree, entry, pin)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(archive: Path, inner: str, target: Path) -> None:
    """Unpack what is below `<top folder>/<inner>/`, without that prefix."""
    with tarfile.open(archive) as tar:
        # Python 3.11.0 to 3.11.3 have no extraction filters; the pinned hash is enough there.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(target, members=_members_below(tar, PurePosixPath(inner)))
    if not (target / "CMakeLists.txt").is_file():
        raise LlamaSourceError(f"{archive.name} contains no llama.cpp below {inner}")


def _members_below(tar: tarfile.TarFile, inner: PurePosixPath) -> Iterator[tarfile.TarInfo]:
    depth = 1 + len(inner.parts)
    for member in tar:
        parts = PurePosixPath(member.name).parts
        # The sdist was made from a submodule, whose .git file names a folder that is not there.
        if parts[1:depth] == inner.parts and len(parts) > depth and parts[depth] != ".git":
            renamed = copy.copy(member)  # TarInfo.replace() came with 3.11.4; Debian 12 has 3.11.2
            renamed.name = "/".join(parts[depth:])
            yield renamed


def _publish(tree: Path, entry: Path, pin: Pin) -> None:
    """Rename `tree` to `entry`, unless another build has completed `entry` meanwhile."""
    if entry.exists() and not _is_complete(entry, pin):
        entry.rename(tree.with_name("broken"))  # removed with the work folder
    try:
        tree.rename(entry)
    except OSError:
        if not _is_complete(entry, pin):
            raise


def _write_marker(tree: Path, pin: Pin) -> None:
    files = {
        path.relative_to(tree).as_posix(): path.stat().st_size
        for path in tree.rglob("*")
        if path.is_file()
    }
    marker = {"sdist_sha256": pin.sdist_sha256, "files": files}
    (tree / MARKER).write_text(json.dumps(marker), encoding="utf-8")


def _is_complete(entry: Path, pin: Pin) -> bool:
    """Whether `entry` still has every file that was unpacked into it, with the same size."""
    try:
        marker = json.loads((entry / MARKER).read_text(encoding="utf-8"))
        return marker["sdist_sha256"] == pin.sdist_sha256 and all(
            (entry / name).stat().st_size == size for name, size in marker["files"].items()
        )
    except (OSError, ValueError):
        return False


def main() -> int:
    """Print the path; errors go to stderr as one message, with exit status 1."""
    try:
        print(llama_cpp_source())
    except LlamaSourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
