"""Removes models and parts of files from the hub's cache. Blocking: use a thread."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server.hub.cache import HubCache, walk


class BeingDownloadedError(Exception):
    """Another process downloads one of the files."""


def discard_parts(cache: HubCache, repo: str, etags: Iterable[str]) -> None:
    """Remove the parts of files, except those that another process downloads."""
    for etag in etags:
        part = cache.part(repo, etag)
        with contextlib.suppress(BeingDownloadedError, OSError), _locked(cache.lock(repo, etag)):
            part.unlink(missing_ok=True)


def delete_files(cache: HubCache, repo: str, commit: str, paths: Iterable[str]) -> int:
    """Remove files of a commit, and their bytes if no other commit has them; returns the bytes
    that this frees. Raises BeingDownloadedError and OSError.
    """
    blobs = []
    for path in paths:
        link = cache.link(repo, commit, path)
        blob = Path(os.path.realpath(link))
        is_link = link.is_symlink()
        if is_link and blob.parent == cache.repo_folder(repo) / "blobs":
            blobs.append(blob)
        with _locked(cache.lock(repo, blob.name)):
            link.unlink(missing_ok=True)
    used = _used_blobs(cache, repo)
    freed = 0
    for blob in blobs:
        if blob not in used and blob.exists():
            freed += blob.stat().st_size
            blob.unlink()
    _remove_empty(cache, repo)
    return freed


def _used_blobs(cache: HubCache, repo: str) -> set[Path]:
    """The blobs that at least one commit links to."""
    folder = cache.repo_folder(repo) / "snapshots"
    return {Path(os.path.realpath(file)) for file in walk(folder)}


def _remove_empty(cache: HubCache, repo: str) -> None:
    """Remove empty folders; the repository's whole folder if no commit and no blob is left."""
    folder = cache.repo_folder(repo) / "snapshots"
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    blobs = cache.repo_folder(repo) / "blobs"
    is_empty = not folder.exists() and not (blobs.is_dir() and any(blobs.iterdir()))
    if is_empty:
        shutil.rmtree(cache.repo_folder(repo), ignore_errors=True)


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold the lock of a file's download. Raises BeingDownloadedError if another process does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BeingDownloadedError from None
        except OSError:
            pass  # a file system without locks
        yield
