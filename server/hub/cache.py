"""HubCache: the hub's cache on disk, in the layout of huggingface_hub and llama.cpp.

models--org--repo/blobs/<checksum>               the bytes
models--org--repo/refs/<revision>                the commit of a branch or tag
models--org--repo/snapshots/<commit>/<path>      a link to the bytes, or the bytes themselves
.locks/models--org--repo/<checksum>.lock         held by the process that downloads them
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.hub.reference import MAIN, BadReferenceError, check_repo, is_commit, why_not_a_path
from server.hub.repo_files import RepoFile

_PREFIX = "models--"
_PART = ".incomplete"
# In llama.cpp's order: a variable, and the cache's path below the folder that it names.
VARIABLES = (
    ("LLAMA_CACHE", ""),
    ("HF_HUB_CACHE", ""),
    ("HUGGINGFACE_HUB_CACHE", ""),
    ("HF_HOME", "hub"),
    ("XDG_CACHE_HOME", "huggingface/hub"),
)


def default_root(environment: Mapping[str, str]) -> Path:
    """The cache's folder, as llama.cpp chooses it."""
    for name, below in VARIABLES:
        if value := environment.get(name, ""):
            return Path(os.path.expandvars(value)).expanduser() / below
    return Path("~/.cache/huggingface/hub").expanduser()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a repository in the cache, with its branches and tags, main first."""

    repo: str
    commit: str
    revisions: tuple[str, ...]
    folder: Path


class HubCache:
    """Paths and files of one cache. Blocking: use a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def repo_folder(self, repo: str) -> Path:
        """The folder of a repository's blobs, refs and snapshots."""
        return self.root / (_PREFIX + repo.replace("/", "--"))

    def blob(self, repo: str, etag: str) -> Path:
        """The path of the complete file with this checksum."""
        return self.repo_folder(repo) / "blobs" / etag

    def part(self, repo: str, etag: str) -> Path:
        """The path of that file until it is complete."""
        return self.repo_folder(repo) / "blobs" / (etag + _PART)

    def lock(self, repo: str, etag: str) -> Path:
        """The lock file that huggingface_hub also takes for a download."""
        return self.root / ".locks" / self.repo_folder(repo).name / f"{etag}.lock"

    def link(self, repo: str, commit: str, path: str) -> Path:
        """The path of a file of a commit: a link to its blob, or the file itself."""
        return self.repo_folder(repo) / "snapshots" / commit / path

    def bytes_done(self, repo: str, commit: str, file: RepoFile) -> int:
        """How many bytes of a file are on disk already."""
        for path in (self.link(repo, commit, file.path), self.blob(repo, file.etag)):
            if _size(path) == file.size:
                return file.size
        return min(_size(self.part(repo, file.etag)) or 0, file.size)

    def has(self, repo: str, commit: str, file: RepoFile) -> bool:
        """Whether a commit's file is complete and at its path in the commit."""
        return _size(self.link(repo, commit, file.path)) == file.size

    def make_link(self, repo: str, commit: str, file: RepoFile, *, use_links: bool = True) -> None:
        """Link a blob from its path in the commit; without symbolic links, move it there."""
        link, blob = self.link(repo, commit, file.path), self.blob(repo, file.etag)
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{uuid.uuid4().hex[:8]}.link")
        if use_links:
            try:
                temporary.symlink_to(os.path.relpath(blob, link.parent))
            except OSError:
                pass  # FAT and some network file systems have no symbolic links
            else:
                temporary.replace(link)
                return
        blob.replace(link)

    def write_ref(self, repo: str, revision: str, commit: str) -> None:
        """Record the commit of a branch or tag."""
        if revision == commit:
            return
        ref = self.repo_folder(repo) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f"{ref.name}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.write_text(commit)
        temporary.replace(ref)

    def free_bytes(self) -> int | None:
        """Free bytes of the file system where downloads go; None if the system does not say."""
        for folder in (self.root, *self.root.absolute().parents):
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                continue
        return None

    # -- contents

    def snapshots(self) -> Iterator[Snapshot]:
        """Every commit in the cache: of each repository main first, then the other branches and
        tags, then commits that none of them names, the newest first.
        """
        for folder in _folders(self.root):
            repo = folder.name.removeprefix(_PREFIX).replace("--", "/")
            if folder.name.startswith(_PREFIX) and _is_repo(repo):
                yield from self._snapshots_of(repo)

    def _snapshots_of(self, repo: str) -> Iterator[Snapshot]:
        folders = {path.name: path for path in _folders(self.repo_folder(repo) / "snapshots")}
        names = self._refs(repo)
        order = sorted(names, key=lambda name: (name != MAIN, name))
        for name in order:
            if (folder := folders.pop(names[name], None)) is not None:
                same = tuple(one for one in order if names[one] == folder.name)
                yield Snapshot(repo, folder.name, same, folder)
        for folder in sorted(folders.values(), key=_age):
            if is_commit(folder.name):
                yield Snapshot(repo, folder.name, (), folder)

    def _refs(self, repo: str) -> dict[str, str]:
        """The commit of each branch and tag."""
        folder = self.repo_folder(repo) / "refs"
        found = {}
        for path, _, names in os.walk(folder):
            for name in names:
                file = Path(path, name)
                try:
                    commit = file.read_text(errors="replace")[:64].strip()
                except OSError:
                    continue
                if is_commit(commit):
                    found[file.relative_to(folder).as_posix()] = commit
        return found

    def files_of(self, repo: str) -> list[tuple[Snapshot, RepoFile]]:
        """The files of a repository in the cache, each with its commit; without checksums."""
        found = []
        for snapshot in self._snapshots_of(repo):
            for path in walk(snapshot.folder):
                size = _size(path)
                if size is not None:
                    name = path.relative_to(snapshot.folder).as_posix()
                    found.append((snapshot, RepoFile(name, size)))
        return found


def walk(folder: Path, suffix: str = "") -> Iterator[Path]:
    """The files below a snapshot whose names end with `suffix`, sorted; names that cannot be files
    on this machine are left out.
    """
    root = str(folder)
    for path, folders, names in os.walk(root):
        folders.sort()
        above = path[len(root) + 1 :]
        for name in sorted(names):
            inner = f"{above}/{name}" if above else name
            if name.lower().endswith(suffix) and why_not_a_path(inner) is None:
                yield Path(path, name)


def _is_repo(repo: str) -> bool:
    try:
        check_repo(repo)
    except BadReferenceError:
        return False
    return True


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; [] if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []


def _age(folder: Path) -> float:
    try:
        return -folder.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
